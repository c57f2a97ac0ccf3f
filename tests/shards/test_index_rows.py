"""An index with rows that nothing can be read by is refused with a sentence."""

import contextlib
import random

import pytest

from shards.errors import UserError
from shards.index import read_index, write_index

ROW = {"key": "a", "path": "a/a.jpg", "shard": "0.tar", "offset": 512, "length": 100, "width": 30, "height": 20,
       "sha256": "0" * 64, "phash": 1, "artist": 0, "style": 0, "genre": 0, "split_artist": "train",
       "split_style": "train", "split_genre": "train", "split_combined": "train"}  # fmt: skip
CLASSES = {"artist": ["x"], "style": ["y"], "genre": ["z"]}


@pytest.mark.parametrize(
    ("column", "value"),
    [("offset", None), ("offset", -1), ("length", -5), ("length", 2**40), ("width", 2**31 - 1), ("height", 0),
     ("height", None), ("style", None), ("shard", None)],
)  # fmt: skip
def test_a_row_that_cannot_be_read_by_is_named(tmp_path, column, value):
    write_index(tmp_path, [ROW, {**ROW, "key": "b", column: value}], CLASSES, {}, {})
    with pytest.raises(UserError, match=f"is broken .a row has .*{column}.*pack the shards again"):
        read_index(tmp_path)


def test_mutated_rows_are_read_or_refused_with_a_sentence(tmp_path):
    rng = random.Random(0)
    for _ in range(100):
        row = {**ROW, rng.choice(["offset", "length", "width", "height"]): rng.choice([None, -1, 0, 1, 2**31 - 1])}
        write_index(tmp_path, [row], CLASSES, {}, {})
        file = tmp_path / "index.parquet"
        if rng.random() < 0.5:
            content = bytearray(file.read_bytes())
            content[rng.randrange(len(content))] = rng.randrange(256)
            file.write_bytes(content)
        with contextlib.suppress(UserError):
            read_index(tmp_path)
