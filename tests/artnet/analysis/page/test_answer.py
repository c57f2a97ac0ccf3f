"""Answer, differences and factors: recomputed from the predictions with scipy's tests and plain means."""

import itertools

import numpy as np
import pytest
from scipy import stats

from artnet.analysis.page.document import page_data
from artnet.analysis.results import read_sweep
from artnet.rundir import read_json, write_json

from .made import make
from .test_document import near, top1

SIX = [("none", "none", 1), ("none", "se", 1.05), ("none", "eca", 1.1), ("lstm", "none", 1.2), ("lstm", "se", 2),
       ("lstm", "cbam", 2.05)]  # fmt: skip
PUBLISHED = [
    {"when": {"model.recurrence": "none", "model.attention": "none"}, "style": 58.4},
    {"when": {"model.recurrence": "lstm", "model.attention": "se"}, "style": 64.3},
]


def models(*which):
    return [({"model.recurrence": recurrence, "model.attention": of}, skill) for recurrence, of, skill in which]


@pytest.fixture(scope="module")
def ablation(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablation")
    runs = make(folder, models(*SIX), reference=PUBLISHED)
    return page_data(read_sweep(folder)), np.array([top1(run) for run in runs]).reshape(6, 3)


def test_differences_are_dunnetts_of_the_predictions(ablation):
    data, tops = ablation
    oracle = stats.dunnett(*tops[1:], control=tops[0], rng=np.random.default_rng(0))
    ends = oracle.confidence_interval()
    found = data["differences"]["style"]
    for model, one in enumerate(found, 1):
        assert (one["model"], one["method"], one["covers"]) == (model, "Dunnett", "trainings")
        assert one["mean"] == pytest.approx((tops[model] - tops[0]).mean(), abs=6e-3)
        assert [one["low"], one["high"]] == pytest.approx([ends.low[model - 1], ends.high[model - 1]], abs=0.02)
        assert one["p"] == pytest.approx(oracle.pvalue[model - 1], abs=1e-3)
        assert one["seeds"] == pytest.approx(list(tops[model] - tops[0]), abs=6e-3)
    assert [one["published"] for one in found] == [None, None, None, 5.9, None]


def test_the_best_and_what_cannot_be_told_from_it_are_bold(ablation):
    data, tops = ablation
    best = tops.mean(1).argmax()
    others = [model for model in range(6) if model != best]
    oracle = stats.dunnett(*tops[others], control=tops[best], rng=np.random.default_rng(0))
    level = {best, *(model for model, p in zip(others, oracle.pvalue, strict=True) if p >= 0.05)}
    table = data["answer"]["table"]
    assert 1 < len(level) < 6
    assert {model for model, cells in enumerate(table["bold"]) if cells[1]} == level
    assert table["rows"][0][1] == f"{tops[0].mean():.2f} ± {tops[0].std(ddof=1):.2f}"
    assert table["rows"][4][4] == "64.3"
    assert {len(row) for row in (table["header"], table["task"], *table["rows"], *table["bold"])} == {5}
    against = stats.dunnett(*tops[1:], control=tops[0], rng=np.random.default_rng(0)).confidence_interval()
    ends = f"{against.low[best - 1]:.1f} to {against.high[best - 1]:.1f}"
    names = [model["label"] for model in data["models"]]
    said = (
        f"{names[best]} is {(tops[best] - tops[0]).mean():.1f} points above ResNet50 (95 % {ends}, Dunnett, 3 seeds)."
    )
    assert data["answer"]["sentences"]["style"].startswith(said)
    assert f"cannot be told from {names[best]}." in data["answer"]["sentences"]["style"]


def test_factors_are_means_over_models_that_differ_in_one_key(ablation):
    data, tops = ablation
    at = {(recurrence, of): row for (recurrence, of, _), row in zip(SIX, tops, strict=True)}
    deviation = np.sqrt(np.mean(tops.var(axis=1, ddof=1)))
    expected = {
        ("model.recurrence", "lstm", "main effect"): [("lstm", "none", 1), ("lstm", "se", 1), ("none", "none", -1),
                                                      ("none", "se", -1)],
        ("model.attention", "se", "main effect"): [("none", "se", 1), ("lstm", "se", 1), ("none", "none", -1),
                                                   ("lstm", "none", -1)],
        ("model.attention", "eca", "matched pairs"): [("none", "eca", 1), ("none", "none", -1)],
        ("model.attention", "cbam", "matched pairs"): [("lstm", "cbam", 1), ("lstm", "none", -1)],
        ("model.recurrence x model.attention", "lstm and se", "interaction"): [
            ("lstm", "se", 1), ("lstm", "none", -1), ("none", "se", -1), ("none", "none", 1)],
    }  # fmt: skip
    found = {(one["key"], one["effects"][0]["level"], one["kind"]): one["effects"][0] for one in data["factors"]}
    assert found.keys() == expected.keys()
    for name, parts in expected.items():
        pairs = 2 if name[2] == "main effect" else 1
        mean = sum(sign * at[recurrence, of].mean() for recurrence, of, sign in parts) / pairs
        family = {"model.attention": 3}.get(name[0], 1)
        half = stats.t.isf(0.025 / family, 12) * deviation * np.sqrt(len(parts) / 3) / pairs
        one = found[name]
        assert one["pairs"] == pairs
        assert [one["mean"], one["low"], one["high"]] == pytest.approx([mean, mean - half, mean + half], abs=6e-3)
    assert data["factors"][0]["of"] == "model.attention=none; model.attention=se"


def test_the_grid_names_the_baseline(tmp_path):
    make(tmp_path, models(*SIX[:3]), baseline={"model.attention": "eca"})
    data = page_data(read_sweep(tmp_path))
    assert data["baseline"] == 2
    assert [one["model"] for one in data["differences"]["style"]] == [0, 1]
    assert [row[2] for row in data["answer"]["table"]["rows"]][2] == "baseline"
    assert data["runs"][8]["differs"] == {"seed": 2}


def test_single_seeds_are_compared_over_paintings_and_two_seeds_are_too_few_for_trainings(tmp_path):
    one = tmp_path / "one"
    runs = make(one, models(("none", "none", 1), ("none", "se", 2)), seeds=1)
    (found,) = page_data(read_sweep(one))["differences"]["style"]
    assert (found["covers"], found["method"]) == ("paintings", "McNemar")
    assert found["mean"] == near(top1(runs[1]) - top1(runs[0]))
    assert found["low"] < found["mean"] < found["high"]
    table = page_data(read_sweep(one))["answer"]["table"]
    assert "over paintings" in table["rows"][1][2]
    runs[0].predictions_file.unlink()
    (found,) = page_data(read_sweep(one))["differences"]["style"]
    assert (found["low"], found["p"], found["method"]) == (None, None, "no test")
    assert found["mean"] == near(
        100 * (read_json(runs[1].result_file)["tasks"]["style"]["test"]["top1"] - result(runs[0]))
    )
    two = tmp_path / "two"
    make(two, models(("none", "none", 1), ("none", "se", 2)), seeds=2)
    (found,) = page_data(read_sweep(two))["differences"]["style"]
    assert (found["covers"], found["method"]) == ("paintings", "paired bootstrap")


def result(run):
    return read_json(run.result_file)["tasks"]["style"]["test"]["top1"]


def test_the_answer_of_unfinished_sweeps(tmp_path):
    runs = make(tmp_path, models(("none", "none", 1), ("none", "se", 2)), seeds=1)
    said = []
    for run in (runs[0], runs[1]):
        run.result_file.unlink()
        write_json(run.state_file, {"state": "running", "reason": ""})
        data = page_data(read_sweep(tmp_path))
        said.append(data["answer"]["sentences"]["style"])
    assert said[0].startswith("ResNet50 + SE has ")
    assert said[0].partition("; ")[2].startswith("ResNet50 has no result yet.")
    assert said[1] == "No run is complete yet."
    assert data["factors"] == data["cost"] == []


def test_effects_are_found_in_any_design():
    """A complete design of three keys: each main effect is the mean over all four combinations of the others."""
    from artnet.analysis.page.factors import Cells, is_complete, matched

    points = list(itertools.product("ab", "cd", "ef"))
    cells = Cells(["x", "y", "z"], {point: np.array([0.5]) for point in points}, ("a", "c", "e"))
    assert len(matched(cells, {1: ("c", "d")})) == 4
    assert is_complete(matched(cells, {1: ("c", "d")}))
    assert len(matched(cells, {0: ("a", "b"), 2: ("e", "f")})) == 2
    part = Cells(cells.keys, {point: of for point, of in cells.of.items() if point != ("b", "d", "f")}, cells.base)
    assert len(matched(part, {1: ("c", "d")})) == 3
    assert not is_complete(matched(part, {1: ("c", "d")}))
