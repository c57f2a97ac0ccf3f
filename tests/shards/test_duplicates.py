"""shards/duplicates: near-duplicates are found and share a role, different paintings are not grouped."""

import io
import random
import shutil
from collections.abc import Iterable

import numpy as np
import pytest
from PIL import Image

from shards.duplicates import MAX_BITS, duplicate_groups, near_pairs, perceptual_hash
from shards.index import read_index
from shards.pack import pack
from shards.pictures import find_images
from shards.reader import Reader
from tests.conftest import WIKIART, needs_wikiart


def encoded_again(data: bytes, side: int = 150, quality: int = 60) -> bytes:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        image.convert("RGB").resize((side, side)).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def groups(images: list[bytes]) -> list[str]:
    return duplicate_groups(np.array([perceptual_hash(data) for data in images], np.uint64))


@needs_wikiart
def test_near_duplicates_are_found_and_different_real_paintings_are_not_grouped():
    files = random.Random(0).sample(find_images(WIKIART / "images"), 300)
    images = [(WIKIART / "images" / file).read_bytes() for file in files]
    found = groups([*images, *map(encoded_again, images)])
    assert len(set(found[:300])) == 300
    assert sum(one == other for one, other in zip(found[:300], found[300:], strict=True)) >= 294


def test_blank_pages_are_near_duplicates_only_if_they_are_identical():
    light = np.linspace(0, 6, 64)[:, None] + np.zeros(64)  # all lit from the same side
    images = []
    for grey in (245, 200, 128, 60, 5):
        buffer = io.BytesIO()
        Image.fromarray((grey + light).round().astype(np.uint8)).save(buffer, "JPEG", quality=95)
        images.append(buffer.getvalue())
    assert len(set(groups(images))) == 5
    assert len(set(groups([images[0]] * 2))) == 1


def _flipped(value: int, bits: Iterable[int]) -> int:
    for bit in bits:
        value ^= 1 << bit
    return value


def test_the_search_by_parts_finds_every_pair():
    rng = random.Random(0)
    hashes = [rng.getrandbits(64) for _ in range(300)]
    hashes += [_flipped(value, rng.sample(range(64), MAX_BITS + n % 2)) for n, value in enumerate(hashes)]
    array = np.array(hashes, np.uint64)
    near = [(i, j) for j in range(600) for i in range(j) if (hashes[i] ^ hashes[j]).bit_count() <= MAX_BITS]
    assert sorted(map(tuple, near_pairs(array).tolist())) == sorted(near)
    assert len(near) == 150


def test_a_chain_of_near_images_does_not_become_one_group():
    chain = [_flipped(0, range(MAX_BITS * step)) for step in range(8)]
    found = duplicate_groups(np.array(chain, np.uint64))
    for name in set(found):
        members = [value for value, group in zip(chain, found, strict=True) if group == name]
        assert any(all((value ^ centre).bit_count() <= MAX_BITS for value in members) for centre in members)
    assert duplicate_groups(np.array(chain[::-1], np.uint64)) == found[::-1]


@pytest.mark.parametrize("protocol", ["artgan", "study"])
def test_near_duplicates_share_a_role_and_the_index_has_their_hashes(paintings, in_process, tmp_path, protocol):
    shutil.copytree(paintings / "images", tmp_path / "images")
    files = find_images(tmp_path / "images")
    pairs = {tuple(sorted(pair)) for pair in zip(files[:60:2], files[199:139:-2], strict=True)}
    for original, duplicate in pairs:
        data = (tmp_path / "images" / original).read_bytes()
        (tmp_path / "images" / duplicate).write_bytes(encoded_again(data))
    report = pack(tmp_path / "images", paintings / "labels", tmp_path / "out", protocol=protocol)
    assert {tuple(group) for group in report["near_duplicates"]} >= pairs
    index = read_index(tmp_path / "out")
    rows = {row["path"]: row for row in index.table.to_pylist()}
    roles = [{rows[path][f"split_{task}"] for path in pair for task in ("artist", "style", "genre")} for pair in pairs]
    assert max(len(found - {""}) for found in roles) == 1
    assert [perceptual_hash(data) for data in Reader(index)] == index.table["phash"].to_pylist()
