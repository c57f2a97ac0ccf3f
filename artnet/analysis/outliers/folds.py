"""A grid that trains a configuration once for each fold, so that every painting is out of sample in one run. Pure."""

import re

import yaml

from ...config import RunConfig, build, flatten


def fold_grid(config: RunConfig, name: str, folds: int) -> str:
    """The YAML of the grid. Its name is that of a sweep or run, and `-folds`."""
    base = flatten(build({"recipe": config.recipe, "task": config.task}))
    own = {key: value for key, value in flatten(config).items() if value != base[key]}
    fixed = {"recipe": config.recipe, "task": list(config.task), **own, "data.folds": folds}
    fixed.pop("data.fold", None)
    grid = {"name": grid_name(name), "fixed": fixed, "parameters": {"data.fold": list(range(folds))}}
    return yaml.safe_dump(grid, sort_keys=False, allow_unicode=True)


def grid_name(name: str) -> str:
    """The name of the grid: that of a sweep or run, as far as a grid may have it, and `-folds`."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", name).lstrip(".")[:94] + "-folds"
