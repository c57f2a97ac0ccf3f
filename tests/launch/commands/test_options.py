"""What contradicts, matches nothing or was never launched is one sentence; doors have the same commands."""

import subprocess
import sys

import pytest

from launch.sweep.folder import note_state
from launch.sweep.state import State
from tests.conftest import ROOT, environment

from ..tiny_grid import DOORS, complete


@pytest.mark.parametrize("door", DOORS)
def test_every_door_is_a_program_that_needs_no_more_than_its_path(trainable, tmp_path, door):
    trainable.write(seeds=2)
    command = [sys.executable, str(ROOT / "launch" / f"{door}.py"), "--grid", str(trainable.file), "--dry-run"]
    ended = subprocess.run(command, cwd=tmp_path, env=environment(PATH="/nowhere"), capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "2 to start" in ended.stdout
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("door", DOORS)
def test_a_door_without_a_terminal_shows_its_first_line_and_takes_nothing_away_unasked(trainable, door):
    complete(trainable.plan(seeds=1)[0])

    def ended(script: str, *options: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", "-c", script, "bash", *trainable.command(door, *options)]
        return subprocess.run(
            command, cwd=ROOT, env=environment(PYTHONIOENCODING="ascii"), capture_output=True, text=True
        )

    first = ended('"$@" <&- | head -1; exit ${PIPESTATUS[0]}', "--status")
    assert (first.returncode, first.stderr) == (0, "")
    if door == "local":
        forced = ended('"$@" <&-', "--force")
        assert forced.returncode == 2
        assert "give --yes to agree, as there is no terminal" in forced.stderr
        assert len(forced.stderr.splitlines()) == 1


@pytest.mark.parametrize("door", DOORS)
def test_every_door_has_the_same_commands_and_selectors(door, capsys):
    with pytest.raises(SystemExit):
        DOORS[door].main(["--help"])
    told = capsys.readouterr().out
    for name in ("--only", "--id", "--state", "--dry-run", "--limit", "--retry", "--force", "--yes", "--status"):
        assert name in told
    for name in ("--watch", "--logs", "--follow", "--cancel", "--collect", "--clean"):
        assert name in told


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--status", "--cancel"), "--status and --cancel are 2 things to do"),
        (("--watch", "--logs", "x"), "--status and --logs are 2 things to do"),
        (("--status", "--retry"), "--retry says how to launch"),
        (("--collect", "--dry-run"), "--dry-run"),
        (("--retry", "--force"), "give one"),
        (("--prune", "--only", "seed=0"), "--prune is about runs that are not in the grid, --only"),
        (("--limit", "0"), "--limit 0 would start nothing"),
        (("-f",), "give --logs ID"),
        (("--watch", "0"), "--watch 0"),
        (("--state", "fialed"), "did you mean failed?"),
        (("--state", "qqq"), "the states are planned, submitting"),
        (("--status", "--only", "sed=1"), "did you mean 'seed'?"),
        (("--status", "--only", "seed=7"), "seed 0, 1, 2"),
        (("--status", "--id", "resnet19"), "did you mean resnet18"),
        (("--logs", "resnet"), "3 runs begin with it"),
        (("--logs",), "3 runs are selected; give the ID of one"),
        (("--logs", "qqq"), "names and signatures of 3 runs"),
        (("--cancel", "--only", "seed=0"), "give --yes"),
    ],
)
def test_what_contradicts_or_matches_nothing_ends_in_one_sentence(tiny, capsys, options, said):
    first, *_ = tiny.plan()
    first.run_file.write_text("{}")
    with first.locked():  # a run that lives, so that cancelling has something to ask
        assert tiny.call("local", *options) == 2
    told = capsys.readouterr().err
    assert said in told
    assert len(told.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("door", "options"),
    [
        ("local", ("--limit", "1_0")),
        ("local", ("--watch", "1_0")),
        ("local", ("--processes", "02_0")),
        ("slurm", ("--gpus", "010")),
        ("slurm", ("--max-parallel", "1_0")),
        ("tune", ("--samples", "1_0")),
    ],
)
def test_a_number_of_an_option_is_plain(tiny, capsys, door, options):
    tiny.write()
    with pytest.raises(SystemExit, match="2"):
        tiny.call(door, *options, "--status")
    assert f"number is wanted, not {options[1]}" in capsys.readouterr().err


def test_acting_on_what_was_never_launched_says_so(tiny, capsys):
    tiny.write()
    assert tiny.call("local", "--collect") == 2
    assert "holds no runs yet" in capsys.readouterr().err
    assert not tiny.root.exists()


def test_selectors_of_one_kind_are_or_and_of_different_kinds_and(tiny, capsys):
    folders = tiny.plan()
    note_state(folders[0], State.FAILED, "why")
    note_state(folders[1], State.TIMED_OUT)

    def shown(*options: str) -> list[bool]:
        tiny.call("local", "--status", *options)
        told = capsys.readouterr().out
        return [folder.name in told for folder in folders]

    signature = folders[2].config().signature
    assert shown("--state", "failed", "--state", "timed-out") == [True, True, False]
    assert shown("--id", signature[:6], "--id", folders[0].name) == [True, False, True]
    assert shown("--id", signature[:6], "--id", folders[0].name, "--state", "failed") == [True, False, False]
    assert shown("--only", "!seed=0", "--state", "failed") == [False, False, False]
