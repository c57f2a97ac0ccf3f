"""shards/pack: the same bytes however often it is killed and whoever works; damage is mended, bad files are named."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

import shards.pack
from shards import progress
from shards.errors import UserError
from shards.index import read_index
from shards.pack import pack
from shards.workers import CHUNK_SIZE, MAX_PENDING, cores, parallel_map
from tests.conftest import ROOT


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(shards.pack, "SHARD_SAMPLES", 60)


@pytest.fixture(scope="module")
def undisturbed(paintings, tmp_path_factory) -> Path:
    """The demo paintings in four shards."""
    out = tmp_path_factory.mktemp("undisturbed") / "shards"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards.pack, "SHARD_SAMPLES", 60)
        pack(paintings / "images", paintings / "labels", out)
    assert len(list(out.glob("*.tar"))) == 4
    return out


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_changes_no_byte(paintings, undisturbed, small_shards, tmp_path, workers):
    pack(paintings / "images", paintings / "labels", tmp_path / "out", workers=workers)
    assert _bytes(tmp_path / "out") == _bytes(undisturbed)


def test_a_packing_killed_at_any_moment_goes_on_and_ends_with_the_same_bytes(
    paintings, undisturbed, small_shards, tmp_path
):
    images, labels, out = paintings / "images", paintings / "labels", tmp_path / "out"
    script = (
        "import pathlib, sys, shards.pack\n"
        "shards.pack.SHARD_SAMPLES = 60\n"
        "shards.pack.pack(*map(pathlib.Path, sys.argv[1:]))\n"
    )
    moments = [random.uniform(0.5, 2.5) for _ in range(10)]
    for moment in moments:
        command = [sys.executable, "-c", script, images, labels, out]
        process = subprocess.Popen([*map(str, command)], cwd=ROOT, start_new_session=True)
        time.sleep(moment)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    pack(images, labels, out)
    assert _bytes(out) == _bytes(undisturbed), f"killed after {moments} seconds"


def test_damaged_shards_are_named_and_written_again_never_blessed(
    paintings, undisturbed, small_shards, tmp_path, capsys
):
    out = tmp_path / "out"
    shutil.copytree(undisturbed, out)
    whole, flipped, short, gone = sorted(out.glob("*.tar"))
    data = bytearray(flipped.read_bytes())
    data[700] ^= 1
    flipped.write_bytes(data)
    os.truncate(short, 5000)
    gone.unlink()
    written = whole.stat().st_mtime_ns
    pack(paintings / "images", paintings / "labels", out)
    assert _bytes(out) == _bytes(undisturbed)
    assert whole.stat().st_mtime_ns == written
    assert re.findall(r"\S+\.tar", capsys.readouterr().err) == [str(flipped), str(short)]


def test_a_shard_that_was_never_finished_is_written_again(paintings, undisturbed, small_shards, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    shutil.copy(undisturbed / "pack.json", out)
    shutil.copy(undisturbed / "wikiart-000000.tar", out)
    os.truncate(out / "wikiart-000000.tar", 5000)
    pack(paintings / "images", paintings / "labels", out)
    assert _bytes(out) == _bytes(undisturbed)


def test_a_packer_killed_alone_takes_its_workers_with_it(paintings, tmp_path):
    command = [sys.executable, "-m", "shards.pack", "--images", paintings / "images", "--labels", paintings / "labels"]
    process = subprocess.Popen([*map(str, command), "--out", str(tmp_path / "out")], cwd=ROOT)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    # Until then they only start, and end by themselves when what they are told is cut short.
    while not any(file.stat().st_size for file in (tmp_path / "out").glob(".wikiart-*.tmp")):
        assert process.poll() is None
        time.sleep(0.01)
    workers = children.read_text().split()
    assert len(workers) >= 2
    process.kill()
    process.wait()
    until = time.monotonic() + 20
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_worker_killed_alone_ends_the_packing_with_a_sentence():
    with pytest.raises(UserError, match="fewer workers"), parallel_map(os._exit, [1], 1) as results:
        next(results)


@pytest.mark.parametrize(("limit", "least"), [("max 100000", None), ("40000 100000", 1), ("99900000 100000", None)])
def test_a_containers_limit_bounds_the_workers(monkeypatch, limit, least):
    monkeypatch.setattr(Path, "read_text", lambda file: limit)
    assert cores() == (least or len(os.sched_getaffinity(0)))


def test_work_is_handed_out_as_results_are_taken():
    class Items(Sequence):
        asked = 0

        def __len__(self) -> int:
            return 1_000_000

        def __getitem__(self, part):
            self.asked = part.stop
            return range(part.start, part.stop)

    items = Items()
    with parallel_map(abs, items, 1) as results:
        assert [next(results) for _ in range(100)] == list(range(100))
    assert items.asked <= 100 + (MAX_PENDING + 1) * CHUNK_SIZE


def test_bad_files_are_left_out_and_listed_with_their_reason(paintings, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(paintings / "images", images)
    files = sorted(images.rglob("*.jpg"))
    empty, short, text, pipe, folder, dangling, loop, endless = bad = files[:8]
    short.write_bytes(short.read_bytes()[:900])
    for file in (empty, text, pipe, folder, dangling, loop, endless):
        file.unlink()
    empty.touch()
    text.write_bytes(b"<html>404</html>")
    os.mkfifo(pipe)
    folder.mkdir()
    dangling.symlink_to("nowhere")
    loop.symlink_to(loop)
    endless.symlink_to("/dev/zero")
    report = pack(images, paintings / "labels", tmp_path / "out")
    assert set(report["unreadable"]) == set(map(str, bad))
    for reason in report["unreadable"].values():
        assert reason
        assert "0x" not in reason
    assert report["packed"] == len(read_index(tmp_path / "out").table) == 192


def test_plain_progress_says_how_long_is_left(monkeypatch, capsys):
    monkeypatch.setattr(progress, "PLAIN_INTERVAL_S", 0)
    with progress.progress("packing", 3) as advance:
        time.sleep(0.01)
        advance()
    assert re.fullmatch(r"packing: 1 of 3, [\d.,]+/s, 0 s left\n", capsys.readouterr().err)
    assert [progress.time_left(seconds) for seconds in (9.4, 125, 9000)] == ["9 s left", "2 min left", "2.5 h left"]


def test_of_two_packings_that_begin_at_once_the_second_is_refused(paintings, tmp_path, monkeypatch):
    folders = paintings / "images", paintings / "labels", tmp_path / "out"

    def overtaken(*arguments):
        monkeypatch.undo()
        pack(*folders, short_side=64)

    monkeypatch.setattr(shards.pack, "check_nothing_missing", overtaken)
    with pytest.raises(UserError, match="choose another --out"):
        pack(*folders, short_side=48)
