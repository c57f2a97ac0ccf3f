"""Which code jobs run."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from launch.cluster import snapshot
from shards.errors import UserError
from tests.conftest import ROOT


@pytest.fixture
def tree(tmp_path):
    """A small work tree, with this project's launch, shards and artnet in it."""
    root = tmp_path / "tree"
    for package in ("artnet", "launch", "shards"):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    (root / ".gitignore").write_text("__pycache__/\n/runs/\n/secret\n")
    git = ["git", "-C", root, "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    return root


def take(tree: Path, runs: Path) -> Path:
    program = f"from pathlib import Path; from launch.cluster import snapshot; runs = Path({str(runs)!r})\n"
    program += "print(snapshot.take(runs / 'tiny' / 'code', runs))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return Path(done.stdout.strip())


def test_a_snapshot_holds_what_git_would_and_is_made_once_for_each_state(tree):
    (tree / "secret").write_text("ignored")
    (tree / "artnet" / "extra.py").write_text("untracked = True\n")
    (tree / "artnet" / "report.py").unlink()
    (tree / "out").mkdir()
    first = take(tree, tree / "out")
    assert (first / "artnet" / "extra.py").read_text() == "untracked = True\n"
    assert not [name for name in ("secret", "out", ".git", "artnet/report.py") if (first / name).exists()]
    state = json.loads((first / "snapshot.json").read_text())
    assert len(state["sha"]) == 40
    assert "deleted file" in state["diff"]
    assert take(tree, tree / "out") == first
    (tree / "artnet" / "extra.py").write_text("untracked = False\n")
    second = take(tree, tree / "out")
    assert second != first
    assert (first / "artnet" / "extra.py").read_text() == "untracked = True\n"


def test_two_launchers_at_once_share_one_snapshot(tree, tmp_path):
    with ThreadPoolExecutor(2) as launchers:
        first, second = launchers.map(lambda _: take(tree, tmp_path / "runs"), range(2))
    assert first == second
    assert sorted(path.name for path in first.parent.iterdir()) == [".lock", first.name]
    assert (first / "COMPLETE").exists()


def test_a_damaged_snapshot_is_repaired_and_what_a_killed_launcher_left_is_removed(tree, tmp_path):
    first = take(tree, tmp_path / "runs")
    (first / "artnet" / "train.py").write_text("cut sho")
    (first / "launch" / "cluster" / "job.py").unlink()
    left = first.parent / ".0123.abc.tmp"
    left.mkdir()
    assert take(tree, tmp_path / "runs") == first
    assert (first / "artnet" / "train.py").read_text() == (tree / "artnet" / "train.py").read_text()
    assert (first / "launch" / "cluster" / "job.py").exists()
    assert not left.exists()


def test_code_in_a_snapshot_knows_the_commit_it_was_copied_from(tree, tmp_path):
    sha = subprocess.run(["git", "-C", tree, "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    code = take(tree, tmp_path / "runs")
    again = take(code, tmp_path / "again")  # the packages alone: there is no git
    for folder in (code, again):
        program = "from artnet import provenance; print(provenance.__file__, provenance.git_state()['sha'])"
        said = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(folder)},
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert said.split() == [f"{folder}/artnet/provenance.py", sha]


def test_a_work_tree_full_of_data_is_not_copied(tmp_path, monkeypatch):
    monkeypatch.setattr(snapshot, "MAX_BYTES", 1000)
    with pytest.raises(UserError, match=r"add files that are not code to \.gitignore, or give --no-snapshot"):
        snapshot.take(tmp_path / "runs" / "tiny" / "code", tmp_path / "runs")


def test_a_folder_that_python_cannot_be_given_is_refused(tmp_path):
    with pytest.raises(UserError, match="give another --runs"):
        snapshot.take(tmp_path / "a:b", tmp_path)
