"""Predictions of runs that never were, made for tests."""

import numpy as np

from artnet.analysis.outliers.evidence import Evidence, Source
from artnet.predictions import Origin, Predicted, Protocol, RunPredictions

CLASSES = ["Anna", "=Bert", "Cleo"]


def origin(signature: str = "0" * 64, temperature: float = 2.0, classes: list[str] = CLASSES, **more: str) -> Origin:
    return Origin(
        signature=signature,
        data=more.get("data", "d0"),
        epoch=1,
        protocol=Protocol(size=40, flip=False, logit_adjustment=0, precision="fp32"),
        classes={"artist": classes},
        log_priors={"artist": [0.0] * len(classes)},
        temperatures={"artist": temperature},
    )


def predicted(keys: list[str], labels: list[int], seed: int = 0, classes: int = 3) -> Predicted:
    """Random logits that lean towards the label."""
    logits = np.random.default_rng(seed).normal(size=(len(keys), classes))
    logits[np.arange(len(keys)), labels] += 2
    return Predicted(
        np.array(keys), np.arange(len(keys)), np.array(labels), logits.astype(np.float16).astype(np.float32)
    )


def source(
    name: str, val: tuple[list[str], list[int]], test: tuple[list[str], list[int]], seed: int = 0, part: str = "",
    **of_origin: object,
) -> Source:  # fmt: skip
    splits = {"val": {"artist": predicted(*val, seed)}, "test": {"artist": predicted(*test, seed + 100)}}
    return Source(name, part, RunPredictions(origin(**of_origin), splits))  # type: ignore[arg-type]


def evidence(n: int = 300, classes: int = 3, seed: int = 0, hard: int | None = None) -> Evidence:
    """Paintings whose label mostly is the most probable class, except of those of a class that is `hard` to tell."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, classes))
    logits[np.arange(n), labels] += np.where(labels == hard, -1.0, 3.0)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    keys = np.array([f"{row:04}" for row in range(n)])
    names = [f"class {number}" for number in range(classes)]
    return Evidence("artist", names, "d0", keys, np.full(n, "test"), labels, probabilities)
