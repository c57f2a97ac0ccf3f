"""Temperature scaling (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017). Pure."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

RANGE = (0.05, 20.0)  # of temperatures: where every painting is classified right, no temperature is low enough


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature T that minimises the negative log-likelihood of `softmax(logits / T)`.

    `logits` is (n, classes), `labels` int64 (n,), with n >= 1. Unlike accuracy, which no temperature changes, the
    likelihood has one minimum in 1 / T, within `RANGE`.
    """
    exact = logits.astype(np.float64)

    def nll(log_temperature: float) -> float:
        return -float(log_softmax(exact / np.exp(log_temperature), 1)[np.arange(len(labels)), labels].mean())

    return float(np.exp(minimize_scalar(nll, bounds=np.log(RANGE), method="bounded", options={"xatol": 1e-6}).x))
