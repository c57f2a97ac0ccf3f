"""Features in two dimensions, to look at: principal components, or UMAP. Distances there are no evidence."""

from dataclasses import dataclass

import numpy as np

from shards.errors import UserError

ROWS = 10_000  # at a time, in float64


@dataclass(frozen=True)
class Projection:
    """`points` are float64 (n, 2); `axes` are their labels."""

    points: np.ndarray
    axes: tuple[str, str]


def pca(features: np.ndarray) -> Projection:
    """The first two principal components of features, (n, channels), with the share of variance that each explains.

    A component has the sign that makes its largest weight positive.
    """
    n, channels = features.shape
    mean = features.mean(0, dtype=np.float64)
    covariance = np.zeros((channels, channels))
    for start in range(0, n, ROWS):
        part = features[start : start + ROWS] - mean
        covariance += part.T @ part
    variances, vectors = np.linalg.eigh(covariance)  # in ascending order
    first = vectors[:, ::-1][:, :2]
    first = first * np.sign(first[np.abs(first).argmax(0), [0, 1]])
    points = np.concatenate([(features[start : start + ROWS] - mean) @ first for start in range(0, n, ROWS)])
    shares = variances[::-1][:2] / max(variances.sum(), np.finfo(float).tiny)
    x, y = (f"component {number}, {100 * share:.1f} % of the variance" for number, share in enumerate(shares, 1))
    return Projection(points, (x, y))


def umap(features: np.ndarray) -> Projection:
    """UMAP (McInnes, Healy and Melville, 2018) by cosine distance, always from the same random numbers.

    Raises `UserError` if umap-learn is not installed.
    """
    try:
        from umap import UMAP
    except ImportError:
        raise UserError("--umap needs umap-learn: pip install 'artnet[umap]'") from None
    points = UMAP(metric="cosine", random_state=0, n_jobs=1).fit_transform(features)
    return Projection(np.asarray(points, np.float64), ("UMAP 1", "UMAP 2"))
