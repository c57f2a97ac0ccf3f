"""Which code jobs run."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from launch.cluster import snapshot, verified
from launch.cluster.executor import module_command
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


def take(tree: Path, runs: Path, umask: int = 0o022) -> Path:
    program = f"from pathlib import Path; from launch.cluster import snapshot; runs = Path({str(runs)!r})\n"
    program += "print(snapshot.take(runs / 'tiny' / 'code', runs))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True, text=True, check=True, umask=umask,
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
    left = first.parent / ".abc_0123.tmp"
    foreign = [first.parent / name for name in (".thesis.tmp", ".0123.abc.tmp", ".ABCDEFGH.tmp", "abcd0123.tmp")]
    for folder in (left, *foreign):
        folder.mkdir()
    assert take(tree, tmp_path / "runs") == first
    assert all(folder.exists() for folder in foreign)
    assert (first / "artnet" / "train.py").read_text() == (tree / "artnet" / "train.py").read_text()
    assert (first / "launch" / "cluster" / "job.py").exists()
    assert not left.exists()


def test_nothing_is_removed_where_a_link_leads_and_a_linked_folder_of_code_works(tree, tmp_path):
    elsewhere, code = tmp_path / "thesis", tmp_path / "runs" / "tiny" / "code"
    (elsewhere / ".abcd0123.tmp").mkdir(parents=True)
    code.parent.mkdir(parents=True)
    code.symlink_to(elsewhere)
    taken = take(tree, tmp_path / "runs")
    assert {path.name for path in elsewhere.iterdir()} == {".lock", ".abcd0123.tmp", taken.name}
    assert verified.problem(str(taken)) == ""


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


PRIVATE = (".env", "artnet/.env.local", "launch/server.key", "shards/id_rsa", "artnet/AWS_Credentials.json", "x.pem")


def test_private_files_and_what_links_lead_to_stay_out(tree, tmp_path):
    (tmp_path / "key").write_text("KEY")
    for name in (*PRIVATE, "notes.txt", "artnet/own.txt"):
        (tree / name).write_text("KEY")
    subprocess.run(["git", "-C", tree, "add", "-f", "x.pem", "artnet/.env.local"], check=True)  # tracked by mistake
    links = {"outside.py": tmp_path / "key", "env.py": "../.env", "config.py": "../.git/config", "inside.py": "own.txt"}
    for name, target in links.items():
        (tree / "artnet" / name).symlink_to(target)
    (tree / "artnet" / "folder").symlink_to(tmp_path)
    for code in (take(tree, tmp_path / "runs"), take(_without_git(tree), tmp_path / "runs")):
        held = {str(path.relative_to(code)) for path in code.rglob("*")}
        assert not held & {*PRIVATE, "notes.txt", "artnet/folder", *(f"artnet/{name}" for name in [*links][:3])}
        assert held > {"artnet/inside.py", "artnet/own.txt", "artnet/train.py"}


def _without_git(tree: Path) -> Path:
    shutil.rmtree(tree / ".git")
    return tree


@pytest.mark.parametrize("umask", [0o002, 0o022])
def test_nobody_else_can_write_to_a_snapshot_and_private_modes_stay(tree, tmp_path, umask):
    modes = {"artnet/train.py": 0o600, "launch/slurm.py": 0o775, "launch/local.py": 0o700, "launch/tune.py": 0o666}
    for name, mode in modes.items():
        (tree / name).chmod(mode)
    code = take(tree, tmp_path / "runs", umask)
    assert {name: (code / name).stat().st_mode & 0o777 for name in modes} == {
        "artnet/train.py": 0o600, "launch/slurm.py": 0o755, "launch/local.py": 0o700, "launch/tune.py": 0o644,
    }  # fmt: skip
    variables = {**os.environ, "PYTHONPATH": str(code), "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": ""}
    done = subprocess.run(
        module_command(code, "artnet.train", "--help"), env=variables, umask=umask, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [*code.glob("artnet/__pycache__/rundir.*")]
    assert not [path for path in (code, *code.rglob("*")) if path.stat().st_mode & 0o022]
    assert verified.problem(str(code)) == ""


@pytest.mark.slow
def test_jobs_run_no_snapshot_that_was_changed_and_the_next_launch_repairs_it(tree, tmp_path):
    code, ran = take(tree, tmp_path / "runs"), tmp_path / "ran"
    attack = f"open({str(ran)!r}, 'w')\n"

    def digest() -> None:
        (code / "artnet" / "__init__.py").write_text(attack)
        lines = (code / "COMPLETE").read_text().splitlines()
        new = hashlib.sha256(attack.encode()).hexdigest()
        changed = [f"{new}{line[64:]}" if line.endswith("'artnet/__init__.py'") else line for line in lines]
        (code / "COMPLETE").write_text("\n".join(changed) + "\n")

    attacks = {
        "artnet/__init__.py has changed": lambda: (code / "artnet" / "__init__.py").write_text(attack),
        "hashlib.py was added": lambda: (code / "hashlib.py").write_text(attack),
        "sitecustomize.py was added": lambda: (code / "sitecustomize.py").write_text(attack),
        "'artnet/rundir.py' is missing": (code / "artnet" / "rundir.py").unlink,
        "COMPLETE is of other code": digest,
        "COMPLETE'": (code / "COMPLETE").unlink,
        "artnet/new.py is a link": lambda: (code / "artnet" / "new.py").symlink_to("train.py"),
        "artnet belongs to another user, or others can write to it": lambda: (code / "artnet").chmod(0o775),
    }
    for said, do in attacks.items():
        do()
        command = module_command(code, "artnet.train", "--help")
        done = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": str(code)}, cwd=code, capture_output=True, text=True
        )
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: the snapshot {code} is not what was submitted (")
        assert said in done.stderr
        assert not ran.exists()
        assert take(tree, tmp_path / "runs") == code
        assert verified.problem(str(code)) == ""


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to another user")
def test_jobs_run_no_snapshot_of_another_user(tree, tmp_path):
    code = take(tree, tmp_path / "runs")
    cached = code / "artnet" / "__pycache__" / "train.cpython-311.pyc"
    cached.write_bytes(b"")
    assert verified.problem(str(code)) == ""
    os.chown(cached, 12345, 12345)
    assert "belongs to another user" in verified.problem(str(code))
    assert take(tree, tmp_path / "runs") == code
    assert not cached.exists()


def test_a_file_that_another_job_compiles_meanwhile_is_no_change(tree, tmp_path, monkeypatch):
    code = take(tree, tmp_path / "runs")
    written = code / "artnet" / "__pycache__" / "train.cpython-311.pyc.123"
    listed = Path.rglob
    monkeypatch.setattr(Path, "rglob", lambda path, pattern: [*listed(path, pattern), written])
    assert verified.problem(str(code)) == ""
