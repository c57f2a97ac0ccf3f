"""Digests of the code: what changes them, and who is told."""

import os
import shutil
import time

import pytest

from artnet import sources
from artnet.config import build, unflatten
from artnet.rundir import write_json
from launch.grid import Run
from launch.sweep.code import other_code
from launch.sweep.folder import SweepDir
from launch.sweep.plan import Policy, decide
from launch.sweep.state import Found, State
from tests.artnet.analysis.test_report import SE, make_sweep, seeds, write
from tests.conftest import ROOT, TINY

NETWORK = "artnet/models/attention.py"


@pytest.fixture
def code(tmp_path):
    """A copy of the code."""
    for package in ("artnet", "shards"):
        shutil.copytree(ROOT / package, tmp_path / "code" / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "code"


@pytest.mark.parametrize(
    ("file", "old", "new", "found"),
    [
        (NETWORK, "sigmoid", "tanh", [NETWORK]),
        ("shards/reader.py", "import ", "import math, ", ["shards/reader.py"]),
        (NETWORK, '"""', '"""Another docstring. ', []),
        (NETWORK, "\n\n\n", "\n\n\n# A comment.\n\n", []),
        ("artnet/report.py", "import ", "import math, ", []),
        ("artnet/analysis/page/html.py", "import ", "import math, ", []),
        ("artnet/inference/gallery.py", "import ", "import math, ", []),
        ("artnet/inference/predict.py", "import ", "import cmath, ", ["artnet/inference/predict.py"]),
    ],
)
def test_what_changes_a_result_is_found_and_nothing_else(code, file, old, new, found):
    before = sources.digests(code)
    started = time.process_time()
    assert sources.changed(before, code) == []
    assert time.process_time() - started < 0.05
    path = code / file
    path.write_text(path.read_text().replace(old, new, 1))
    assert path.read_text() != (ROOT / file).read_text()
    assert sources.changed(before, code) == found
    assert sources.differing([before, before, sources.digests(code)]) == found
    path.unlink()
    assert sources.changed(before, code) == []


@pytest.mark.parametrize(
    "name",
    ["../outside.py", "{}/outside.py", "artnet/../../outside.py", "shards/{}/outside.py", "launch/local.py",
     "artnet/pipe", "artnet/\x1b]0;x\x07.py", "artnet/" + "x" * 5000 + ".py", "artnet/\0.py", "artnet/\ud800.py"],
)  # fmt: skip
def test_names_that_leave_the_code_are_neither_read_nor_shown(code, name):
    (code.parent / "outside.py").write_text("secret = 1")
    (code / "launch").mkdir()
    (code / "launch" / "local.py").touch()
    os.mkfifo(code / "artnet" / "pipe")
    record = {name.format(code.parent): "0 0", NETWORK: "0 0"}
    assert sources.changed(record, code) == [NETWORK]
    (kept,) = sources.recorded({"attempts": [{"sources": record}]})
    assert list(kept) == [NETWORK]


def test_a_plan_says_which_complete_runs_other_code_made(tmp_path):
    runs = [Run(build(unflatten({**TINY, "seed": seed})), {"seed": seed}) for seed in range(4)]
    sweep, now = SweepDir(tmp_path), sources.digests()
    before = {**now, NETWORK: "0 0"}
    attempts = [[{"sources": before}], [{"sources": before}, {"sources": now}], [{}]]
    attempts.append([{"sources": before}, {"sources": now, "from_step": 3}])
    for run, entries in zip(runs, attempts, strict=True):
        write_json(sweep.run(run).run_file, {"attempts": entries})
    found = {run.config.name: Found(State.COMPLETE) for run in runs}
    said = f"made by other code ({NETWORK} differs); --force trains"
    assert other_code(sweep, decide(runs, found, Policy())) == f"2 complete runs were {said} them again"
    assert other_code(sweep, decide(runs[:2], found, Policy())) == f"1 complete run was {said} it again"
    assert other_code(sweep, decide(runs[1:3], found, Policy())) == ""
    assert other_code(sweep, decide(runs, found, Policy(force=True))) == ""


def test_the_page_names_models_of_mixed_code(tmp_path):
    runs = make_sweep(tmp_path, seeds(SE, [0.60, 0.62, 0.64]))
    for run, tree in zip(runs, ("1", "1", "2"), strict=True):
        write_json(run.run_file, {"attempts": [{"sources": {NETWORK: f"{run.name} {tree}"}}]})
    for text in write(tmp_path, width=300)[0], write(tmp_path)[2]:
        assert f"The runs of ResNet50-LSTM + SE were not all made by the same code: {NETWORK} differs." in text
    write_json(runs[2].run_file, {"attempts": [{"sources": {NETWORK: "formatted 1"}}]})
    assert "the same code" not in write(tmp_path)[2]
