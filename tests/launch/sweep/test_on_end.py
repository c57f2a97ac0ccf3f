"""The command at the end of a sweep: never by a shell, once for a launch that trained something, never fatal."""

import json
import os
import select
import sys
from pathlib import Path

import pytest

from artnet.rundir import EXIT_STOPPED
from launch.cluster import finish
from launch.grid import load
from launch.machine.pool import Pool
from launch.sweep import on_end
from launch.sweep.folder import note_state
from launch.sweep.state import Found, State
from shards.errors import UserError

from ..tiny_grid import complete

NOTE = "import json, os, sys; json.dump([dict(os.environ), sys.argv[1:]], open(sys.argv[1], 'a'))"
CALLS = []


@pytest.fixture
def trained(trainable, monkeypatch):
    """What becomes of the runs that a launch would train: the seed says how each ends."""

    def carry_out(pool, decisions):
        CALLS.append(len(decisions))
        for decision in decisions:
            folder = pool.sweep.run(decision.run)
            if decision.run.config.seed:
                note_state(folder, State.FAILED, "why", launcher="local")
            else:
                complete(folder)
                note_state(folder, State.COMPLETE, launcher="local")

    monkeypatch.setattr(Pool, "carry_out", carry_out)
    CALLS.clear()
    return trainable


def told(file: Path) -> tuple[dict[str, str], list[str]]:
    environment, arguments = json.loads(file.read_text())
    names = ("SWEEP", "NAME", "COMPLETE", "FAILED", "TOTAL")
    return {name: environment[f"ARTNET_{name}"] for name in names}, arguments


def test_a_sweep_that_ends_tells_the_command_how_and_one_that_has_ended_is_silent(trained, tmp_path):
    out = tmp_path / "told"
    trained.write(seeds=3, on_end=[sys.executable, "-c", NOTE, str(out), "$HOME; a  b"])
    assert trained.call("local") == 1
    facts = {"SWEEP": str(trained.sweep.folder), "NAME": "tiny", "COMPLETE": "1", "FAILED": "2", "TOTAL": "3"}
    assert told(out) == (facts, [str(out), "$HOME; a  b"])
    out.unlink()
    assert trained.call("local") == 1
    assert trained.call("local", "--dry-run") == 0
    assert trained.call("local", "--status") == 1
    assert not out.exists()
    assert trained.call("local", "--retry", "--only", "seed=2") == 1
    assert told(out)[0] == facts
    assert len(CALLS) == 2


def test_a_command_that_fails_or_is_missing_is_a_sentence_and_changes_no_exit_code(trained, capfd):
    trained.write(seeds=1, on_end="false --now")
    assert trained.call("local") == 0
    assert "warning: on_end: false --now ended with exit code 1" in capfd.readouterr().err
    trained.write(seeds=2, on_end="./no-such-program x")
    program = Path("no-such-program").absolute()
    assert trained.call("local") == 1
    said = capfd.readouterr().err.splitlines()
    assert f"warning: {trained.file}:19: on_end: there is no program {program} on this machine" in said
    assert f"warning: on_end: {program} cannot be run (No such file or directory)" in said


def test_a_launch_that_is_stopped_has_not_ended_the_sweep(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(Pool, "carry_out", lambda pool, decisions: setattr(pool, "stopping", True))
    trained.write(on_end=["touch", str(tmp_path / "told")])
    assert trained.call("local") == EXIT_STOPPED
    assert not (tmp_path / "told").exists()


def test_a_command_that_does_not_end_is_ended_with_all_that_it_has_started(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(on_end, "LIMIT_S", 1.0)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    said = on_end.run(["sh", "-c", f"exec 9>{pipe}; echo x >&9; sleep 600 & wait"], tiny.sweep, [])
    assert said.startswith("on_end: sh -c ")
    assert said.endswith("took over 1 s and was ended")
    assert os.read(reader, 10) == b"x\n"
    assert select.select([reader], [], [], 30)[0]
    assert os.read(reader, 10) == b""  # the end: nobody holds the pipe any more
    os.close(reader)


def test_runs_that_a_search_stopped_early_have_not_failed(tiny, tmp_path):
    found = [Found(State.CANCELLED, "stopped by ASHA after epoch 1"), Found(State.CANCELLED, "by hand"),
             Found(State.COMPLETE)]  # fmt: skip
    out = tmp_path / "told"
    assert on_end.run([sys.executable, "-c", NOTE, str(out)], tiny.sweep, found) == ""
    facts, _ = told(out)
    assert (facts["COMPLETE"], facts["FAILED"], facts["TOTAL"]) == ("1", "1", "3")


def test_on_a_cluster_the_last_job_writes_the_page_and_runs_the_command(tiny, fake_slurm, tmp_path, capfd):
    out = tmp_path / "told"
    first, *_ = tiny.plan(seeds=2, on_end=[sys.executable, "-c", NOTE, str(out)])
    complete(first)
    assert finish.main([str(tiny.sweep.folder)]) == 0
    assert (tiny.sweep.folder / "report.html").exists()
    assert told(out)[0]["COMPLETE"] == "1"
    tiny.plan(seeds=2, on_end="false")
    assert finish.main([str(tiny.sweep.folder)]) == 0
    assert "warning: on_end: false ended with exit code 1" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("notify 'a b' $HOME | tee x", ("notify", "a b", "$HOME", "|", "tee", "x")),
        ("[notify, a b]", ("notify", "a b")),
        ("~/bin/notify ~", ("/home/me/bin/notify", "~")),
        ("", ()),
    ],
)
def test_a_command_is_split_as_a_shell_would_and_only_its_program_is_a_path(tiny, monkeypatch, written, words):
    monkeypatch.setenv("HOME", "/home/me")
    tiny.file.write_text(f"name: tiny\nfixed: {{task: style}}\non_end: {written}\n")
    assert load(tiny.file).on_end == words


@pytest.mark.parametrize("written", ["[]", "'  '", "5", "[a, 5]", "{a: b}", "true", "[[a]]", '"a \'b"', '["a\\0"]'])
def test_what_is_no_command_is_refused_with_its_line(tiny, written):
    tiny.file.write_text(f"name: tiny\nfixed: {{task: style}}\non_end: {written}\n")
    with pytest.raises(UserError, match=r"grid\.yaml:3: on_end "):
        load(tiny.file)
