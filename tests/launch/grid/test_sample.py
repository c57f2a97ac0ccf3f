"""A search: what is drawn from a grid's distributions."""

from pathlib import Path

import pytest

from launch.grid import expand, sample
from tests.launch.grid.files import BASE, fails, grid

SEARCH = """\
name: search
fixed: {task: style}
parameters:
  optim.lr: {loguniform: [1e-3, 1]}
  train.batch_size: {uniform: [64, 512]}
  model.attention: {choice: [none, se]}
  seed: [0, 1]
conditional:
  - when: {model.attention: se}
    parameters: {model.se_reduction: {choice: [4, 8]}}
"""


def test_search_draws_within_bounds_and_the_same_again(tmp_path: Path) -> None:
    search = grid(tmp_path, SEARCH)
    drawn = sample(search, 20, seed=1)
    assert drawn.arithmetic == "2 x 20 samples = 40 runs"
    assert sample(search, 20, seed=1) == drawn
    assert sample(search, 20, seed=2).runs[0] != drawn.runs[0]
    fewer = [run.config for run in sample(search, 5, seed=1).runs]
    assert all(config in [run.config for run in drawn.runs] for config in fewer)
    assert all(1e-3 <= run.config.optim.lr <= 1 for run in drawn.runs)
    small = sum(run.config.optim.lr < 10**-1.5 for run in drawn.runs)
    assert 10 < small < 30  # half of them, by the logarithm
    assert all(64 <= run.config.train.batch_size <= 512 for run in drawn.runs)
    reductions = {(run.config.model.attention, run.config.model.se_reduction) for run in drawn.runs}
    assert reductions == {("none", 16), ("se", 4), ("se", 8)}


@pytest.mark.parametrize(("samples", "seed"), [(0, 0), (1, -1)])
def test_a_search_needs_a_sample_and_a_seed(tmp_path: Path, samples: int, seed: int) -> None:
    with fails(f"at least 1 sample and a seed of at least 0, not {samples} and {seed}"):
        sample(grid(tmp_path, SEARCH), samples, seed)
    assert sample(grid(tmp_path, SEARCH), 1, 0).arithmetic == "2 x 1 samples = 2 runs"


def test_a_configuration_drawn_again_is_not_run_again(tmp_path: Path) -> None:
    text = "name: s\nfixed: {task: style}\nparameters: {model.attention: {choice: [none, se]}}"
    assert sample(grid(tmp_path, text), 10, seed=0).arithmetic == "10, - 8 drawn again = 2 runs"


def test_points_without_draws_are_sampled_once(tmp_path: Path) -> None:
    text = BASE + ("conditional: [{when: {model.attention: se}, parameters: {train.epochs: {uniform: [1, 9999]}}}]")
    assert sample(grid(tmp_path, text), 3, seed=0).arithmetic == "4 x 3 x 3 = 36, + 18 conditional = 54 runs"


def test_only_a_search_draws(tmp_path: Path) -> None:
    with fails("grid.yaml:4: optim.lr", "launch/tune.py, or list its values"):
        expand(grid(tmp_path, SEARCH))
