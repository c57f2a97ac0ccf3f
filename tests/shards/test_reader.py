"""shards/tars, index, reader, verify: any reader can stream the shards, and no changed byte is read."""

import hashlib
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image

from shards.errors import UserError
from shards.index import VERSION, read_index
from shards.reader import DamagedError, Reader
from shards.tars import sample_key
from shards.tasks import TASKS
from shards.verify import main as verify


def _flip(tar: Path, at: int) -> None:
    with tar.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


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


def _by_datasets(urls: list[str], scratch: Path) -> list[dict[str, Any]]:
    datasets = pytest.importorskip("datasets", reason="datasets is in the extra dev")
    streamed = datasets.load_dataset("webdataset", data_files=urls, split="train", cache_dir=scratch)
    return [{**row, "jpg": row["jpg"]["bytes"]} for row in streamed.cast_column("jpg", datasets.Image(decode=False))]


def _by_webdataset(urls: list[str], scratch: Path) -> list[dict[str, Any]]:
    return [{**row, "json": json.loads(row["json"])} for row in webdataset.WebDataset(urls, shardshuffle=False)]


def _by_litdata(urls: list[str], scratch: Path) -> list[dict[str, Any]]:
    litdata = pytest.importorskip("litdata", reason="litdata is in the extra dev")
    return [{**row, "json": json.loads(row["json"])} for url in urls for row in litdata.iter_webdataset_tar(url)]


@pytest.mark.parametrize("read", [_by_datasets, _by_webdataset, _by_litdata])
def test_other_readers_find_the_same_images_labels_and_hashes(shards, tmp_path, read):
    table = read_index(shards).table.to_pylist()
    assert max(row["phash"] for row in table) >= 2**63  # Arrow has no such integer
    expected = [(row["key"], row["sha256"], f"{row['phash']:016x}", row["style"]) for row in table]
    found = [
        (row["__key__"], hashlib.sha256(row["jpg"]).hexdigest(), row["json"]["phash"], row["json"]["style"])
        for row in read([str(path) for path in sorted(shards.glob("*.tar"))], tmp_path)
    ]
    assert found == expected


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


def test_a_shard_cut_between_two_samples_is_refused(shards, tmp_path):
    copy = tmp_path / "shards"
    shutil.copytree(shards, copy)
    index = read_index(copy)
    # At the tar header of the last sample, a streaming reader takes the cut for the end of the file.
    os.truncate(next(copy.glob("*.tar")), index.table["offset"][-1].as_py() - 512)
    with pytest.raises(UserError, match="cut short"):
        Reader(index)


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


def test_a_changed_image_is_never_read_even_if_a_decoder_would_accept_it(shards, tmp_path):
    copy = tmp_path / "shards"
    shutil.copytree(shards, copy)
    row = read_index(copy).table.slice(57, 1).to_pylist()[0]
    _flip(copy / row["shard"], row["offset"] + 13)  # the resolution in the header
    reader = Reader(read_index(copy))
    assert reader[56]
    with pytest.raises(DamagedError):
        reader[57]


def test_a_changed_label_in_the_index_is_never_read(shards, tmp_path, capsys):
    copy = tmp_path / "shards"
    shutil.copytree(shards, copy)
    file = copy / "index.parquet"
    table = pq.read_table(file)
    rows = table.to_pylist()
    rows[57]["style"] += 1
    pq.write_table(pa.Table.from_pylist(rows, table.schema), file)
    assert verify([str(copy)]) == 2
    assert "it has changed since it was written" in capsys.readouterr().err


def test_an_index_of_a_newer_version_says_so(shards, tmp_path):
    table = pq.read_table(shards / "index.parquet")
    about = json.loads(table.schema.metadata[b"artnet"])
    newer = table.replace_schema_metadata({"artnet": json.dumps({**about, "version": VERSION + 1})})
    pq.write_table(newer, tmp_path / "index.parquet")
    with pytest.raises(UserError, match=r"index\.parquet was made by a newer artnet .* update artnet"):
        read_index(tmp_path)
