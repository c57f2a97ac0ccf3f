"""An index with rows that nothing can be read by is refused with a sentence."""

import os
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shards import index, verify
from shards.errors import UserError
from shards.index import read_index, write_index
from shards.reader import Reader

ROW = {"key": "a", "path": "a/a.jpg", "shard": "0.tar", "offset": 512, "length": 100, "width": 30, "height": 20,
       "sha256": "0" * 64, "phash": 1, "artist": 0, "style": 0, "genre": 0, "split_artist": "train",
       "split_style": "train", "split_genre": "train", "split_combined": "train"}  # fmt: skip
CLASSES = {"artist": ["x"], "style": ["y"], "genre": ["z"]}


@pytest.mark.parametrize(
    ("column", "value"),
    [("offset", None), ("offset", -1), ("length", -5), ("length", 2**40), ("width", 2**31 - 1), ("height", 0),
     ("height", None), ("style", None), ("shard", None), ("shard", "../0.tar"), ("shard", "/0.tar"), ("shard", ".."),
     ("style", 1), ("genre", -2)],
)  # fmt: skip
def test_a_row_that_cannot_be_read_by_is_named(tmp_path, column, value):
    write_index(tmp_path, [ROW, {**ROW, "key": "b", column: value}], CLASSES, {}, {})
    with pytest.raises(
        UserError, match=f"^{tmp_path}/index.parquet is broken .row 1 .b. has .*{column}.*pack the shards"
    ):
        read_index(tmp_path)


def test_an_image_with_more_pixels_than_packing_takes_is_refused(tmp_path):
    write_index(tmp_path, [{**ROW, "key": "bomb\x1b[2J", "width": 60_000, "height": 60_000}], CLASSES, {}, {})
    with pytest.raises(UserError, match=r"row 0 .bomb\?\[2J. has more than 250,000,000 pixels"):
        read_index(tmp_path)


@pytest.mark.parametrize(
    "about", [b"[" * 100_000, b'{"version": ' + b"9" * 5000 + b"}", b'{"version": NaN}', b"\xff", b"3"]
)
def test_hostile_metadata_is_refused_with_a_sentence(tmp_path, about):
    pq.write_table(pa.table({"key": ["a"]}).replace_schema_metadata({"artnet": about}), tmp_path / "index.parquet")
    with pytest.raises(UserError, match=f"^{tmp_path}/index.parquet is .*pack the shards again"):
        read_index(tmp_path)


def test_columns_that_would_fill_the_memory_are_refused(tmp_path, monkeypatch):
    write_index(tmp_path, [{**ROW, "path": "a" * 100_000}], CLASSES, {}, {})
    monkeypatch.setattr(index, "MAX_BYTES", 90_000)
    with pytest.raises(UserError, match=r"its columns have .* bytes, over 90,000"):
        read_index(tmp_path)


@pytest.mark.parametrize("kind", ["pipe", "zero", "sparse", "folder"])
def test_what_is_no_index_is_refused_without_being_read(tmp_path, kind):
    file = tmp_path / "index.parquet"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "zero":
        file.symlink_to("/dev/zero")
    elif kind == "sparse":
        file.touch()
        os.truncate(file, 2**31)
    else:
        file.mkdir()
    with pytest.raises(UserError, match=f"^{tmp_path}"):
        read_index(tmp_path)


def test_a_shard_that_is_a_pipe_is_not_waited_for(tmp_path):
    write_index(tmp_path, [ROW], CLASSES, {}, {})
    os.mkfifo(tmp_path / "0.tar")
    with pytest.raises(UserError, match=r"0\.tar cannot be read .*it is not a regular file"):
        Reader(read_index(tmp_path))


@pytest.mark.parametrize("checksums", [{}, {"0.tar": "0" * 64}])
def test_verify_says_what_is_wrong_with_hostile_shards(tmp_path, capsys, checksums):
    write_index(tmp_path, [{**ROW, "key": "\x1b[2J"}], CLASSES, checksums, {})
    (tmp_path / "0.tar").write_bytes(b"x" * 1000)
    assert verify.main([str(tmp_path)]) == 1
    assert "0.tar has changed since it was packed: 1 of 1 images are damaged, ?[2J" in capsys.readouterr().err
    (tmp_path / "0.tar").unlink()
    os.mkfifo(tmp_path / "0.tar")
    assert verify.main([str(tmp_path)]) == 1
    assert "0.tar cannot be read (it is not a regular file)" in capsys.readouterr().err


def test_mutated_rows_are_read_or_refused_with_a_sentence(tmp_path):
    rng, refused = random.Random(0), 0
    for _ in range(100):
        row = {**ROW, rng.choice(["offset", "length", "width", "height"]): rng.choice([None, -1, 0, 1, 2**31 - 1])}
        write_index(tmp_path, [row], CLASSES, {}, {})
        file = tmp_path / "index.parquet"
        if is_flipped := rng.random() < 0.5:
            content = bytearray(file.read_bytes())
            content[rng.randrange(len(content))] = rng.randrange(256)
            file.write_bytes(content)
        try:
            read_index(tmp_path)
        except UserError as error:
            refused += 1
            assert str(error).startswith(f"{file} is broken (") and str(error).endswith("; pack the shards again")
            assert is_flipped or "row 0 (a) has " in str(error)
    assert 20 < refused < 100
