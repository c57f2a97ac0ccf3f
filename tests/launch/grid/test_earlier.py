"""`init_from: {sweep: ..., when: ...}` is one run of an earlier sweep, whatever that sweep varies."""

import pytest

from artnet.config import flatten
from artnet.rundir import RunDir
from launch.grid import Run, expand, load

from ..tiny_grid import TinyGrid, complete
from .files import fails

ATTENTION = {"model.attention": ["none", "se"], "seed": [0, 1]}


@pytest.fixture
def pretrained(tmp_path) -> TinyGrid:
    """A sweep of complete runs of two models and two seeds for each of two learning rates."""
    grid = TinyGrid(tmp_path / "earlier")
    for folder in grid.plan(parameters={"optim.lr": [0.1, 0.2], **ATTENTION}):
        complete(folder)
        folder.checkpoints.mkdir()
        (folder.checkpoints / "best.pt").write_text(folder.name)
    return grid


def expanded(tiny: TinyGrid, earlier: TinyGrid, when: object, **blocks: object) -> list[Run]:
    source = {"sweep": str(earlier.sweep.folder), **({"when": when} if when else {})}
    tiny.write(**{"fixed": {"task": "artist", "init_from": source}, **blocks})
    return expand(load(tiny.file)).runs


def values(run: Run, *keys: str) -> list[object]:
    """Values of the run that this one starts from."""
    flat = flatten(RunDir(run.config.weights_source).config())
    return [flat[key] for key in keys]


@pytest.mark.parametrize(
    "when",
    [
        {"optim.lr": 0.1, "model.attention": "se", "seed": 1},
        {"optim.lr": 0.1, "model": {"attention": "se"}, "seed": 1},
    ],
)
def test_the_run_with_these_values_is_meant_and_its_content_is_signed(tiny, pretrained, when):
    one, two = expanded(tiny, pretrained, when)
    assert values(one, "optim.lr", "model.attention", "seed") == [0.1, "se", 1]
    assert one.config.init_from == two.config.init_from
    assert one.config.weights_sha256
    before = one.config.signature
    by_path = expanded(tiny, pretrained, None, fixed={"task": "artist", "init_from": one.config.init_from})
    assert by_path[0].config.signature == before
    (one.config.weights_source / "checkpoints" / "best.pt").write_text("other weights")
    assert expanded(tiny, pretrained, when)[0].config.signature != before


def test_of_several_runs_the_one_with_the_runs_own_seed_and_model_is_meant(tiny, pretrained):
    runs = expanded(tiny, pretrained, {"optim": {"lr": "2e-1"}}, parameters=ATTENTION)
    assert [values(run, "optim.lr", "model.attention", "seed") for run in runs] == [
        [0.2, attention, seed] for attention in ("none", "se") for seed in (0, 1)
    ]
    assert len({run.config.signature for run in runs}) == 4


def test_in_lists_each_entry_is_a_run_of_its_own(tiny, pretrained):
    folder = str(pretrained.sweep.folder)
    sources = [{"sweep": folder, "when": {"optim.lr": lr, "model": {"attention": "se"}}} for lr in (0.1, 0.2)]
    runs = expanded(tiny, pretrained, None, zip=[{"eval.logit_adjustment": [0, 1], "init_from": sources}], fixed={})
    assert [values(run, "optim.lr", "model.attention", "seed") for run in runs] == [
        [lr, "se", seed] for seed in (0, 1) for lr in (0.1, 0.2)
    ]


@pytest.mark.parametrize(
    ("when", "parts"),
    [
        (
            None,
            ("8 runs of", "could be meant and differ in seed, model.attention, optim.lr, and none has this run's own"),
        ),
        ({"optim.lr": 0.1}, ("4 runs of", "have optim.lr 0.1 and differ in seed, model.attention, and none has")),
        ({"seed": 0}, ("4 runs of", "differ in model.attention, optim.lr, and 2 have this run's own model.attention")),
        ({"seed": 0, "model.attention": "se"}, ("2 runs of", "have seed 0", "differ in optim.lr; say in `when`")),
        ({"task": "artist"}, ("none of the 8 runs of", "has task artist; change `when`")),
        ({"model.atention": "se"}, ("did you mean 'model.attention'?",)),
        ({"init_from": {"sweep": "x"}}, ("a `when` matches the folder of a run",)),
    ],
)
def test_what_means_no_run_or_several_is_refused_with_its_line(tiny, pretrained, when, parts):
    with fails("grid.yaml:", *parts):
        expanded(tiny, pretrained, when, parameters={"seed": [7]})


def test_a_folder_without_runs_and_a_wrong_mapping_are_refused_with_their_line(tiny, tmp_path):
    for source, parts in (
        ({"sweep": "nowhere"}, ("grid.yaml:3: init_from: nowhere holds no runs; launch its grid first",)),
        ({"when": {"seed": 1}}, ("grid.yaml:3: init_from names no sweep",)),
        ({"sweep": "nowhere", "wen": {}}, ("did you mean 'when'?",)),
        ({"sweep": True}, ("the folder of a sweep is wanted, such as runs/pretrain, not True",)),
        ({"sweep": "$NO_SUCH/x"}, ("the variable $NO_SUCH is not set",)),
    ):
        tiny.file.write_text(f"name: tiny\nfixed:\n  init_from: {source}\n  task: style\n")
        with fails(*parts):
            expand(load(tiny.file))


@pytest.mark.parametrize("content", ["a: [", "seed: banana\n", "x: &a [1]\ny: *a\n", "format: 99\n"])
def test_an_earlier_run_that_cannot_be_read_is_not_meant_and_does_not_hide_the_others(tiny, pretrained, content):
    when = {"optim.lr": 0.1, "model.attention": "se", "seed": 1}
    before = expanded(tiny, pretrained, when)[0].config.init_from
    other, *_ = pretrained.folders
    (meant,) = (folder for folder in pretrained.folders if str(folder.path) == before)
    other.config_file.write_text(content)
    assert expanded(tiny, pretrained, when)[0].config.init_from == before
    meant.config_file.write_text(content)
    with fails("none of the 6 runs"):
        expanded(tiny, pretrained, when)
