"""Features in two dimensions: components, and which paintings are shown."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from artnet.analysis import projection
from artnet.analysis.feature_map import CELLS, draw_map, places
from shards.errors import UserError


def test_components_are_those_of_the_singular_values(monkeypatch):
    features = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32) * [9, 5, 3, 1, 1, 1] + 7
    monkeypatch.setattr(projection, "ROWS", 7)
    found = projection.pca(features)
    left, values, _ = np.linalg.svd(features - features.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(found.points), np.abs(left[:, :2] * values[:2]), rtol=1e-6, atol=1e-6)
    shares = 100 * values**2 / (values**2).sum()
    assert found.axes[0] == f"component 1, {shares[0]:.1f} % of the variance"
    assert found.axes[1] == f"component 2, {shares[1]:.1f} % of the variance"


def test_umap_without_its_library_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(UserError, match=r"pip install 'artnet\[umap\]'"):
        projection.umap(np.zeros((20, 3), np.float32))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_umap_goes_by_the_angles_of_features_and_is_always_the_same():
    pytest.importorskip("umap", reason="umap-learn, the extra `umap`, is not installed")
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1, 2], 30)
    # Lengths vary more than directions: by Euclidean distance, the short ones of all groups would be together.
    features = (np.eye(8)[group] + 0.1 * rng.normal(size=(90, 8))) * 10 ** rng.uniform(-2, 2, (90, 1))
    found = projection.umap(features.astype(np.float32))
    assert (found.points.shape, found.points.dtype, found.axes) == ((90, 2), np.float64, ("UMAP 1", "UMAP 2"))
    distances = np.linalg.norm(found.points[:, None] - found.points[None], axis=2)
    nearest = np.argsort(distances, 1)[:, 1:6]
    assert (group[nearest] == group[:, None]).mean() > 0.95
    assert np.array_equal(projection.umap(features.astype(np.float32)).points, found.points)


def test_thumbnails_do_not_overlap_and_are_the_nearest_to_their_place():
    points = np.random.default_rng(1).uniform(size=(5_000, 2)) * [3, 2]
    shown = places(points)
    cells = [tuple(cell) for _, cell in shown]
    assert len(set(cells)) == len(cells) <= CELLS[0] * CELLS[1]
    scaled = (points - points.min(0)) / (np.ptp(points, 0) / CELLS)
    for sample, cell in shown[:50]:
        inside = (np.minimum(scaled.astype(int), np.array(CELLS) - 1) == cell).all(1)
        nearest = np.linalg.norm(scaled[inside] - cell - 0.5, axis=1).min()
        assert np.linalg.norm(scaled[sample] - cell - 0.5) == pytest.approx(nearest)


@pytest.mark.parametrize("n", [1, 30])
def test_the_map_is_a_picture(n):
    points = np.random.default_rng(0).normal(size=(n, 2))
    labels, asked = np.arange(n) % 25 - 1, []

    def thumbnail(sample: int) -> Image.Image:
        asked.append(sample)
        return Image.new("RGB", (40, 60), "red")

    drawn = draw_map(projection.Projection(points, ("a", "b")), labels, [f"$c{i}" for i in range(24)], "t", thumbnail)
    with Image.open(io.BytesIO(drawn)) as image:
        assert image.size == (1920, 1200)
        red = (np.asarray(image.convert("RGB")) == [255, 0, 0]).all(2).sum()
    assert red > 500 * len(asked)
    assert len(set(asked)) == len(asked) > 0
