"""The benchmark for GPUs, rehearsed on the CPU: it has to work the first time that it is run on one."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from benchmarks import gpu
from benchmarks.gpu_parts import PARTS, Part
from benchmarks.gpu_parts.report import FAILED, PASSED, Record, meets, tables
from tests.conftest import ROOT, environment

CHEAP = (1, 2, 3, 4, 6, 7, 8, 9)
NEED_A_GPU = (1, 6, 7, 8, 9, 10, 11, 14)
REFUSED = ("cv2", "matplotlib", "ray", "scipy", "simplejpeg", "submitit", "tensorboard", "torchmetrics")
REFUSE = f"""
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {REFUSED}:
            raise ModuleNotFoundError(f"no module {{name}}", name=name)

sys.meta_path.insert(0, Refuse())
"""


def rehearse(out: Path, *options: str, **variables: str) -> dict[str, dict]:
    """The parts of the report of a rehearsal, in which no part may fail."""
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--rehearse", "--out", str(out), *options]
    ended = subprocess.run(command, env=environment(**variables), capture_output=True, text=True)
    parts = json.loads(out.read_text())["parts"]
    failed = {number: part for number, part in parts.items() if part["status"] == "failed"}
    assert not failed, "\n".join(f"{number}: {part['reason']}\n{part.get('log')}" for number, part in failed.items())
    assert ended.returncode == 0, ended.stderr
    for number, part in parts.items():
        assert f"| {number} | {part['title']} | {part['status']} |" in ended.stdout
    return parts


@pytest.mark.slow
def test_the_cheap_parts_run_with_few_packages(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(REFUSE)
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    parts = rehearse(tmp_path / "gpu.json", "--parts", ",".join(map(str, CHEAP)), PYTHONPATH=path)
    assert sorted(map(int, parts)) == list(CHEAP)
    for number, part in parts.items():
        expected = ("not measured", "needs a GPU") if int(number) in NEED_A_GPU else ("passed", "")
        assert (part["status"], part["reason"]) == expected, number


@pytest.mark.slow
def test_every_part_can_be_rehearsed(tmp_path):
    parts = rehearse(tmp_path / "gpu.json", "--minutes", "30")
    assert sorted(map(int, parts)) == sorted(PARTS)
    for number, part in parts.items():
        expected = ("not measured", "needs a GPU") if int(number) in NEED_A_GPU else ("passed", "")
        assert (part["status"], part["reason"]) == expected, number


def behave(number: int, setting: dict, file: Path, log: Path) -> None:
    """Replaces `start_part`: part 1 fails if forked, 2 crashes, 3 hangs, 4 misses a bar."""
    record = Record(file)
    record.figure("speed", 0.5, bar=">= 0.97" if number == 4 else "")
    if number == 1 and os.getppid() != setting["runner"]:
        record.close(FAILED, "forked")
    elif number == 2:
        os.kill(os.getpid(), signal.SIGSEGV)
    elif number == 3:
        threading.Event().wait()
    else:
        record.close(PASSED)


@pytest.mark.slow
def test_a_crash_and_a_hang_lose_no_other_part(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "start_part", behave)
    for number in range(1, 5):
        monkeypatch.setitem(PARTS, number, Part(f"title {number}", "", 1 if number == 3 else 60, alone=True))
    out = tmp_path / "gpu.json"
    runner = gpu.Runner({"rehearse": False, "folder": tmp_path, "runner": os.getpid()}, out, minutes=5)
    runner.run([1, 2, 3, 4])
    parts = json.loads(out.read_text())["parts"]
    assert {int(number): (part["status"], part["reason"]) for number, part in parts.items()} == {
        1: ("passed", ""),  # in a process that was not forked
        2: ("failed", "its process ended with exit code -11"),
        3: ("failed", "did not end within 1 s"),
        4: ("failed", "below the bar: speed"),
    }
    assert [len(parts[number]["figures"]) for number in "124"] == [1, 1, 1]
    assert "| 4 | speed | 0.5  | >= 0.97 | missed |" in tables(runner.report)


def test_what_does_not_fit_into_the_time_is_not_measured(tmp_path):
    runner = gpu.Runner({"rehearse": True, "folder": tmp_path}, tmp_path / "gpu.json", minutes=0)
    runner.run([1, 11])
    parts = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert {(part["status"], part["reason"]) for part in parts.values()} == {("not measured", "no time left")}


def test_a_bar_is_judged_on_a_gpu_only(tmp_path):
    assert [meets(0.97, ">= 0.97"), meets(0.96, ">= 0.97"), meets(1.35, "<= 1.35"), meets(1.4, "<= 1.35")] == [
        True, False, True, False,
    ]  # fmt: skip
    record = Record(tmp_path / "part.json", judged=False)
    record.figure("speed", 0.5, bar=">= 0.97")
    record.close(PASSED)
    assert (record.content["status"], record.content["figures"][0]["met"]) == ("passed", None)
