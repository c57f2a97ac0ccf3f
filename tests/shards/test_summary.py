"""shards/summary: the picture shows what is in the index, and is drawn again only when that has changed."""

import io
import shutil
from collections import Counter

import numpy as np
from PIL import Image, ImageOps

from shards.index import read_index
from shards.pack import pack
from shards.reader import Reader
from shards.summary import THUMBNAIL, class_counts, draw_summary, sample_rows
from shards.tasks import TASKS


def test_the_picture_is_drawn_again_only_for_another_index(paintings, shards, in_process, tmp_path):
    out = tmp_path / "shards"
    shutil.copytree(shards, out)
    file = out / "summary.png"
    before, drawn = file.read_bytes(), file.stat().st_mtime_ns
    pack(paintings / "images", paintings / "labels", out)
    assert file.stat().st_mtime_ns == drawn
    pack(paintings / "images", paintings / "labels", out, seed=1)
    assert file.read_bytes() != before
    file.write_bytes(b"no picture")
    pack(paintings / "images", paintings / "labels", out)
    assert file.read_bytes() == before


def test_the_picture_shows_the_packed_paintings(shards):
    index = read_index(shards)
    with Image.open(io.BytesIO(draw_summary(index))) as image:
        shown = np.asarray(image.convert("RGB").crop((8, 8, 8 + THUMBNAIL, 8 + THUMBNAIL)), int)
    off = []
    for data in Reader(index):
        with Image.open(io.BytesIO(data)) as image:
            off.append(np.abs(np.asarray(ImageOps.fit(image, (THUMBNAIL, THUMBNAIL)), int) - shown).mean())
    assert [row for row, mean in enumerate(off) if mean < 2] == sample_rows(index)[:1]


def test_counts_of_classes_are_those_of_the_index(paintings, shards, tmp_path):
    shutil.copytree(shards, tmp_path / "shards")
    report = pack(paintings / "images", paintings / "labels", tmp_path / "shards")
    index = read_index(shards)
    for task in TASKS:
        counted = Counter(index.table[task].to_pylist())
        assert report["classes"][task] == {name: counted[label] for label, name in enumerate(index.classes[task])}
        counts = class_counts(index, task)
        assert sum(counts.values()).tolist() == list(report["classes"][task].values())
        assert {split: counts[split].sum() for split in ("train", "val", "test")} == report["splits"][task]
