"""The page's data: every number is what plain numpy finds in the files of the runs."""

import json
import math
from datetime import datetime

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats

from artnet.analysis.page.curves import POINTS, thinned
from artnet.analysis.page.digits import percent, rounded
from artnet.analysis.page.document import page_data
from artnet.analysis.results import read_sweep
from artnet.rundir import write_json

from .made import CLASSES, TESTED, make

PLAIN, SE = {"model.attention": "none"}, {"model.attention": "se"}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    return folder, make(folder, [(PLAIN, 1.0), (SE, 1.5)])


@pytest.fixture(scope="module")
def data(sweep):
    return page_data(read_sweep(sweep[0]))


def rows_of(run):
    """The labels and logits of the test paintings, sorted by key, read without the project."""
    rows = [row for row in pq.read_table(run.predictions_file).to_pylist() if row["split"] == "test"]
    rows.sort(key=lambda row: row["key"])
    return np.array([row["label"] for row in rows]), np.array([row["logits"] for row in rows], np.float64)


def top1(run):
    labels, logits = rows_of(run)
    return 100 * (logits.argmax(1) == labels).mean()


def near(number):
    return pytest.approx(number, rel=6e-4)


def test_below_the_title_stand_the_date_the_states_the_hours_of_all_devices_and_the_data(sweep, data):
    hours = sum(2 * run.result().seconds / 3600 for run in sweep[1])  # each run has trained on two devices
    date, *facts = data["facts"]
    assert datetime.strptime(date, "%d %B %Y, %H:%M UTC") == datetime.fromisoformat(data["made"][:16])
    assert facts == ["6 runs: 6 complete", f"{hours:.1f} hours of NVIDIA A100", f"data {sweep[1][0].result().data}"]


def test_classes_are_those_of_the_predictions(sweep, data):
    found = data["classes"]["style"]
    assert found["names"] == CLASSES
    for model, runs in enumerate((sweep[1][:3], sweep[1][3:])):
        labels = rows_of(runs[0])[0]
        answers = np.stack([rows_of(run)[1].argmax(1) for run in runs])
        assert found["support"] == [int((labels == number).sum()) for number in range(4)]
        for true in range(4):
            recalls = (answers[:, labels == true] == true).mean(1)
            half = stats.t.ppf(0.975, 2) * recalls.std(ddof=1) / math.sqrt(3)
            ends = (max(0, recalls.mean() - half), min(1, recalls.mean() + half))
            assert found["recall"][model][true] == [near(100 * value) for value in (recalls.mean(), *ends)]
            shares = [100 * (answers[:, labels == true] == answer).mean() for answer in range(4)]
            assert found["confusion"][model][true] == [near(share) for share in shares]
        counts = {
            (true, answer): ((answers == answer) & (labels == true)).sum() / 3
            for true in range(4) for answer in range(4) if true != answer
        }  # fmt: skip
        listed = found["commonest"][model]
        assert [one["count"] for one in listed] == [near(count) for count in sorted(counts.values())[::-1][:10]]
        for one in listed:
            assert one["count"] == near(counts[one["true"], one["predicted"]])
            assert one["share"] == near(100 * one["count"] / found["support"][one["true"]])
    first = found["commonest"][0][0]
    rows = [row for row in pq.read_table(sweep[1][0].predictions_file).to_pylist() if row["split"] == "test"]
    by_key = {row["key"]: row["label"] for row in rows}
    assert 0 < len(first["keys"]) <= 12
    assert {by_key[key] for key in first["keys"]} == {first["true"]}


def test_calibration_is_that_of_the_predictions(sweep, data):
    for model, runs in enumerate((sweep[1][:3], sweep[1][3:])):
        found = data["calibration"]["style"][model]
        errors = {"ece": [], "ece_after": []}
        for number, run in enumerate(runs, 3 * model):
            labels, logits = rows_of(run)
            for name, temperature in (("ece", 1), ("ece_after", 1.25 + number / 8)):
                powers = np.exp(logits / temperature)
                shares = powers / powers.sum(1, keepdims=True)
                confidence, right = shares.max(1), logits.argmax(1) == labels
                bins = [(confidence >= i / 15) & (confidence < (i + 1) / 15) for i in range(15)]
                gaps = [abs(right[one].sum() - confidence[one].sum()) for one in bins]
                errors[name].append(100 * sum(gaps) / len(labels))
        assert found["temperature"] == near(1.25 + (3 * model + 1) / 8)
        assert {name: found[name] for name in errors} == {name: near(np.mean(of)) for name, of in errors.items()}
        for name in ("bins", "after"):
            assert sum(count for _, _, count in found[name]) == 3 * TESTED
            right = sum(accuracy * count for _, accuracy, count in found[name])
            assert right / 3 / TESTED == near(
                100 * np.mean([(rows_of(run)[1].argmax(1) == rows_of(run)[0]) for run in runs])
            )


def test_cost_is_that_of_the_runs(sweep, data):
    plain, se = data["cost"]
    tops = [top1(run) for run in sweep[1][3:]]
    half = stats.t.ppf(0.975, 2) * np.std(tops, ddof=1) / math.sqrt(3)
    assert [se[name] for name in ("top1", "low", "high")] == [
        near(value) for value in (np.mean(tops), np.mean(tops) - half, np.mean(tops) + half)
    ]
    assert (se["parameters"], se["device"], se["model"]) == (2000, "NVIDIA A100", 1)
    assert se["gpu_hours"] == near(2 * (1800 + 4) / 3600)
    assert se["images_per_s"] == 204  # the median of 3 epochs, the mean of 3 runs
    assert se["pareto"] == {"parameters": True, "gpu_hours": True, "images_per_s": True}
    assert plain["pareto"] == {"parameters": True, "gpu_hours": True, "images_per_s": False}


def test_curves_and_runs_are_those_of_the_files(sweep, data):
    assert data["curves"][:2] == [
        {"run": 0, "model": 0, "metric": "val/style/top1", "x": [1, 2, 3], "y": [14.29, 28.57, 42.86]},
        {"run": 0, "model": 0, "metric": "train/loss", "x": [1, 2, 3], "y": [2, 1, 0.6667]},
    ]
    run, last = data["runs"][0], data["runs"][5]
    labels, logits = rows_of(sweep[1][0])
    assert run["scores"]["style"]["test"] == near(100 * (logits.argmax(1) == labels).mean())
    assert (run["device"], run["memory"], run["git"], run["hours"]) == (
        "2 x NVIDIA A100",
        "3.25 GiB",
        "0123456789ab",
        0.5,
    )
    assert last["differs"] == {"seed": 2, "model.attention": "se"}
    assert (last["model"], last["state"], last["folder"]) == (1, "complete", f"./{sweep[1][5].name}/")
    assert data["config"]["base"] == sweep[1][0].config_file.read_text()
    assert data["models"] == [
        {"label": "ResNet50-LSTM", "values": PLAIN}, {"label": "ResNet50-LSTM + SE", "values": SE},
    ]  # fmt: skip
    json.dumps(data, allow_nan=False)


def test_a_sweep_without_predictions_says_which_command_makes_them(tmp_path):
    runs = make(tmp_path, [(PLAIN, 1.0)])
    runs[1].predictions_file.unlink()
    runs[2].predictions_file.write_bytes(b"PAR1")
    write_json(runs[0].state_file, {"state": "complete"})
    data = page_data(read_sweep(tmp_path))
    assert data["missing"][0] == (
        f"1 complete run has no predictions.parquet; `python -m artnet.evaluate {runs[1].path}` makes it."
    )
    assert str(runs[2].predictions_file) in data["missing"][1]
    for run in runs:
        run.predictions_file.unlink(missing_ok=True)
    data = page_data(read_sweep(tmp_path))
    assert data["classes"] == data["calibration"] == {}
    assert "3 complete runs have no predictions.parquet" in data["missing"][0]
    assert data["missing"][-1] in data["method"]


def test_runs_without_a_result_keep_reasons_and_logs(tmp_path):
    runs = make(tmp_path, [(PLAIN, 1.0), (SE, 1.0)])
    for run in runs[:2]:
        run.result_file.unlink()
        write_json(run.state_file, {"state": "out_of_memory", "reason": "lower train.batch_size"})
    for attempt, text in (("2", "old"), ("10", "line\n" * 50 + "\x1b[31mred\n")):
        folder = runs[0].attempts / attempt
        folder.mkdir(parents=True)
        (folder / "stderr").write_text(text)
    data = page_data(read_sweep(tmp_path))
    assert data["reasons"] == [{"reason": "out of memory: lower train.batch_size", "count": 2, "runs": [0, 1]}]
    assert data["runs"][0]["scores"] == {}
    assert data["runs"][0]["log"].splitlines() == [*["line"] * 11, "?[31mred"]


def test_curves_are_thinned_and_numbers_have_four_digits():
    assert thinned(list(range(POINTS))) == list(range(POINTS))
    long = thinned(list(range(5000)))
    assert (len(long), long[0], long[-1], max(np.diff(long)) - min(np.diff(long))) == (POINTS, 0, 4999, 1)
    assert [rounded(x) for x in (12.34567, 123456.0, 3.0, math.nan, None)] == [12.35, 123500, 3, None, None]
    assert percent(0.123456) == 12.35
