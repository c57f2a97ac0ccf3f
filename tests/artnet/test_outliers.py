"""The command: what it writes, and the sentences with which it refuses."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics.pairwise import cosine_distances

from artnet import checkpoint, outliers
from artnet import predictions as stored
from artnet.config import build, unflatten
from artnet.data.dataset import all_splits
from artnet.data.loader import load
from artnet.models import build_model
from artnet.predictions import Origin, Predicted, Protocol, RunPredictions
from artnet.result import Result, Scores, TaskResult
from artnet.rundir import RunDir, write_json
from shards.index import Index, read_index

SIZE = 33


def complete_run(path: Path, shards: Path, seed: int = 0, weights: bool = False, **classes: list[str]) -> RunDir:
    """A complete run of the task artist with random predictions, and with random weights."""
    index, run = read_index(shards), RunDir(path)
    config = build(unflatten({
        "task": "artist", "seed": seed, "data.shards": str(shards), "data.size": SIZE, "data.threads": 1,
        "model.backbone": "resnet18", "eval.enlarge": 1, "train.batch_size": 16,
    }))  # fmt: skip
    names = classes.get("names", index.classes["artist"])
    run.write_config(config)
    scores = Scores(top1=0.5, top5=0.9, macro_f1=0.4, nll=1.0, ece=0.1, recall=[], n=9)
    task = TaskResult(classes=len(names), majority=0.2, val=scores, test=scores)
    result = Result(
        signature=config.signature, data=index.fingerprint, best_epoch=1, epochs=1, steps=1, parameters=1, seconds=1,
        tasks={"artist": task},
    )  # fmt: skip
    write_json(run.result_file, result.model_dump(mode="json"))
    origin = Origin(
        signature=config.signature, data=index.fingerprint, epoch=1, classes={"artist": names},
        protocol=Protocol(size=SIZE, flip=True, logit_adjustment=0, precision="fp32"),
        log_priors={"artist": [0.0] * len(names)}, temperatures={"artist": 1.5},
    )  # fmt: skip
    splits = {split: {"artist": predicted(index, split, len(names), seed)} for split in ("val", "test")}
    stored.write(run.predictions_file, RunPredictions(origin, splits))
    if weights:
        torch.manual_seed(seed)
        network = build_model(**config.model.model_dump(), classes={"artist": len(names)})
        run.checkpoints.mkdir()
        checkpoint.save(run.checkpoints / "best.pt", {"signature": config.signature, "model": network.state_dict()})
    return run


def predicted(index: Index, split: str, classes: int, seed: int) -> Predicted:
    rows, labels = index.select(split, ("artist",))
    logits = np.random.default_rng(seed).normal(size=(len(rows), classes)).astype(np.float32)
    logits[np.arange(len(rows)), labels[:, 0]] += 2
    keys = index.table["key"].to_numpy(zero_copy_only=False)[rows].astype(str)
    return Predicted(keys, np.arange(len(rows)), labels[:, 0], logits)


def lines_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "outliers-artist.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_is_asked_for_val_and_test_and_distances_are_those_of_its_features(shards, tmp_path, capsys, one_thread):
    run = complete_run(tmp_path / "run", shards, weights=True)
    assert outliers.main([str(run.path)]) == 0
    lines, index = lines_of(run.path), read_index(shards)
    asked = {split: index.select(split, ("artist",)) for split in ("val", "test")}
    keys = index.table["key"].to_numpy(zero_copy_only=False).astype(str)
    assert sorted(line["key"] for line in lines) == sorted(keys[np.concatenate([rows for rows, _ in asked.values()])])

    network = build_model(**run.config().model.model_dump(), classes={"artist": len(index.classes["artist"])})
    network.load_state_dict(torch.load(run.checkpoints / "best.pt", weights_only=True)["model"])
    network.eval()
    features: dict[str, np.ndarray] = {}
    for split, data in all_splits(run.config(), index).items():
        if split != "train":
            (batch,) = load(data, data.plan(0), [np.arange(len(data))], 1)
            pixels = batch.images.permute(0, 3, 1, 2) / 255.0 - torch.tensor([0.485, 0.456, 0.406])[:, None, None]
            pixels = pixels / torch.tensor([0.229, 0.224, 0.225])[:, None, None]
            with torch.inference_mode():
                both = (network.features(pixels) + network.features(pixels.flip(3))) / 2
            features |= zip(keys[data.rows].tolist(), both.numpy(), strict=True)
    line = next(line for line in lines if line["nearest_own"])
    given = {one["key"]: one["given"] for one in lines}
    own = [key for key in features if given[key] == line["given"] and key != line["key"]]
    distances = cosine_distances([features[line["key"]]], [features[key] for key in own])[0]
    assert float(line["own_distance"]) == pytest.approx(np.sort(distances)[:10].mean(), rel=1e-3)
    assert line["nearest_own"].split()[0] == own[int(distances.argmin())]

    with Image.open(run.path / "outliers-artist.png") as sheet:
        assert sheet.format == "PNG" and sheet.height > 30 * 100
    said = capsys.readouterr().out
    assert "worth a look" in said and "misattributed" not in said


def test_without_weights_the_list_goes_by_probabilities_and_without_shards_it_has_no_pictures(shards, tmp_path, capsys):
    run = complete_run(tmp_path / "run", shards)
    assert outliers.main([str(run.path)]) == 0
    assert "by probabilities alone, without the embedding: " in capsys.readouterr().err
    assert (run.path / "outliers-artist.png").exists() and not lines_of(run.path)[0]["own_distance"]
    alone = complete_run(tmp_path / "alone", shards)
    config = alone.config()
    alone.write_config(config.with_shards(str(tmp_path / "gone")))
    assert outliers.main([str(alone.path)]) == 0
    assert "gone cannot be found; give --shards SHARDS" in capsys.readouterr().out
    assert not (alone.path / "outliers-artist.png").exists()
    assert lines_of(alone.path) == lines_of(run.path)


def test_a_class_file_that_differs_and_predictions_of_another_run_are_refused(shards, tmp_path, capsys):
    names = read_index(shards).classes["artist"]
    run = complete_run(tmp_path / "run", shards, names=names[::-1])
    assert outliers.main([str(run.path)]) == 2
    assert f"{shards} has other classes of artist than {run.path}" in capsys.readouterr().err
    other = stored.read(run.predictions_file)
    stored.write(run.predictions_file, replace(other, origin=other.origin.model_copy(update={"signature": "f" * 64})))
    assert outliers.main([str(run.path)]) == 2
    assert "is of another run than its folder" in capsys.readouterr().err
    run.result_file.unlink()
    assert outliers.main([str(run.path)]) == 2
    assert "is not complete (result.json is missing)" in capsys.readouterr().err
    assert not (run.path / "outliers-artist.csv").exists()


def test_folds_write_a_grid_that_any_door_takes(shards, tmp_path, capsys):
    run = complete_run(tmp_path / "mine", shards)
    assert outliers.main([str(run.path), "--folds", "5"]) == 0
    said = capsys.readouterr().out
    assert all(f"launch/{door}.py --grid {run.path}/folds.yaml" in said for door in ("slurm", "local", "tune"))
    assert "artnet.outliers runs/mine-folds" in said
    assert outliers.main([str(run.path), "--folds", "1"]) == 2
