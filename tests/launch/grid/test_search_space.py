"""The space of a search: what is drawn from it, and which configurations it holds."""

from pathlib import Path

import pytest

from launch.grid import expand
from launch.grid.search_space import SearchSpace
from tests.launch.grid.files import fails, grid

SEARCH = """\
name: search
fixed: {task: style}
parameters:
  optim.lr: {loguniform: [1e-3, 1]}
  train.batch_size: {uniform: [64, 512]}
  optim.momentum: {quantized: [0.5, 0.95, 0.15]}
  train.epochs: {randint: [3, 5]}
  model.attention: {choice: [none, se]}
  seed: [0, 1]
conditional:
  - when: {model.attention: se}
    parameters: {model.se_reduction: {choice: [4, 8]}, augment.flip: [0.25, 0.5]}
"""


def test_a_search_draws_within_bounds_and_the_same_again(tmp_path: Path) -> None:
    space = SearchSpace(grid(tmp_path, SEARCH))
    drawn = [space.run(space.random(point, number, seed=1)) for number in range(20) for point in (0, 1)]
    assert [run.config.seed for run in drawn] == [0, 1] * 20
    assert space.run(space.random(1, 7, seed=1)) == drawn[15]
    assert len({run.config.signature for run in drawn}) == 40
    assert space.random(0, 0, seed=2) != space.random(0, 0, seed=1) != space.random(0, 0, seed=1, attempt=1)
    assert all(1e-3 <= run.config.optim.lr <= 1 for run in drawn)
    assert 10 < sum(run.config.optim.lr < 10**-1.5 for run in drawn) < 30  # half of them, by the logarithm
    assert all(64 <= run.config.train.batch_size <= 512 for run in drawn)
    assert {run.config.optim.momentum for run in drawn} == {0.5, 0.65, 0.8, 0.95}
    assert {run.config.train.epochs for run in drawn} == {3, 4, 5}
    reductions = {(run.config.model.attention, run.config.model.se_reduction) for run in drawn}
    assert reductions == {("none", 16), ("se", 4), ("se", 8)}
    assert {run.config.augment.flip for run in drawn if run.config.model.attention == "se"} == {0.25, 0.5}


def test_the_space_holds_what_it_draws_and_nothing_else(tmp_path: Path) -> None:
    space = SearchSpace(grid(tmp_path, SEARCH + "exclude: [{train.epochs: 4}]"))
    for number in range(30):
        values = space.random(1, number, seed=0)
        flat = space.candidate(values).flat
        assert space.place(flat) == (None if values["train.epochs"] == 4 else (1, values))
    values = space.random(0, 0, seed=0) | {"train.epochs": 3}
    for key, wrong in {"optim.lr": 2.0, "seed": 2, "optim.momentum": 0.6, "model.attention": "eca"}.items():
        assert space.place(space.candidate(values | {key: wrong}).flat) is None, key


def test_given_values_are_checked_against_the_space(tmp_path: Path) -> None:
    space = SearchSpace(grid(tmp_path, SEARCH))
    assert space.random(0, 0, 0, given=space.given({"optim.lr": 0.5}))["optim.lr"] == 0.5
    with fails("optim.lr: 7 is outside of its loguniform: 0.001, 1.0"):
        space.given({"optim.lr": 7})
    with fails("seed is not drawn in this search; give optim.lr, train.batch_size"):
        space.given({"seed": 0})


@pytest.mark.parametrize(
    ("distribution", "parts"),
    [
        ("{quantized: [1, 2]}", ["quantized needs two bounds, the lower one first, and a step, not 1.0+2.0"]),
        ("{quantized: [1, 2, 3]}", ["the step of quantized must be above 0 and within the bounds"]),
        ("{quantized: [1, 2, 0]}", ["the step of quantized"]),
        ("{randint: [0.5, 3]}", ["randint needs whole bounds, not 0.5+3.0; use uniform or quantized"]),
        ("{randint: 3}", ["randint needs two bounds, the lower one first, both of which count, not 3"]),
    ],
)
def test_bounds_are_checked(tmp_path: Path, distribution: str, parts: list[str]) -> None:
    with fails("grid.yaml:3: ", *parts):
        grid(tmp_path, f"name: s\nfixed: {{task: style}}\nparameters: {{optim.lr: {distribution}}}")


def test_only_a_search_draws(tmp_path: Path) -> None:
    with fails("grid.yaml:4: optim.lr", "launch/tune.py or launch/slurm.py, or list its values"):
        expand(grid(tmp_path, SEARCH))
