"""The commands of the Makefile, as `make -n` lists them."""

import os
import shutil
import subprocess

import pytest

from artnet.config import flatten
from launch import grid
from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="there is no make")


def commands(target: str) -> list[str]:
    listed = ["make", "-n", "-o", ".venv/.installed", target]  # as if it were installed
    # The tests may run under make itself, whose variables would reach this one: it would print its directory.
    env = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    return subprocess.run(listed, cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout.splitlines()


def test_the_demo_trains_on_what_demo_data_paints_and_packs():
    paint, pack = commands("demo-data")
    assert "-m shards.demo " in paint
    run, *_ = grid.expand(grid.load(ROOT / "sweeps" / "demo.yaml")).runs
    shards = ROOT / flatten(run.config)["data.shards"]
    assert "-m shards.pack " in pack
    assert pack.endswith(f"--out {shards.relative_to(ROOT)}")
    *data, train = commands("demo")
    assert data == [paint, pack]
    assert "launch/local.py --grid sweeps/demo.yaml" in train
