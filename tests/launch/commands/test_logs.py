"""What a run said."""

import contextlib
import os
import socket
import subprocess

import pytest

from artnet.rundir import write_json
from launch.cluster.backend import ClusterBackend
from launch.commands.logs import files
from launch.machine import MachineBackend
from launch.sweep.attempt import attempt_folder
from launch.sweep.backend import Engines
from launch.sweep.folder import note_state
from launch.sweep.state import State
from tests.conftest import ROOT, environment

from ..tiny_grid import complete

pytestmark = pytest.mark.usefixtures("in_time")

ENGINES = Engines(MachineBackend(), [ClusterBackend()])


def test_logs_are_those_of_the_last_attempt_of_every_rank(tiny, capfdbinary):
    folder, *_ = tiny.plan()
    note_state(folder, State.RUNNING, launcher="slurm", job="7_0", job_name="artnet-tiny-00000001", position=0)
    jobs = tiny.sweep.folder / "slurm"
    jobs.mkdir()
    write_json(jobs / "artnet-tiny-00000001.json", {"attempts": [1]})
    (jobs / "7_0.log").write_bytes(b"no module named torch")
    assert tiny.call("local", "--logs", folder.name) == 0
    assert capfdbinary.readouterr().out == b"no module named torch\n"
    for number, text in ((1, b"old\n"), (2, b"new\n")):
        (attempt_folder(folder, number) / "stdout").write_bytes(text)
    (folder.attempts / "002" / "stderr").write_bytes(b"\xffwarned\n")
    tiny.call("local", "--logs", folder.config().signature[:9])
    assert capfdbinary.readouterr().out == b"new\n\xffwarned\n"
    (folder.attempts / "002" / "stderr.1").write_bytes(b"other\n")
    tiny.call("local", "--logs", folder.name)
    assert capfdbinary.readouterr().out == b"rank 0 | new\nrank 0 | \xffwarned\nrank 1 | other\n"
    tiny.call("local", "--only", "seed=0", "--logs")
    assert capfdbinary.readouterr().out == b"rank 0 | new\nrank 0 | \xffwarned\nrank 1 | other\n"
    write_json(jobs / "artnet-tiny-00000001.json", {"attempts": [3]})  # a third job has come to nothing
    assert [file.name for file in files(folder, ENGINES)] == ["7_0.log"]


@pytest.mark.parametrize("kind", ["pipe", "device", "huge", "folder", "socket"])
def test_a_log_that_has_no_end_costs_neither_time_nor_memory_and_the_others_are_shown(tiny, capfdbinary, kind):
    folder, *_ = tiny.plan()
    note_state(folder, State.FAILED, "why", launcher="local")
    logs = attempt_folder(folder, 1)
    (logs / "stderr").write_text("good\n")
    log = logs / "stdout"
    if kind == "pipe":
        os.mkfifo(log)
    elif kind == "device":
        log.symlink_to("/dev/zero")
    elif kind == "folder":
        log.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(logs):
            server.bind("stdout")
    else:
        log.write_bytes(b"first\n")
        os.truncate(log, 10_000_000_000)
        with log.open("ab") as file:
            file.write(b"\nlast\n")
    (folder.attempts / "9x").mkdir()
    for options in ((), ("-f",)):
        assert tiny.call("local", *options, "--logs", folder.name) == 0
        said = capfdbinary.readouterr()
        assert said.out.endswith(b"good\n")
        if kind == "huge":
            assert b"first" not in said.out and b"\nlast\n" in said.out
            assert f"{log}: only its last 20,000,000 bytes are shown".encode() in said.err
            assert len(said.out) < 21_000_000
        else:
            assert f"warning: {log} cannot be read: ".encode() in said.err
            assert said.err.count(b"cannot be read") == 1


def test_nothing_in_a_sweep_steers_the_terminal(tiny, fake_slurm, capfdbinary):
    folder, *_ = tiny.plan()
    attack = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\x9b1A\x08"  # the clipboard, the screen, the line above
    note_state(folder, State.FAILED, f"bad {attack}luck", launcher="local")
    (attempt_folder(folder, 1) / "stderr").write_text(f"a\t{attack}b\n")
    assert tiny.call("local", "--logs", folder.name) == 0
    assert b"a\t?]52;c;ZXZpbA==??[2J?1A?b" in capfdbinary.readouterr().out
    running, job = tiny.folders[1:]
    note_state(job, State.RUNNING, launcher="slurm", job="7_0", job_name="artnet-tiny-00000001", position=0)
    fake_slurm.add("7_0", "artnet-tiny-00000001", "FAILED", node=f"node{attack[-3:]}")
    (tiny.sweep.folder / "slurm").mkdir()
    (tiny.sweep.folder / "slurm" / "7_0.log").write_text(f"from{attack}srun")
    write_json(running.run_file, {"attempts": [{"host": f"host{attack}"}]})
    note_state(running, State.RUNNING, launcher="local")
    with running.locked():
        tiny.call("local", "--status")
    tiny.call("local", "--only", f"seed={attack}")
    printed = b"".join(capfdbinary.readouterr())
    assert (
        b"luck" in printed
        and b"host?" in printed
        and b"from?" in printed
        and not set(printed) & {0x07, 0x08, 0x1B}
        and b"\xc2\x9b" not in printed
    )


def test_following_a_log_goes_on_into_the_next_attempt_until_the_run_ends(tiny):
    folder, *_ = tiny.plan()
    first = attempt_folder(folder, 1) / "stdout"
    first.write_text("one\ntw")
    with folder.locked():
        command = tiny.command("local", "-f", "--logs", folder.name)
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout.readline() == b"one\n"
        with first.open("a") as file:
            file.write("o\n")
        assert process.stdout.readline() == b"two\n"
        with first.open("a") as file:
            file.write("last of one")
        (attempt_folder(folder, 2) / "stdout").write_text("three\nno end")
        assert process.stdout.readline() == b"last of one\n"
        assert process.stdout.readline() == b"three\n"
        complete(folder)
    assert process.communicate(timeout=60)[0] == b"no end\n"
    assert process.returncode == 0


def test_following_a_log_shows_what_the_training_says_after_its_result(tiny):
    folder, *_ = tiny.plan()
    log = attempt_folder(folder, 1) / "stdout"
    log.write_text("one\n")
    note_state(folder, State.RUNNING, launcher="local")
    complete(folder)
    process = subprocess.Popen(
        tiny.command("local", "-f", "--logs", folder.name), cwd=ROOT, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout.readline() == b"one\n"
    with log.open("a") as file:
        file.write("test top-1\n")
    assert process.stdout.readline() == b"test top-1\n"
    note_state(folder, State.COMPLETE)
    assert process.communicate(timeout=60)[0] == b""
    assert process.returncode == 0


def test_following_ends_when_nobody_reads(tiny):
    folder, *_ = tiny.plan()
    (attempt_folder(folder, 1) / "stdout").write_text("one\ntwo\n")
    with folder.locked():
        process = subprocess.Popen(
            tiny.command("local", "-f", "--logs", folder.name), cwd=ROOT, env=environment(),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout.readline() == b"one\n"
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(timeout=60) == 0
    assert b"Error" not in said
