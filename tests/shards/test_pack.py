"""shards/pack: the same bytes after any kill and with any number of workers; damage is repaired, bad files named."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

import shards.pack
import shards.settings
from shards.errors import UserError
from shards.index import read_index
from shards.pack import main, pack
from shards.pictures import find_images
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
        pack(paintings / "images", paintings / "labels", out, workers=1)
    assert len(list(out.glob("*.tar"))) == 4
    return out


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


@pytest.mark.slow
def test_the_number_of_workers_changes_no_byte(paintings, undisturbed, small_shards, tmp_path):
    pack(paintings / "images", paintings / "labels", tmp_path / "out", workers=3)
    assert _bytes(tmp_path / "out") == _bytes(undisturbed)


PACK_IN_SHARDS_OF_60 = """
import multiprocessing, os, pathlib, signal, sys, shards.pack
shards.pack.SHARD_SAMPLES = 60
def write_checksums_and_die(*arguments):
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[4:]:
    shards.pack.write_checksums = write_checksums_and_die
shards.pack.pack(*map(pathlib.Path, sys.argv[1:4]))
"""


def start_packing(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PACK_IN_SHARDS_OF_60, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.slow
def test_a_packing_killed_before_a_shard_has_its_checksum_ends_its_workers_and_can_be_continued(
    paintings, undisturbed, small_shards, in_process, tmp_path
):
    folders = paintings / "images", paintings / "labels", tmp_path / "out"
    process = start_packing(*folders, "die")
    workers = process.communicate(timeout=60)[0].split()
    assert process.returncode == -signal.SIGKILL
    assert {file.name for file in folders[2].glob("*.tar")} == {"wikiart-000000.tar"}
    assert workers
    until = time.monotonic() + 20
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < until
        time.sleep(0.01)
    pack(*folders)
    assert _bytes(folders[2]) == _bytes(undisturbed)


@pytest.mark.slow
def test_a_packing_killed_at_any_moment_can_be_continued(paintings, undisturbed, small_shards, tmp_path):
    folders = paintings / "images", paintings / "labels", tmp_path / "out"
    moments = [random.uniform(0.5, 2.5) for _ in range(10)]
    for moment in moments:
        process = start_packing(*folders)
        time.sleep(moment)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    pack(*folders)
    assert _bytes(folders[2]) == _bytes(undisturbed), f"killed after {moments} seconds"


def test_damaged_shards_are_named_and_written_again(paintings, undisturbed, small_shards, in_process, tmp_path, capsys):
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


def test_a_shard_that_was_never_finished_is_written_again(paintings, undisturbed, small_shards, in_process, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    shutil.copy(undisturbed / "pack.json", out)
    shutil.copy(undisturbed / "wikiart-000000.tar", out)
    os.truncate(out / "wikiart-000000.tar", 5000)
    pack(paintings / "images", paintings / "labels", out)
    assert _bytes(out) == _bytes(undisturbed)


def test_bad_files_are_left_out_and_listed_with_their_reason(paintings, in_process, tmp_path):
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


def test_a_folder_that_an_earlier_version_packed_is_continued_with_the_same_bytes(
    paintings, small_shards, in_process, tmp_path, monkeypatch, capsys
):
    folders = paintings / "images", paintings / "labels", tmp_path / "out"
    with monkeypatch.context() as earlier:
        earlier.setattr(shards.settings, "VERSION", shards.settings.WITH_NUMBERS)
        pack(*folders)
    before = _bytes(folders[2])
    with tarfile.open(folders[2] / "wikiart-000001.tar") as tar:
        assert isinstance(json.loads(tar.extractfile(tar.getmembers()[1]).read())["phash"], int)
    (folders[2] / "wikiart-000001.tar").unlink()
    pack(*folders)
    assert _bytes(folders[2]) == before
    assert not capsys.readouterr().err
    with pytest.raises(UserError, match="other paintings, labels or settings"):
        pack(*folders, quality=80)


def test_of_two_packings_that_start_at_once_the_second_is_refused(paintings, in_process, tmp_path, monkeypatch):
    folders = paintings / "images", paintings / "labels", tmp_path / "out"
    check = shards.pack.check_nothing_missing

    def pack_first(*arguments):
        monkeypatch.setattr(shards.pack, "check_nothing_missing", check)
        pack(*folders, short_side=64)

    monkeypatch.setattr(shards.pack, "check_nothing_missing", pack_first)
    with pytest.raises(UserError, match="choose another --out"):
        pack(*folders, short_side=48)


def test_a_folder_of_other_shards_is_refused_and_not_changed(paintings, shards):
    before = {path: path.stat().st_mtime_ns for path in shards.iterdir()}
    with pytest.raises(UserError, match="choose another --out"):
        pack(paintings / "images", paintings / "labels", shards, short_side=48)
    assert before == {path: path.stat().st_mtime_ns for path in shards.iterdir()}


def test_missing_images_or_labels_are_refused_before_packing_unless_allowed(paintings, in_process, tmp_path, capsys):
    images, out = tmp_path / "images", tmp_path / "out"
    shutil.copytree(paintings / "images", images)
    first, *_, last = find_images(images)
    command = ["--images", str(images), "--labels", str(paintings / "labels"), "--out", str(out)]

    def reported():
        report = json.loads((out / "report.json").read_text(encoding="utf-8"))
        return report["listed_without_image"], report["images_without_label"]

    def refused():
        assert main(command) == 2
        missing, unlabelled = reported()
        counts = [f"listed paintings without an image: {len(missing)}", f"images without a label: {len(unlabelled)}"]
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        found = [count for count in counts if not count.endswith(": 0")]
        assert error.startswith(f"error: {', '.join(found)}, all named in ")
        assert all(said in error for said in (str(out / "report.json"), "--allow-missing"))
        assert [file.name for file in out.iterdir()] == ["report.json"]
        return missing, unlabelled

    shutil.copy(images / first, images / "other.jpg")
    (images / "._other.jpg").touch()  # a hidden file of macOS, not an image
    assert refused() == ([], ["other.jpg"])
    (images / first).unlink()
    (images / last).unlink()
    assert refused() == ([first, last], ["other.jpg"])
    (images / "other.jpg").unlink()
    assert refused() == ([first, last], [])
    assert main([*command, "--allow-missing"]) == 0
    assert reported() == ([first, last], [])
    assert len(read_index(out).table) == 198
    assert main(command) == 2
    assert json.loads((out / "report.json").read_bytes())["packed"] == 198
