"""`artnet.compare`: figures equal those of the runs' files, and wrong input ends in one sentence."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar

from artnet import predictions
from artnet.analysis.comparison.models import read_models
from artnet.compare import main
from artnet.config import build, unflatten
from artnet.result import Result, Scores, TaskResult
from artnet.rundir import RunDir, write_json

ROOT = Path(__file__).resolve().parents[2]
N, CLASSES = 200, 4
NAMES = {"none": "ResNet50", "se": "ResNet50 + SE", "eca": "ResNet50 + ECA"}


def make_run(folder: Path, attention: str, seed: int, right: float, parquet: bool = True, **changes: Any) -> RunDir:
    """A complete run that has a share of its test paintings right."""
    config = build(unflatten({"task": "style", "model.attention": attention, "seed": seed}))
    rng = np.random.default_rng([seed, *attention.encode()])
    labels = np.arange(N) % CLASSES
    correct = rng.permutation(N) < right * N
    logits = np.eye(CLASSES)[np.where(correct, labels, (labels + 1) % CLASSES)].astype(np.float32)
    run = RunDir(folder / config.name)
    run.path.mkdir(parents=True)
    run.write_config(config)
    scores = Scores(top1=correct.mean(), top5=1, macro_f1=0.5, nll=1, ece=0, recall=[0.5] * CLASSES, n=N)
    task = TaskResult(classes=changes.get("classes", CLASSES), majority=0.25, val=scores, test=scores)
    result = Result(
        signature=config.signature, data=changes.get("data", "d0"), best_epoch=1, epochs=1, steps=1, parameters=1,
        seconds=1, tasks={"style": task},
    )  # fmt: skip
    write_json(run.result_file, result.model_dump(mode="json"))
    if parquet:
        origin = predictions.Origin(
            signature=config.signature, data=changes.get("data", "d0"), epoch=1, log_priors={}, temperatures={},
            protocol=predictions.Protocol(size=224, flip=True, logit_adjustment=0, precision="float32"),
            classes={"style": changes.get("names", list("abcd"))},
        )  # fmt: skip
        keys = np.array([f"painting-{number}" for number in range(N)])
        one = predictions.Predicted(keys, np.arange(N), labels, logits)
        predictions.write(run.predictions_file, predictions.RunPredictions(origin, {"test": {"style": one}}))
    return run


def make_sweep(folder: Path, seeds: int, attentions: Sequence[str] = tuple(NAMES), **changes: Any) -> list[RunDir]:
    runs, planned = [], []
    for number, attention in enumerate(attentions):
        for seed in range(seeds):
            run = make_run(folder, attention, seed, 0.5 + 0.1 * number + 0.02 * seed, **changes)
            values = {"model.attention": attention, "seed": seed}
            planned.append({"name": run.name, "signature": run.config().signature, "values": values})
            runs.append(run)
    write_json(folder / "manifest.json", {"name": folder.name, "runs": planned})
    return runs


def compared(*arguments: object, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main([*map(str, arguments), "--json", "-"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def refused(*arguments: object, capsys: pytest.CaptureFixture[str]) -> str:
    assert main([*map(str, arguments)]) == 2
    said = capsys.readouterr()
    (sentence,) = (line for line in said.err.splitlines() if not line.startswith("comparing models"))  # takes long
    assert said.out == ""
    return sentence


def test_two_runs_are_compared_on_their_paintings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [make_run(tmp_path, "none", 0, 0.5), make_run(tmp_path, "se", 0, 0.7)]
    found = compared(*(run.path for run in runs), capsys=capsys)["tasks"]["style"]
    (family,) = found["families"]
    (one,) = family["differences"]
    first, second = (predictions.read(run.predictions_file).splits["test"]["style"].correct for run in reversed(runs))
    oracle = mcnemar([[0, (first & ~second).sum()], [(second & ~first).sum(), 0]], exact=True)
    assert (one["first"], one["second"], one["mean"]) == (runs[1].name, runs[0].name, pytest.approx(20))
    assert (family["method"], one["p_value"]) == ("McNemar", pytest.approx(oracle.pvalue))
    assert found["notes"] == ["Not compared over seeds: that needs 3 seeds of each model, and there are 1."]


def test_a_sweep_has_every_family_that_its_seeds_allow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_sweep(tmp_path / "three", 3)
    found = compared(tmp_path / "three", capsys=capsys)["tasks"]["style"]
    assert [(family["error"], family["comparisons"]) for family in found["families"]] == [
        ("seeds", 2),
        ("paintings", 2),
    ]
    assert [one["mean"] for one in found["families"][0]["differences"]] == pytest.approx([10, 20])
    make_sweep(tmp_path / "five", 5)
    found = compared(tmp_path / "five", "--pairs", capsys=capsys)["tasks"]["style"]
    assert [family["method"] for family in found["families"]] == ["Tukey", "paired bootstrap", "crossed bootstrap"]
    models = ["--models", NAMES["eca"], NAMES["se"]]
    found = compared(tmp_path / "five", *models, "--baseline", NAMES["se"], "--task", "style", capsys=capsys)
    pairs = {(one["first"], one["second"]) for of in found["tasks"]["style"]["families"] for one in of["differences"]}
    assert pairs == {(NAMES["eca"], NAMES["se"])}
    models, _ = read_models([tmp_path / "three", tmp_path / "five"])
    assert [model.label for model in models][2:4] == ["three: ResNet50 + ECA", "five: ResNet50"]


def test_others_are_compared_with_the_baseline_of_the_grid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_sweep(tmp_path / "sweep", 3)
    manifest = json.loads((tmp_path / "sweep" / "manifest.json").read_text())
    write_json(tmp_path / "sweep" / "manifest.json", {**manifest, "baseline": {"model.attention": "se"}})
    assert compared(tmp_path / "sweep", capsys=capsys)["tasks"]["style"]["baseline"] == NAMES["se"]


def test_the_text_says_what_is_compared_with_what(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    runs = make_sweep(tmp_path / "sweep", 3)
    runs[-1].result_file.unlink()
    file = tmp_path / "found.json"
    assert main([str(tmp_path / "sweep"), "--json", str(file)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "ResNet50 + SE +10.00" in text and "Dunnett, 3 seeds" not in text  # two models have three seeds
    for words in (
        "minus ResNet50", "Student's t, 3 seeds", "1 comparison.", "paired bootstrap of 10,000 draws, a family of 2",
        "Not compared over seeds, with fewer than 3 seeds: ResNet50 + ECA.",
        "of 9 runs, 1 run is not complete and left out",
    ):  # fmt: skip
        assert words in text
    assert json.loads(file.read_text())["tasks"]["style"]["baseline"] == "ResNet50"


def test_runs_without_predictions_are_compared_over_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = make_sweep(tmp_path / "sweep", 3, parquet=False)
    found = compared(tmp_path / "sweep", capsys=capsys)["tasks"]["style"]
    assert [family["method"] for family in found["families"]] == ["Dunnett"]
    assert "9 of 9 runs have no predictions" in found["notes"][0]
    assert f"`python -m artnet.evaluate {runs[0].path}`" in found["notes"][0]
    # A sweep of the first version.
    assert main([str(ROOT / "tests/data/version1/runs/tiny")]) == 0


def test_other_shards_are_no_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [make_run(tmp_path, "none", 0, 0.5), make_run(tmp_path, "se", 0, 0.7, data="d1")]
    found = compared(*(run.path for run in runs), capsys=capsys)["tasks"]["style"]
    assert found["families"] == [] and "different shards" in found["notes"][1]


def test_predictions_of_other_paintings_or_runs_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = make_sweep(tmp_path, 1, ["none", "se"])
    whole = predictions.read(second.predictions_file)
    one = whole.splits["test"]["style"]
    fewer = predictions.Predicted(one.keys[1:], one.groups[1:], one.labels[1:], one.logits[1:])
    for splits, origin, said in (
        ({"test": {"style": replace(one, keys=np.char.add("b", one.keys))}}, {}, "other test paintings or labels"),
        ({"test": {"style": replace(one, labels=(one.labels + 1) % CLASSES)}}, {}, "other test paintings or labels"),
        ({"test": {"style": fewer}}, {}, "other test paintings or labels"),
        ({"val": {"style": one}}, {}, "has no test paintings of style"),
        (whole.splits, {"data": "d1"}, "is of other shards than result.json"),
        (whole.splits, {"signature": "f" * 64}, "is of another run than its folder"),
    ):
        changed = predictions.RunPredictions(whole.origin.model_copy(update=origin), splits)
        predictions.write(second.predictions_file, changed)
        sentence = refused(first.path, second.path, capsys=capsys)
        assert said in sentence and "`python -m artnet.evaluate " in sentence


def test_wrong_input_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = tmp_path / "sweep"
    first, second = make_sweep(sweep, 1, ["none", "se"])
    assert "did you mean 'ResNet50 + SE'" in refused(sweep, "--baseline", "ResNet50+SE", capsys=capsys)
    assert "no run has a result on 'artist'; the tasks are style" in refused(sweep, "--task", "artist", capsys=capsys)
    assert "only one model" in refused(first.path, first.path, capsys=capsys)
    assert "neither a run nor a sweep" in refused(first.path, tmp_path, capsys=capsys)
    fewer = make_run(tmp_path / "a", "se", 0, 0.5, classes=3)
    assert "other classes of style (4 and 3)" in refused(first.path, fewer.path, capsys=capsys)
    renamed = make_run(tmp_path / "b", "se", 0, 0.5, names=list("abce"))
    assert "other classes of style (by name)" in refused(first.path, renamed.path, capsys=capsys)
    second.predictions_file.write_bytes(b"")
    assert "is broken" in refused(sweep, capsys=capsys)
    content = json.loads(second.result_file.read_text())
    write_json(second.result_file, content | {"format": 99})
    assert "made by a newer artnet" in refused(first.path, second.path, capsys=capsys)
    second.result_file.unlink()
    write_json(second.state_file, {"state": "out_of_memory"})
    assert "is not complete (out of memory)" in refused(first.path, second.path, capsys=capsys)
    first.result_file.unlink()
    assert "no run of" in refused(sweep, capsys=capsys)
