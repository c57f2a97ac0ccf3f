"""shards/: splits leak nothing, packing loses nothing and says what it left out."""

import io
import json
import os
import random
import shutil
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import simplejpeg
import webdataset
from PIL import Image, ImageCms

from shards.errors import UserError
from shards.images import UnreadableImageError, to_jpeg, to_picture
from shards.index import read_index
from shards.labels import TASKS, Painting, read_labels
from shards.pack import pack
from shards.reader import DamagedError, Reader
from shards.splits import artgan_splits, separate_duplicates
from shards.tars import sample_key
from shards.verify import main as verify
from tests.conftest import WIKIART, needs_wikiart


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
    assert separate_duplicates(splits, ["a", "a", "b", "b", "c"]) == [
        {"artist": "", "style": ""},
        {"artist": "", "style": "test"},
        {"artist": "val", "style": ""},
        {"artist": "", "style": ""},
        {"artist": "train", "style": ""},
    ]


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


def test_odd_images_become_upright_rgb_and_small_clean_ones_stay_as_they_are():
    clean = _encode(Image.new("RGB", (80, 50), "red"), "JPEG")
    assert to_jpeg(clean, 64, 90) == (clean, 80, 50)
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind, options in (("RGB", {"progressive": True}), ("RGB", {"exif": exif}), ("L", {}), ("CMYK", {})):
        small = _encode(Image.new(kind, (50, 50)), "JPEG", **options)
        assert to_jpeg(small, 64, 90)[0] != small
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
    assert to_jpeg(_encode(Image.new("RGB", (300, 200)), "JPEG", exif=b"Exif\0\0nonsense"), 64, 90)[1:] == (96, 64)
    harmed = clean[:-40] + b"\xff\x00" * 19 + b"\xff\xd9"  # Pillow reads it, training's decoder would not
    with pytest.raises(ValueError, match="Corrupt"):
        simplejpeg.decode_jpeg(harmed)
    assert simplejpeg.decode_jpeg(to_jpeg(harmed, 64, 90)[0]).shape == (50, 80, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.new("RGB", (200, 300), "black")
    picture.paste("white", (0, 0, 100, 100))
    # Where the first row and column of the file are to be seen, as the EXIF standard has it.
    top, left = orientation in (1, 2, 5, 6), orientation in (1, 4, 5, 8)
    jpeg, width, height = to_jpeg(_encode(picture, "JPEG", exif=exif), 64, 90)
    assert (width, height) == ((64, 96) if orientation < 5 else (96, 64))
    with Image.open(io.BytesIO(jpeg)) as image:
        for x, y in ((4, 4), (width - 5, 4), (4, height - 5), (width - 5, height - 5)):
            white = (y == 4) == top and (x == 4) == left
            assert image.getpixel((x, y))[0] == pytest.approx(255 * white, abs=20)


@pytest.mark.parametrize("kind", ["JPEG", "BMP"])
def test_large_images_are_reduced_quickly_and_as_well_as_by_lanczos(paintings, kind):
    scan = Image.new("RGB", (1800, 1800))
    for number, file in enumerate(sorted((paintings / "images").rglob("*.jpg"))[:64]):
        with Image.open(file) as image:
            scan.paste(image.resize((225, 225)), (number % 8 * 225, number // 8 * 225))
    data = _encode(scan.crop((0, 0, 1765, 1677)), kind)  # no multiples of 8: reducing must shift nothing

    def slow() -> Image.Image:
        with Image.open(io.BytesIO(data)) as image:
            return image.resize((269, 256), Image.Resampling.LANCZOS)

    def ours() -> Image.Image:
        with Image.open(io.BytesIO(data)) as image:
            return to_picture(image, data, 256)

    error = np.mean((np.asarray(slow(), np.float64) - np.asarray(ours())) ** 2)
    assert 10 * np.log10(255**2 / error) > 45
    assert _cpu_seconds(ours) < 0.75 * _cpu_seconds(slow)


def _cpu_seconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


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
    assert _colour(_encode(red.convert("P"), "PNG", icc_profile=swapped)) == pytest.approx([0, 255, 0], **near)
    transparent = red.copy()
    transparent.putalpha(0)
    assert _colour(_encode(transparent, "PNG")) == pytest.approx([255, 255, 255], **near)
    assert _colour(_encode(Image.new("I;16", (60, 60), 0x8000), "PNG")) == pytest.approx([128, 128, 128], **near)
    assert _colour(_encode(red, "PNG", icc_profile=b"no profile")) == pytest.approx([255, 0, 0], **near)


def test_a_large_scan_is_packed_and_a_bomb_is_not():
    scan = _encode(Image.new("L", (15_000, 15_000), 80), "JPEG")
    assert to_jpeg(scan, 64, 90)[1:] == (64, 64)
    for side in (16_000, 60_000):
        bomb = bytearray(_encode(Image.new("L", (8, 8)), "PNG"))
        bomb[16:24] = side.to_bytes(4) * 2  # what it says its size is
        bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4)
        with pytest.raises(UnreadableImageError, match="bomb"):
            to_jpeg(bytes(bomb), 64, 90)


def test_a_folder_of_other_shards_is_refused_and_left_alone(paintings, shards):
    before = {path: path.stat().st_mtime_ns for path in shards.iterdir()}
    with pytest.raises(UserError, match="choose another --out"):
        pack(paintings / "images", paintings / "labels", shards, short_side=48)
    assert before == {path: path.stat().st_mtime_ns for path in shards.iterdir()}


def test_a_shard_cut_between_two_samples_is_refused(shards, tmp_path):
    copy = tmp_path / "shards"
    shutil.copytree(shards, copy)
    index = read_index(copy)
    # Where the last sample's tar header begins: a reader that streams takes it for the end.
    os.truncate(next(copy.glob("*.tar")), index.table["offset"][-1].as_py() - 512)
    with pytest.raises(UserError, match="cut short"):
        Reader(index)


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


def test_an_image_that_changed_is_never_read_even_where_a_decoder_would_take_it(shards, tmp_path):
    copy = tmp_path / "shards"
    shutil.copytree(shards, copy)
    row = read_index(copy).table.slice(57, 1).to_pylist()[0]
    _flip(copy / row["shard"], row["offset"] + 13)  # the resolution in the header
    reader = Reader(read_index(copy))
    assert reader[56]
    with pytest.raises(DamagedError):
        reader[57]


def test_a_label_that_changed_in_the_index_is_never_read(shards, tmp_path, capsys):
    copy = tmp_path / "shards"
    shutil.copytree(shards, copy)
    file = copy / "index.parquet"
    table = pq.read_table(file)
    rows = table.to_pylist()
    rows[57]["style"] += 1
    pq.write_table(pa.Table.from_pylist(rows, table.schema), file)
    assert verify([str(copy)]) == 2
    assert "it has changed since it was written" in capsys.readouterr().err
