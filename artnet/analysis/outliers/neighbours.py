"""How far each painting is from its own class and from a rival one, among the paintings of an embedding. Pure."""

from dataclasses import dataclass

import numpy as np

K = 10  # nearest neighbours in a class


@dataclass(frozen=True)
class Neighbours:
    """Cosine distances of n paintings to their nearest ones in two classes, and which these are.

    `own` and `rival` float64 (n,) are means over the `K` nearest paintings, or as many as there are; NaN if there is
    none. `nearest_own` and `nearest_rival` int64 (n, K) are their positions, the nearest first, filled up with -1.
    """

    own: np.ndarray
    rival: np.ndarray
    nearest_own: np.ndarray
    nearest_rival: np.ndarray

    @property
    def remoteness(self) -> np.ndarray:
        """`own` / (`own` + `rival`): above 0.5 the rival class is nearer. NaN where either is, float64 (n,)."""
        total = self.own + self.rival
        halves = np.where(np.isnan(total), np.nan, 0.5)
        return np.asarray(np.divide(self.own, total, out=halves, where=total > 0))


def neighbours(embedding: np.ndarray, parts: np.ndarray, labels: np.ndarray, rivals: np.ndarray) -> Neighbours:
    """Look for the neighbours of each painting among those of the same part and of its class, or of the rival one.

    `embedding` is float (n, d), `parts` (n,) says which rows are comparable, as networks do not share an embedding;
    `labels` and `rivals` are int64 (n,). A painting is no neighbour of itself.
    """
    n = len(labels)
    nearest = {"own": np.full((n, K), -1), "rival": np.full((n, K), -1)}
    mean = {"own": np.full(n, np.nan), "rival": np.full(n, np.nan)}
    for part in np.unique(parts):
        for label in np.unique(labels[parts == part]):
            members = np.flatnonzero((parts == part) & (labels == label))
            for which, of in (("own", labels), ("rival", rivals)):
                queries = np.flatnonzero((parts == part) & (of == label))
                if len(queries) and len(members) > (which == "own"):
                    distances, found = _nearest(embedding, members, queries, leave_out_itself=which == "own")
                    nearest[which][queries, : found.shape[1]] = found
                    mean[which][queries] = distances.mean(1)
    return Neighbours(mean["own"], mean["rival"], nearest["own"], nearest["rival"])


def _nearest(
    embedding: np.ndarray, members: np.ndarray, queries: np.ndarray, leave_out_itself: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The distances and positions of the members nearest to each query, both (queries, at most K)."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(metric="cosine").fit(embedding[members])
    if leave_out_itself:  # the queries are the members
        distances, found = search.kneighbors(n_neighbors=min(K, len(members) - 1))
    else:
        distances, found = search.kneighbors(embedding[queries], min(K, len(members)))
    return distances, members[found]
