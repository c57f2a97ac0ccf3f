"""Any pictures as a run sees them."""

import io
import os
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from artnet.config import build
from artnet.data.dataset import SplitData
from artnet.data.decode import resized_crop
from artnet.inference import pictures
from artnet.inference.pictures import View, find_pictures, load_pictures
from shards import images
from shards.errors import UserError
from shards.index import read_index
from shards.reader import Reader
from shards.tasks import TASKS

VIEW = View(256, 90, 48)


def test_pictures_from_shards_and_their_originals_are_seen_as_in_evaluation(shards, paintings, tmp_path):
    index = read_index(shards)
    reader = Reader(index)
    config = build({"task": list(TASKS), "data": {"size": 48}, "eval": {"size": 48}})
    data = SplitData(config, "val", index, reader)
    plan, expected = data.plan(0), []
    files = []
    for sample, row in enumerate(data.rows[:9].tolist()):
        packed = tmp_path / f"{sample}.jpg"
        packed.write_bytes(reader[row])
        original = paintings / "images" / index.table["path"][row].as_py()
        files += [packed, original]
        view = np.empty((48, 48, 3), np.uint8)
        scratch = np.empty(3 * data.most_pixels, np.uint8)
        resized_crop(data.pixels(sample, scratch), plan.boxes[sample], False, view)
        expected += [view, view]
    batches = list(load_pictures(files, [VIEW, View(256, 90, 33)], 4, 2))
    assert [len(batch.pictures) for batch in batches] == [4, 4, 4, 4, 2]
    assert [one.file for batch in batches for one in batch.pictures] == files
    seen = np.concatenate([batch.images[0].numpy() for batch in batches])
    assert np.array_equal(seen, np.stack(expected))
    assert batches[0].images[1].shape == (4, 33, 33, 3)


def test_what_cannot_be_read_is_named_and_batches_are_filled_with_what_can(tmp_path):
    files = [tmp_path / f"{number}.png" for number in range(9)]
    for number, file in enumerate(files):
        Image.new("RGB", (40, 60), (20 * number, 0, 0)).save(file)
    files[1].write_bytes(files[1].read_bytes()[:60])
    files[4].unlink()
    os.mkfifo(files[4])
    batches = list(load_pictures(files, [VIEW], 3, 4, thumbnail=30))
    assert [[one.file.name for one in batch.pictures] for batch in batches] == [
        ["0.png", "2.png", "3.png"],
        ["5.png", "6.png", "7.png"],
        ["8.png"],
    ]
    assert {one.file.name: one.reason for batch in batches for one in batch.failures} == {
        "1.png": "OSError: image file is truncated",
        "4.png": "it is not a regular file",
    }
    with Image.open(io.BytesIO(batches[2].pictures[0].thumbnail)) as thumbnail:
        assert thumbnail.size == (20, 30)
        assert abs(thumbnail.getpixel((10, 15))[0] - 160) < 4


def test_a_file_or_picture_that_is_too_large_is_refused_before_it_takes_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 1000)  # Pillow's own limit warns, and raises at twice as many
    Image.new("L", (40, 40)).save(tmp_path / "a.png")
    (tmp_path / "b.png").touch()
    os.truncate(tmp_path / "b.png", pictures.MAX_BYTES + 1)
    (batch,) = load_pictures([tmp_path / "a.png", tmp_path / "b.png"], [VIEW], 3, 2)
    assert [one.reason for one in batch.failures] == [
        "DecompressionBombError: 1,600 pixels, a decompression bomb if over 1,000",
        "it has over 1,000,000,000 bytes",
    ]


def test_folders_give_their_pictures_once_and_count_the_rest(tmp_path):
    for name in ("a.jpg", "b/c.PNG", "b/notes.txt", "d", ".hidden.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found, others = find_pictures([tmp_path, tmp_path / "d", tmp_path / "a.jpg", Path("-")])
    assert found == [tmp_path / "a.jpg", tmp_path / "b" / "c.PNG", tmp_path / "d", Path("-")]
    assert others == Counter({".txt": 1, "no suffix": 1})
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty holds no picture"):
        find_pictures([tmp_path, tmp_path / "empty"])


def test_threads_convert_colours_as_one_does_and_print_no_warning(tmp_path, recwarn):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace("sRGB".encode("utf-16-be"), "RGB ".encode("utf-16-be"))  # or it would be left as it is
    noise = np.random.default_rng(0).integers(0, 255, (24, 90, 70, 3), np.uint8)
    files = [tmp_path / f"{number:02}.tif" for number in range(len(noise))]
    for file, pixels in zip(files, noise, strict=True):
        Image.fromarray(pixels).save(file, icc_profile=profile)
    recwarn.clear()
    before = list(warnings.filters)
    (alone,), (many,) = (load_pictures(files, [VIEW], 24, threads) for threads in (1, 8))
    assert np.array_equal(alone.images[0].numpy(), many.images[0].numpy())
    assert not recwarn.list
    assert warnings.filters == before
