"""Confident learning by cleanlab (Northcutt, Jiang and Chuang, "Confident Learning", JAIR 70, 2021). Pure."""

import numpy as np

from shards.errors import UserError

LIBRARIES = "pip install 'cleanlab>=2.9' scikit-learn"


def check_installed() -> None:
    """Raise `UserError` without the libraries of the extra `outliers`."""
    try:
        import cleanlab
        import sklearn  # noqa: F401
    except ImportError as error:
        raise UserError(f"{error.name} is not installed; `{LIBRARIES}`, the extra `outliers`") from None
    if tuple(map(int, cleanlab.__version__.split(".")[:2])) < (2, 9):
        raise UserError(f"cleanlab is {cleanlab.__version__}, and 2.9 or newer is needed; `{LIBRARIES}`")


def label_quality(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """How well each label agrees with the probabilities, 0 (not) to 1, float64 (n,).

    The probability of the given class, after the mean confidence of each class in its own paintings is subtracted from
    its probabilities and they are normalised: a class that a network finds hard to tell does not come first for that
    alone.
    """
    from cleanlab.rank import get_label_quality_scores

    return np.asarray(get_label_quality_scores(labels, probabilities, method="self_confidence", adjust_pred_probs=True))


def doubted(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Which labels confident learning would take for errors, bool (n,)."""
    from cleanlab.filter import find_label_issues

    return np.asarray(find_label_issues(labels, probabilities, n_jobs=1), bool)
