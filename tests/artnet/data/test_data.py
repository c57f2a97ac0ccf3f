"""Data loading: views match Pillow, epochs are exact, and damage is detected, reported and bounded."""

import hashlib
import io
import os
import resource
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from artnet.config import build, unflatten
from artnet.data import decode as decode_module
from artnet.data.dataset import SplitData
from artnet.data.decode import decode, resized_crop
from artnet.data.epoch import eval_plan, random_boxes
from artnet.data.loader import load
from artnet.data.sampler import eval_batches, train_batches
from artnet.data.trivial_augment import IDENTITY
from artnet.rundir import RunDir
from shards import images as packed_images
from shards.errors import UserError
from shards.index import MAX_PIXELS, read_index, write_index
from shards.reader import Reader
from tests.artnet import runs
from tests.conftest import TINY


def split(shards: Path, name: str = "train", **changes: object) -> SplitData:
    """A split of packed demo paintings, at 33 pixels."""
    config = build(unflatten({**TINY, **{key.replace("__", "."): value for key, value in changes.items()}}))
    index = read_index(shards)
    return SplitData(config, name, index, Reader(index))


def images(data: SplitData, epoch: int = 0, threads: int = 2, batch_size: int = 16, start: int = 0) -> torch.Tensor:
    """All views of an epoch with a single rank, from batch `start`."""
    batches = train_batches(len(data), batch_size, 0, 1)[start:]
    return torch.cat([batch.images for batch in load(data, data.plan(epoch), batches, threads)])


def damage(shards: Path, copy: Path, rows: list[int]) -> None:
    """Copy shards and zero a part of the given rows' image data, as a failing disk does."""
    shutil.copytree(shards, copy)
    for painting in read_index(copy).table.take(rows).to_pylist():
        with (copy / painting["shard"]).open("r+b") as tar:
            tar.seek(painting["offset"] + painting["length"] // 2)
            tar.write(b"\0" * 40)


def psnr(got: np.ndarray, wanted: np.ndarray) -> float:
    """Peak signal-to-noise ratio of 8-bit pixels, dB."""
    return float(10 * np.log10(255**2 / max(1e-9, ((got.astype(float) - wanted) ** 2).mean())))


@pytest.mark.parametrize("size", [33, 64, 80, 160])  # shrinks much, shrinks, about keeps, enlarges
def test_crops_match_pillows_antialiased_resize_and_flips_mirror(shards, size):
    reader = Reader(read_index(shards))
    box = (7, 5, 7 + 81, 5 + 85)
    for row in range(0, 200, 10):
        with Image.open(io.BytesIO(reader[row])) as image:
            wanted = np.asarray(image.crop(box).resize((size, size), Image.Resampling.BILINEAR))
        crop, mirrored = np.empty((2, size, size, 3), np.uint8)
        pixels = decode(reader[row])
        resized_crop(pixels, np.array(box), False, crop)
        resized_crop(pixels, np.array(box), True, mirrored)
        assert psnr(crop, wanted) > 45
        assert np.array_equal(crop, mirrored[:, ::-1])


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc, which only Linux has")
def test_a_decoding_thread_starts_no_threads_of_its_own():
    started, found = torch.get_num_threads(), []

    def decoding() -> None:
        torch.set_num_threads(4)
        pixels, view = np.zeros((600, 620, 3), np.uint8), np.empty((224, 224, 3), np.uint8)
        before = set(Path("/proc/self/task").iterdir())
        resized_crop(pixels, np.array([10, 10, 590, 590]), True, view)
        found.extend(set(Path("/proc/self/task").iterdir()) - before)

    thread = threading.Thread(target=decoding)
    try:
        thread.start()
        thread.join()
    finally:
        torch.set_num_threads(started)
    assert not found


def test_an_incomplete_jpeg_is_refused(shards):
    jpeg = bytes(Reader(read_index(shards))[0])
    for broken in (jpeg[: len(jpeg) // 2], b"", b"\0" * 100):
        with pytest.raises(ValueError, match=r"\S"):
            decode(broken)


def test_random_crops_stay_inside_and_keep_area_and_shape():
    rng = np.random.default_rng(0)
    sizes = rng.integers(30, 600, (5000, 2))
    boxes = random_boxes(sizes, 0.25, rng)
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= sizes).all()
    usual = sizes.max(1) < 2 * sizes.min(1)
    area, aspect = width * height / sizes.prod(1), width / height
    assert area[usual].min() > 0.25 - 0.03
    assert area[usual].max() > 0.95
    assert 0.7 < aspect.min() < 0.8
    assert 1.25 < aspect.max() < 1.4
    assert random_boxes(np.array([[1000, 40]]), 0.9, rng).tolist() == [[473, 0, 526, 40]]


def test_evaluation_uses_the_centre_of_every_painting_once():
    plan = eval_plan(np.array([[90, 60], [60, 90]]), size=64)
    assert plan.order.tolist() == [0, 1]
    assert plan.boxes.tolist() == [[19, 4, 71, 56], [4, 19, 56, 71]]
    assert not plan.flips.any()
    assert set(plan.operations) == {IDENTITY}
    assert plan.size == 64


def test_class_balance_can_be_configured_for_one_task(shards):
    data = split(shards, data__sampler="class_balanced")
    shown = np.bincount(data.labels[data.plan(0).order, 0])
    assert np.ptp(shown[shown > 0]) <= 1
    with pytest.raises(UserError, match=r"data\.sampler"):
        split(shards, data__sampler="class_balanced", task=["artist", "style"])


def test_views_do_not_depend_on_threads_and_none_is_lost(shards):
    data = split(shards, augment__policy="trivial")
    one = images(data, threads=1)
    assert one.shape == (len(data) // 16 * 16, 33, 33, 3)
    assert one.dtype == torch.uint8
    for threads in (2, 5):
        assert torch.equal(one, images(data, threads=threads))
    assert torch.equal(one[48:], images(data, start=3))
    assert not torch.equal(one, images(data, epoch=1))


def test_pinned_batches_are_few_and_their_labels_are_pinned_too(shards, monkeypatch):
    data, pinned = split(shards), []
    batches = eval_batches(len(data), 8, 0, 1)
    labels = torch.cat([batch.labels for batch in load(data, data.plan(0), batches, 2)])

    def without_gpu(create):
        def tensor(*given, pin_memory, **options):
            pinned.append((create.__name__, pin_memory))
            return create(*given, **options)

        return tensor

    for create in (torch.empty, torch.full):
        monkeypatch.setattr(torch, create.__name__, without_gpu(create))
    loaded = load(data, data.plan(0), batches, 8, pinned_bytes=1)
    first = next(loaded)
    assert len(pinned) <= 2 * 3  # the batch and two in flight
    assert torch.equal(torch.cat([first.labels, *(batch.labels for batch in loaded)]), labels)
    assert set(pinned) == {("empty", True), ("full", True)}
    assert len(pinned) == 2 * len(batches)


def test_ranks_get_different_paintings_every_epoch(shards):
    data = split(shards)
    first, second = (data.plan(epoch).order[np.concatenate(train_batches(len(data), 16, 0, 2))] for epoch in range(2))
    assert 0.3 < len(set(first.tolist()) & set(second.tolist())) / len(first) < 0.7


def test_a_damaged_painting_is_replaced_and_reported_once(shards, tmp_path, capfd):
    sound = split(shards)
    row = int(sound.rows[5])
    damage(shards, tmp_path / "copy", [row])
    data = split(tmp_path / "copy")
    # A set large enough that one is below a thousandth: every painting many times, the damaged one once.
    others = np.delete(data.rows, 5)
    data.rows = np.concatenate([[row], np.tile(others, 1 + 1500 // len(others))])
    data.labels = np.zeros((len(data.rows), 1), np.int64)
    plan = data.plan(0)
    place = int(np.flatnonzero(plan.order == 0)[0])
    for _ in range(2):
        (batch,) = load(data, plan, [np.array([place - 1, place, place + 1])], 1)
    assert torch.equal(batch.images[1], batch.images[2])
    assert not torch.equal(batch.images[0], batch.images[1])
    key = read_index(shards).table["key"][row].as_py()
    assert data.damaged == {key}
    assert capfd.readouterr().err.count(key) == 1


def larger(jpeg: bytes) -> bytes:
    """The same with 60,000 x 60,000 pixels in its header."""
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + (60_000).to_bytes(2, "big") * 2 + jpeg[at + 4 :]


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (larger, "it has 60000 x 60000 pixels, not"),
        (lambda jpeg: b"\x89PNG\r\n\x1a\n" + jpeg[8:], "JPEG"),
        (lambda jpeg: bytes(len(jpeg)), "JPEG"),
    ],
)
def test_hostile_bytes_in_a_shard_are_refused_by_name_before_memory_is_taken(shards, tmp_path, capfd, harm, said):
    copy = tmp_path / "copy"
    shutil.copytree(shards, copy)
    index = read_index(copy)
    rows = index.table.to_pylist()
    row = rows[int(split(shards).rows[3])]
    with (copy / row["shard"]).open("r+b") as tar:
        tar.seek(row["offset"])
        hostile = harm(tar.read(row["length"]))
        tar.seek(row["offset"])
        tar.write(hostile)
    row["sha256"] = hashlib.sha256(hostile).hexdigest()
    write_index(copy, rows, index.classes, index.checksums, {})
    data = split(copy)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used_memory() + 2_000_000_000, limits[1]))
    try:
        assert data.pixels(3, np.empty(3 * data.most_pixels, np.uint8)) is None
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    error = capfd.readouterr().err
    assert f"{row['key']} of train is damaged and left out" in error and said in error and error.count("\n") == 1
    with pytest.raises(UserError, match="are damaged, more than"):
        data.check_damage()


def used_memory() -> int:
    """Bytes of address space of this process."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def test_an_image_that_packing_would_refuse_is_not_decoded(shards, monkeypatch):
    index = read_index(shards)
    jpeg = bytes(Reader(index)[0])
    monkeypatch.setattr(decode_module.simplejpeg, "decode_jpeg", lambda *_, **__: pytest.fail("it was decoded"))
    with pytest.raises(ValueError, match="it has 60000 x 60000 pixels, over 250,000,000"):
        decode(larger(jpeg), size=(60_000, 60_000))
    assert packed_images.Image.MAX_IMAGE_PIXELS == MAX_PIXELS


def test_evaluation_leaves_a_damaged_painting_out_and_counts_no_other_twice(shards, tmp_path, monkeypatch):
    damage(shards, tmp_path / "copy", [int(split(shards, "val").rows[2])])
    data = split(tmp_path / "copy", "val")
    monkeypatch.setattr("artnet.data.dataset.MAX_DAMAGED_SHARE", 0.5)
    labels = torch.cat([batch.labels for batch in load(data, data.plan(0), eval_batches(len(data), 8, 0, 1), 2)])
    expected = data.labels.copy()
    expected[2] = -1
    assert np.array_equal(labels.numpy(), expected)


def test_too_much_damage_stops_the_run(run_yaml, shards, tmp_path):
    damage(shards, tmp_path / "copy", [int(split(shards).rows[0])])
    config = run_yaml(data__shards=str(tmp_path / "copy"), train__epochs=2)
    ended = runs.train(config, tmp_path / "run")
    assert ended.returncode == 2
    assert "0.1 %" in ended.stderr.splitlines()[-1]
    assert len(RunDir(tmp_path / "run").run()["attempts"][0]["damaged"]) == 1


def test_damage_found_by_one_rank_stops_all_with_one_sentence(run_yaml, shards, tmp_path):
    data = split(shards)
    # The second rank's part of the first batch of 16.
    damage(shards, tmp_path / "copy", [int(data.rows[sample]) for sample in data.plan(0).order[8:16]])
    config = run_yaml(data__shards=str(tmp_path / "copy"), train__batch_size=16)
    ranks = runs.start(config, tmp_path / "run", 2)
    assert ranks.wait() == [2, 2]
    error, *others = {line for line in ranks.output().splitlines() if line.startswith("error: ")}
    assert "0.1 %" in error and not others
    assert "Traceback" not in ranks.output()
    assert RunDir(tmp_path / "run").run()["attempts"][0]["damaged"]
    assert '"step": 2' not in (tmp_path / "run" / "metrics.jsonl").read_text()  # at once, not at the epoch's end


def test_memory_stays_flat_over_epochs(shards):
    data = split(shards, augment__policy="trivial")

    def after(epochs: range) -> int:
        for epoch in epochs:
            images(data, epoch)
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    settled = after(range(10))
    assert after(range(10, 60)) - settled < 8 * 2**20
