"""Grid files of tests, and the errors that they expect."""

import re
from pathlib import Path

import pytest

from launch.grid import Grid, load
from shards.errors import UserError

BASE = """\
name: demo
fixed: {task: style}
parameters:
  model.attention: [none, se, eca, cbam]
  optim.lr: {values: [0.1, 2e-1, 0.4]}
  seed: [0, 1, 2]
"""


def grid(folder: Path, text: str) -> Grid:
    file = folder / "grid.yaml"
    file.write_text(text)
    return load(file)


def fails(*parts: str) -> pytest.RaisesExc[UserError]:
    """A `UserError` of one sentence that holds these parts in this order."""
    return pytest.raises(UserError, match=".*".join(map(re.escape, parts)) + r"[^\n]*\Z")
