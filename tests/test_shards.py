"""shards/: splits leak nothing, packing loses nothing and says what it left out."""

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections import Counter
from pathlib import Path

import pytest
import webdataset
from conftest import ROOT, WIKIART, needs_wikiart
from PIL import Image, ImageCms

from shards.errors import UserError
from shards.images import UnreadableImageError, to_jpeg
from shards.index import read_index
from shards.labels import TASKS, Painting, read_labels
from shards.pack import pack, sample_key
from shards.reader import Reader
from shards.splits import artgan_splits, separate_copies
from shards.verify import main as verify


@needs_wikiart
def test_official_splits_leak_nothing_between_tasks_and_keep_every_class():
    paintings = list(read_labels(WIKIART / "labels").paintings.values())
    splits = artgan_splits(paintings)
    roles = [{role for role in split.values() if role} for split in splits]
    assert max(map(len, roles)) == 1
    dropped = sum(
        painting.listed[task] == "train" and not split[task]
        for painting, split in zip(paintings, splits, strict=True)
        for task in painting.listed
    )
    leaks = sum(len(set(painting.listed.values())) == 2 for painting in paintings)
    assert leaks == 566 <= dropped
    for task in TASKS:
        labelled = [(p.label(task), split[task]) for p, split in zip(paintings, splits, strict=True) if split[task]]
        sizes = Counter(labelled)
        for label in {label for label, _ in labelled}:
            train, val = sizes[label, "train"], sizes[label, "val"]
            assert val / (train + val) == pytest.approx(0.1, abs=0.02)


def test_splits_depend_on_paintings_and_seed_only():
    rng = random.Random(0)
    paintings = [Painting(f"a/{n}.jpg", {"style": rng.randrange(5)}, {"style": "train"}) for n in range(300)]
    roles = {p.path: split["style"] for p, split in zip(paintings, artgan_splits(paintings), strict=True)}
    rng.shuffle(paintings)
    again = {p.path: split["style"] for p, split in zip(paintings, artgan_splits(paintings), strict=True)}
    other = {p.path: split["style"] for p, split in zip(paintings, artgan_splits(paintings, seed=1), strict=True)}
    assert roles == again != other
    assert Counter(roles.values()) == {"train": 270, "val": 30}


def test_copies_of_one_image_never_stand_on_two_sides():
    splits = [
        {"artist": "train", "style": "train"},
        {"artist": "", "style": "test"},
        {"artist": "val", "style": ""},
        {"artist": "train", "style": ""},
        {"artist": "train", "style": ""},
    ]
    assert separate_copies(splits, ["a", "a", "b", "b", "c"]) == [
        {"artist": "", "style": ""},
        {"artist": "", "style": "test"},
        {"artist": "val", "style": ""},
        {"artist": "", "style": ""},
        {"artist": "train", "style": ""},
    ]


def test_a_packer_killed_alone_takes_its_workers_with_it(paintings, tmp_path):
    command = [sys.executable, "-m", "shards.pack", "--images", paintings / "images", "--labels", paintings / "labels"]
    process = subprocess.Popen([*map(str, command), "--out", str(tmp_path / "out")], cwd=ROOT)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while len(workers := children.read_text().split()) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    until = time.monotonic() + 20
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_any_webdataset_reader_streams_the_shards_and_the_index_finds_the_same_bytes(shards):
    index = read_index(shards)
    rows = {row["key"]: row for row in index.table.to_pylist()}
    reader = Reader(index)
    by_key = {key: reader[number] for number, key in enumerate(rows)}
    urls = [str(path) for path in sorted(shards.glob("*.tar"))]
    streamed = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert len(streamed) == len(rows) == 200
    for sample in streamed:
        row, about = rows[sample["__key__"]], json.loads(sample["json"])
        assert sample["jpg"] == by_key[sample["__key__"]]
        assert all(about[name] == row[name] for name in ("path", *TASKS))
        assert Image.open(io.BytesIO(sample["jpg"])).size == (row["width"], row["height"])


def test_keys_are_safe_and_distinct():
    paths = [
        "a/b.c (1).jpg",
        "a/b.c (2).jpg",
        "b/b.c (1).jpg",
        "a/ürgß'\"$(rm)\n.jpg",
        "a/" + "x" * 300 + ".jpg",
    ]
    keys = [sample_key(path) for path in paths]
    assert len(set(keys)) == len(keys)
    assert all(len(key) < 90 and set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-") for key in keys)


def test_unreadable_images_are_left_out_and_listed_with_their_reason(paintings, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(paintings / "images", images)
    files = sorted(images.rglob("*.jpg"))
    files[0].write_bytes(b"")
    files[1].write_bytes(files[1].read_bytes()[:900])
    files[2].write_bytes(b"<html>404</html>")
    report = pack(images, paintings / "labels", tmp_path / "out")
    assert set(report["unreadable"]) == {str(file) for file in files[:3]}
    assert all(report["unreadable"].values())
    assert report["packed"] == len(read_index(tmp_path / "out").table) == 197


def test_odd_images_become_upright_rgb_and_small_clean_ones_stay_as_they_are():
    clean = _encode(Image.new("RGB", (80, 50), "red"), "JPEG")
    assert to_jpeg(clean, 64, 90) == (clean, 80, 50)
    exif = Image.Exif()
    exif[0x0112] = 6
    odd = [
        _encode(Image.new("CMYK", (300, 200)), "JPEG"),
        _encode(Image.new("L", (300, 200)), "JPEG"),
        _encode(Image.new("P", (300, 200)), "PNG"),
        _encode(Image.new("RGBA", (300, 200)), "WEBP"),
        _encode(Image.new("I;16", (300, 200)), "PNG"),
        _encode(Image.new("RGB", (200, 300)), "JPEG", exif=exif),
        _encode(Image.new("RGB", (300, 200)), "JPEG", progressive=True),
    ]
    for data in odd:
        jpeg, width, height = to_jpeg(data, 64, 90)
        with Image.open(io.BytesIO(jpeg)) as image:
            assert (image.format, image.mode, image.size, (width, height)) == (
                "JPEG",
                "RGB",
                (96, 64),
                (96, 64),
            )
            assert not image.info.get("progressive")
    with pytest.raises(UnreadableImageError):
        to_jpeg(clean[:300], 64, 90)


def _encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _colour(data: bytes) -> list[int]:
    """The colour of the middle of what an image file is packed as."""
    with Image.open(io.BytesIO(to_jpeg(data, 64, 95)[0])) as image:
        assert "icc_profile" not in image.info
        return list(image.getpixel((image.width // 2, image.height // 2)))


def test_colours_are_those_a_viewer_would_show():
    # A profile whose red is green, made of the built-in one: two entries of its table change names.
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = profile.replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))
    swapped = swapped.replace(b"rXYZ", b"????", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"????", b"gXYZ", 1)
    red = Image.new("RGB", (60, 60), (255, 0, 0))
    near = {"abs": 6}
    assert _colour(_encode(red, "JPEG", icc_profile=swapped, quality=95)) == pytest.approx([0, 255, 0], **near)
    transparent = red.copy()
    transparent.putalpha(0)
    assert _colour(_encode(transparent, "PNG")) == pytest.approx([255, 255, 255], **near)
    assert _colour(_encode(Image.new("I;16", (60, 60), 0x8000), "PNG")) == pytest.approx([128, 128, 128], **near)
    assert _colour(_encode(red, "PNG", icc_profile=b"no profile")) == pytest.approx([255, 0, 0], **near)


def test_a_large_scan_is_packed_and_a_bomb_is_not():
    scan = _encode(Image.new("L", (15_000, 15_000), 80), "JPEG")
    assert to_jpeg(scan, 64, 90)[1:] == (64, 64)
    bomb = bytearray(_encode(Image.new("L", (8, 8)), "PNG"))
    bomb[16:24] = (60_000).to_bytes(4) * 2  # what it says its size is
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4)
    with pytest.raises(UnreadableImageError, match="bomb"):
        to_jpeg(bytes(bomb), 64, 90)


def test_a_killed_packing_goes_on_and_ends_with_the_same_bytes(paintings, shards, tmp_path):
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "shards.pack",
        "--images",
        paintings / "images",
        "--labels",
        paintings / "labels",
        "--out",
        out,
    ]
    for delay in (0.3, 0.8, 1.2):
        process = subprocess.Popen(list(map(str, command)), cwd=ROOT, start_new_session=True)
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    pack(paintings / "images", paintings / "labels", out)
    assert {p.name: p.read_bytes() for p in out.iterdir() if not p.name.startswith(".")} == {
        p.name: p.read_bytes() for p in shards.iterdir() if not p.name.startswith(".")
    }


def test_a_folder_of_other_shards_is_refused_and_left_alone(paintings, shards):
    before = {path: path.stat().st_mtime_ns for path in shards.iterdir()}
    with pytest.raises(UserError, match="choose another --out"):
        pack(paintings / "images", paintings / "labels", shards, short_side=48)
    assert before == {path: path.stat().st_mtime_ns for path in shards.iterdir()}


def test_a_shard_cut_short_is_refused(shards, tmp_path):
    copy = tmp_path / "shards"
    shutil.copytree(shards, copy)
    tar = next(copy.glob("*.tar"))
    tar.write_bytes(tar.read_bytes()[:5000])
    with pytest.raises(UserError, match="cut short"):
        Reader(read_index(copy))


def _flip(tar: Path, at: int) -> None:
    with tar.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda tar, row: _flip(tar, row["offset"] + row["length"] // 2), "1 of 200 images are damaged, {key}"),
        (lambda tar, row: _flip(tar, row["offset"] - 512), "not all of their names and labels"),
        (lambda tar, row: _flip(tar, tar.stat().st_size - 1), "has changed since it was packed"),
        (lambda tar, row: os.truncate(tar, row["offset"]), "is cut short"),
        (lambda tar, row: tar.unlink(), "is missing, with 200 paintings"),
    ],
)
def test_any_flipped_byte_truncation_or_missing_shard_is_found(shards, tmp_path, capsys, harm, said):
    copy = tmp_path / "shards"
    shutil.copytree(shards, copy)
    assert verify([str(copy)]) == 0
    (tar,) = copy.glob("*.tar")
    row = read_index(copy).table.slice(57, 1).to_pylist()[0]
    harm(tar, row)
    assert verify([str(copy)]) == 1
    error = capsys.readouterr().err.splitlines()
    assert error[0].startswith(f"{tar} ")
    assert said.format(key=row["key"]) in error[0]
    assert len(error) == 2
