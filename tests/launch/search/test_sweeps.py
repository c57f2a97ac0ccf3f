"""The searches in sweeps/ can be asked for configurations."""

import pytest

from launch.grid import load
from launch.grid.search_space import SearchSpace
from launch.search.block import TuneBlock
from launch.search.opened import check_metric
from tests.conftest import ROOT


@pytest.mark.parametrize("name", ["search", "search-wikiart"])
def test_a_search_of_the_repository_is_valid(name):
    grid = load(ROOT / "sweeps" / f"{name}.yaml")
    space, block = SearchSpace(grid), grid.read_block(TuneBlock, "tune", grid.tune, {})
    drawn = [space.run(space.random(0, number, block.seed)) for number in range(20)]
    assert len({run.config.signature for run in drawn}) == 20
    check_metric(grid, drawn)
    assert grid.name == name and not {0}.intersection(block.confirm.seeds if block.confirm else ())
