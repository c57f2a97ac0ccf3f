"""Where the runs are."""

import contextlib
import io
import json
import os
import pty
import re
import signal
import subprocess
import threading
import time

import pytest
from rich.console import Console

from artnet.rundir import write_json
from launch.commands.options import parse, parser
from launch.commands.session import open_session
from launch.commands.status import rows, tail
from launch.commands.table import Row, ago, most_telling, shown_rows
from launch.machine import MachineBackend
from launch.sweep.backend import Engines
from launch.sweep.folder import note_state
from launch.sweep.state import Found, State
from tests.conftest import ROOT, environment

from ..tiny_grid import complete, log_epoch


def test_status_shows_where_each_run_is(tiny, capsys):
    folders = tiny.plan(seeds=4)
    complete(folders[0])
    log_epoch(folders[0], 1, **{"val/top1": 0.5, "images_per_s": 100.0})
    note_state(folders[1], State.RUNNING)
    write_json(folders[1].run_file, {"attempts": [{"host": "somewhere"}]})
    note_state(folders[2], State.OUT_OF_MEMORY, "no\nmore " * 50)
    with folders[1].locked():
        for top1 in (0.6841, 0.25):
            log_epoch(folders[1], 1, **{"val/top1": top1, "images_per_s": 77.4})
        assert tiny.call("local", "--status") == 1
        told = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
        assert tiny.call("local", "--status", "--only", "seed=1") == 0
        one = capsys.readouterr().out
    assert told[0] == "run state node epoch val/top1 % best % test/top1 % images/s to go as of reason"
    assert told[1] == f"{folders[0].name} complete 1/1 50.00 50.00 50.00 100"
    assert re.fullmatch(rf"{folders[1].name} running somewhere 1/1 25.00 68.41 77 0:00:00 \d+ s ago", told[2])
    assert told[3] == f"{folders[2].name} out of memory{' no more' * 50}"
    assert told[4] == f"{folders[3].name} planned"
    assert told[5] == "tiny: 4 runs: 1 planned, 1 running, 1 complete, 1 out of memory"
    assert "tiny: 1 run: 1 running of 4" in one


def test_a_scheduler_knows_the_node_and_the_time_left(tiny):
    tiny.write(seeds=3)
    run, *_ = tiny.expand()
    found = {run.config.name: Found(State.RUNNING, node="node7", left="1:01:01")}
    options = parse(parser("local.py", "").parse_args(["--grid", str(tiny.file), "--runs", str(tiny.root)]))
    (row,) = rows(open_session(options, Engines(MachineBackend())), [run], found)
    assert (row.node, row.limit) == ("node7", "1:01:01")


def test_runs_that_only_their_signatures_tell_apart_show_what_varies(tiny, capsys):
    tiny.write(parameters={"optim.lr": [0.03, 0.3], "seed": [0, 1]})
    assert tiny.call("local", "--status", "--only", "seed=1") == 0
    told = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert told[0] == ["run", "lr", "state"]
    assert [line[1:] for line in told[1:3]] == [["0.03", "planned"], ["0.3", "planned"]]


def test_where_the_table_is_too_wide_nothing_is_cut():
    name, reason = "resnet50-rla-cbam_channel_artist+style+genre_s0-3f9a1c7b", "it is the loss " * 12 + "end"
    row = Row(name, State.FAILED, reason, {"lr": "0.03"}, epoch=3, epochs=50, score=0.4123, best=0.5, age_s=7300)
    lines = {}
    for width in (80, 400):
        console = Console(force_terminal=True, width=width, color_system=None, file=io.StringIO())
        console.print(shown_rows([row], "val/top1", console), highlight=False)
        lines[width] = [line.rstrip() for line in console.file.getvalue().splitlines()]
    assert max(map(len, lines[80])) <= 80
    assert lines[80][:2] == [name, "  failed, lr=0.03, epoch 3/50, val/top1 41.23 %, best 50.00 %, as of 2 h ago"]
    assert " ".join(" ".join(lines[80][2:]).split()) == reason
    assert len(lines[400]) == 2
    assert lines[400][1].endswith(reason)
    assert (ago(None), ago(119), ago(120), ago(400_000)) == ("", "119 s ago", "2 min ago", "5 days ago")


def test_shares_are_in_per_cent_and_losses_are_not():
    row = Row("run", State.RUNNING, epoch=1, score=0.6841, best=0.7)
    for metric, shown in (("val/macro_f1", "68.41 %, best 70.00 %"), ("val/nll", "0.6841, best 0.7000")):
        console = Console(force_terminal=True, width=20, color_system=None, file=io.StringIO())
        console.print(shown_rows([row], metric, console), highlight=False)
        assert f"{metric} {shown}" in " ".join(console.file.getvalue().split())


def test_the_last_epoch_is_found_far_behind_its_steps(tmp_path):
    file = tmp_path / "metrics.jsonl"
    epoch = {"kind": "epoch", "time": 1.0, "epoch": 3, "seconds": 5.0}
    steps = "".join(json.dumps({"kind": "step", "time": 2.0, "epoch": 4, "step": n}) + "\n" for n in range(5000))
    file.write_text("\n" * 2_000_000 + json.dumps(epoch) + "\n" + steps + '{"kind": "step", "cut')
    last, closed = tail(file)
    assert (last["step"], closed) == (4999, epoch)
    assert tail(tmp_path / "none") == ({}, {})


def test_where_not_all_rows_fit_those_that_run_or_failed_are_shown():
    every = [Row(str(number), state) for number, state in enumerate(State)]
    told = [row.state for row in most_telling(every, 5)]
    assert told == [State.RUNNING, State.FAILED, State.OUT_OF_MEMORY, State.TIMED_OUT, State.NODE_FAILED]


def test_watching_ends_when_nothing_lives(tiny, capsys):
    folder, *_ = tiny.plan(seeds=1)
    with folder.locked():
        watcher = threading.Thread(target=lambda: codes.append(tiny.call("local", "--watch", "0.1")))
        codes: list[int] = []
        watcher.start()
        while "1 running" not in (told := capsys.readouterr().out):
            time.sleep(0.05)
        assert not codes
        note_state(folder, State.FAILED, "why")
    watcher.join(timeout=60)
    assert codes == [1]
    assert "1 failed" in told + capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_watch_that_is_ended_leaves_the_terminal_as_it_was(tiny, number):
    folder, *_ = tiny.plan(seeds=1)
    master, terminal = pty.openpty()
    with folder.locked():
        process = subprocess.Popen(
            tiny.command("local", "--watch"), cwd=ROOT, env=environment(TERM="xterm"), stdin=terminal, stdout=terminal
        )
        os.close(terminal)
        shown = b""
        while b"1 running" not in shown:
            shown += os.read(master, 4096)
        process.send_signal(number)
        with contextlib.suppress(OSError):  # how a terminal that nobody has open ends
            while more := os.read(master, 4096):
                shown += more
    assert process.wait(timeout=60) == 128 + number
    assert shown.rfind(b"\x1b[?25h") > shown.rfind(b"\x1b[?25l") >= 0  # the cursor is shown again
    os.close(master)


def test_collecting_writes_the_table_and_starts_nothing(tiny, capsys):
    folders = tiny.plan()
    complete(folders[0])
    assert tiny.call("local", "--collect") == 0
    assert "ResNet18" in capsys.readouterr().out
    for name in ("results.csv", "results.md", "report.html"):
        assert (tiny.sweep.folder / name).stat().st_size
    assert not any(folder.attempts.exists() for folder in folders)
