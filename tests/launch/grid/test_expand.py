"""The grid language: what a file expands into."""

import sys
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, BeforeValidator

from launch.grid import expand, load
from launch.grid.search_space import SearchSpace
from tests.conftest import ROOT
from tests.launch.grid.files import BASE, fails, grid

SWEEPS = ROOT / "sweeps"


def test_product_runs_last_axis_fastest(tmp_path: Path) -> None:
    expansion = expand(grid(tmp_path, BASE))
    assert expansion.arithmetic == "4 x 3 x 3 = 36 runs"
    assert [run.values for run in expansion.runs[2:4]] == [
        {"model.attention": "none", "optim.lr": 0.1, "seed": 2},
        {"model.attention": "none", "optim.lr": 0.2, "seed": 0},
    ]
    assert list(expansion.runs[0].values) == ["model.attention", "optim.lr", "seed"]
    assert expansion.runs[-1].config.model.attention == "cbam"


@pytest.mark.parametrize(
    ("blocks", "arithmetic"),
    [
        ("exclude: [{model.attention: cbam, optim.lr: 4e-1, seed: 2}]", "36, - 1 excluded = 35 runs"),
        ("exclude: [{task: style, optim.schedule: cosine, seed: 2}]", "36, - 12 excluded = 24 runs"),
        ("include: [{seed: 7}]", "36, + 1 included = 37 runs"),
        (
            "conditional: [{when: {model.attention: se}, parameters: {model.se_reduction: [8, 16]}}]\n"
            "exclude: [{model.se_reduction: 8, seed: 0}]\ninclude: [{seed: 7}]",
            "36, + 9 conditional - 3 excluded + 1 included = 43 runs",
        ),
    ],
)
def test_arithmetic(tmp_path: Path, blocks: str, arithmetic: str) -> None:
    expansion = expand(grid(tmp_path, BASE + blocks))
    assert expansion.arithmetic == f"4 x 3 x 3 = {arithmetic}"
    assert expansion.arithmetic.endswith(f"= {len(expansion.runs)} runs")


def test_small_grids(tmp_path: Path) -> None:
    assert expand(grid(tmp_path, "name: one\nfixed: {task: [genre, artist]}")).arithmetic == "1 run"
    zipped = "name: z\nfixed: {task: style}\nzip: [{train.batch_size: [128, 256], optim.lr: [0.1, 0.2]}]"
    expansion = expand(grid(tmp_path, zipped), only=["batch_size=256"])
    assert expansion.arithmetic == "2 runs; 1 selected"
    assert expansion.runs[0].values == {"train.batch_size": 256, "optim.lr": 0.2}


def test_conditionals_may_set_the_same_key_for_different_runs(tmp_path: Path) -> None:
    text = (
        BASE
        + "conditional:\n"
        + "".join(
            f"  - {{when: {{model.attention: {attention}}}, parameters: {{data.size: [{size}]}}}}\n"
            for attention, size in (("se", 96), ("eca", 64))
        )
    )
    sizes = {run.config.model.attention: run.config.data.size for run in expand(grid(tmp_path, text)).runs}
    assert (sizes["se"], sizes["eca"]) == (96, 64)
    assert sizes["none"] == sizes["cbam"]


def test_a_grid_has_up_to_a_largest_number_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[expand.__module__], "MAX_RUNS", 36)
    assert len(expand(grid(tmp_path, BASE)).runs) == 36
    conditional = "conditional: [{when: {model.attention: se}, parameters: {model.se_reduction: [8, 16]}}]"
    with fails("grid.yaml:1: over 36 runs"):
        expand(grid(tmp_path, BASE + conditional))


def test_included_runs_are_fixed_and_their_own_keys(tmp_path: Path) -> None:
    text = BASE.replace("task: style", "task: style, train.epochs: 5") + "include: [{seed: 7, data.size: 96}]"
    run = expand(grid(tmp_path, text), sets=["optim.momentum=0.8"]).runs[-1]
    assert run.values == {"model.attention": "none", "optim.lr": 0.1, "seed": 7, "data.size": 96}
    assert (run.config.train.epochs, run.config.optim.momentum) == (5, 0.8)


@pytest.mark.parametrize(
    ("name", "arithmetic", "first", "last"),
    [
        ("ablation", "6 x 3 x 3 = 54 runs", "resnet50_artist_s0-", "resnet50-lstm-cbam_genre_s2-"),
        (
            "combined",
            "2 x 3 = 6 runs",
            "resnet50_artist+style+genre_s0-",
            "resnet50-lstm-se_artist+style+genre_s2-",
        ),
    ],
)
def test_sweeps_in_the_repository(name: str, arithmetic: str, first: str, last: str) -> None:
    sweep = load(SWEEPS / f"{name}.yaml")
    expansion = expand(sweep)
    assert (sweep.name, expansion.arithmetic) == (name, arithmetic)
    assert expansion.runs[0].config.name.startswith(first)
    assert expansion.runs[-1].config.name.startswith(last)
    models = {(run.values["model.recurrence"], run.values["model.attention"]) for run in expansion.runs}
    published = {(ref["when"]["model.recurrence"], ref["when"]["model.attention"]) for ref in sweep.reference}
    assert models == published
    assert all({"artist", "style", "genre"} < ref.keys() for ref in sweep.reference)
    slurm_time = next(line for line in sweep.file.read_text().splitlines() if line.startswith("  time:"))
    line = int(sweep.where("slurm", "time").rpartition(":")[2])
    assert sweep.file.read_text().splitlines()[line - 1] == slurm_time


def test_launchers_blocks_keep_times_as_text_and_know_their_lines(tmp_path: Path) -> None:
    sweep = grid(tmp_path, BASE + "slurm:\n  time: 8:00:00\n  overrides: [{nodes: 2}]\nenv_from: [TOKEN]")
    assert sweep.slurm == {"time": "8:00:00", "overrides": [{"nodes": 2}]}
    assert (sweep.local, sweep.tune, sweep.env_from) == ({}, {}, ["TOKEN"])
    assert sweep.where("slurm", "overrides", 0, "nodes") == f"{sweep.file}:9"
    assert sweep.where("slurm", "partition") == f"{sweep.file}:7"
    assert sweep.metric == {"name": "val/top1", "goal": "maximize", "scope": "best"}


class Block(BaseModel):
    """A block whose numbers pydantic alone would read from anything like one."""

    runs: int | None = 1
    share: float = 1
    time: Annotated[int, BeforeValidator(len)] = 0
    eager: bool = False


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("runs: yes", "local.runs: a whole number is wanted, not yes"),
        ("runs: 1_0", "local.runs: a whole number is wanted, not 1_0"),
        ("runs: two", "local.runs: a whole number is wanted, not two"),
        ("share: .inf", "local.share: a number is wanted, not .inf"),
        ("share: on", "local.share: a number is wanted, not on"),
        ("eager: 3", "local.eager: true or false is wanted, not 3"),
    ],
)
def test_numbers_in_a_block_are_strict(tmp_path: Path, line: str, said: str) -> None:
    loaded = grid(tmp_path, BASE + f"local:\n  {line}")
    with fails(f"grid.yaml:8: {said}"):
        loaded.read_block(Block, "local", loaded.local, {})
    fine = grid(tmp_path, BASE + "local: {runs: 3, share: 1e-1, eager: on, time: 1:30}")
    assert fine.read_block(Block, "local", fine.local, {}).model_dump() == {
        "runs": 3, "share": 0.1, "eager": True, "time": 4,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("seed=1", ("grid.yaml:6: seed is in `parameters`", "--only")),
        ("data.size=96", ("grid.yaml:7: data.size is in `include`", "--only")),
        ("train.epoch=2", ("--set train.epoch=2", "did you mean 'train.epochs'?")),
        ("train.epochs=two", ("--set train.epochs=two", "train.epochs: a whole number is wanted, not two")),
        ("train.epochs", ("--set train.epochs is not KEY=VALUE",)),
        ("train.epochs=yes", ("--set train.epochs=yes: train.epochs: a whole number is wanted, not yes",)),
        ("optim={lr: 1_0}", ("--set optim={lr: 1_0}: optim.lr: a number is wanted, not '1_0'",)),
        ("optim={lrs: 1}", ("unknown key 'optim.lrs'; did you mean 'optim.lr'?",)),
        ("data={size: 96}", ("grid.yaml:7: data.size is in `include`", "--only")),
        ("train.epochs=[", ("--set train.epochs", "not YAML")),
    ],
)
def test_a_wrong_set_is_refused(tmp_path: Path, text: str, parts: tuple[str, ...]) -> None:
    with fails(*parts):
        expand(grid(tmp_path, BASE + "include: [{data.size: 96}]"), ["optim.momentum=0.8", text])


def test_set_lies_over_fixed_and_may_leave_a_match_without_runs(tmp_path: Path) -> None:
    text = BASE + "reference: [{when: {task: style}, style: 58.4}]"
    runs = expand(grid(tmp_path, text), sets=["task=genre", "recipe=paper"]).runs
    assert {(run.config.task, run.config.optim.schedule) for run in runs} == {(("genre",), "step")}


def test_merge_keys_and_nested_keys_are_read_as_if_written_out(tmp_path: Path) -> None:
    plain = """\
name: demo
fixed: {task: style, data.shards: x, loss.weights.style: 2}
parameters: {optim.lr: [0.1, 0.2]}
include: [{model.recurrence: lstm, seed: 1}, {model.recurrence: lstm, seed: 2}]
exclude: [{optim.lr: 0.2, model.attention: none}]
"""
    nested = """\
name: demo
fixed: {task: style, data: {shards: x, size: }, loss: {weights: {style: 2}}, optim: }
parameters: {optim: {lr: {linspace: [0.1, 0.2, 2]}}}
include:
  - &base {model: {recurrence: lstm}, seed: 1}
  - {<<: *base, seed: 2}
exclude: [{optim: {lr: 0.2}, model.attention: none}]
"""
    nested = nested.replace(", size: }", "}")
    assert expand(grid(tmp_path, nested)) == expand(grid(tmp_path, plain))


def test_ranges_are_short_for_lists(tmp_path: Path) -> None:
    text = """\
name: r
fixed: {task: style}
parameters: {seed: {range: [0, 6, 2]}, optim.momentum: {values: {linspace: [0.1, 0.5, 5]}}}
zip: [{data.size: {range: [64, 66]}, optim.lr: {linspace: [1e-1, 0.2, 2]}}]
conditional: [{when: {seed: 0}, parameters: {train.epochs: {range: [7, 9]}}}]
"""
    runs = [run.values for run in expand(grid(tmp_path, text)).runs]
    assert [sorted({run[key] for run in runs}) for key in list(runs[0])[:4]] == [
        [0, 2, 4],
        [0.1, 0.2, 0.3, 0.4, 0.5],
        [64, 65],
        [0.1, 0.2],
    ]
    assert {run["train.epochs"] for run in runs if run["seed"] == 0} == {7, 8}
    drawn = "name: r\nfixed: {task: style}\nparameters: {seed: {choice: {range: [3, 5]}}}"
    space = SearchSpace(grid(tmp_path, drawn))
    assert {space.random(0, number, seed=0)["seed"] for number in range(20)} == {3, 4}


def test_paths_are_expanded_and_found_beside_the_grid_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (work := tmp_path / "work").mkdir()
    (tmp_path / "weights").mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PLACE", "here")
    for written, meant in {
        "~/w.pth": tmp_path / "home" / "w.pth",
        "$PLACE/w.pth": work / "here" / "w.pth",
        "${PLACE}2": work / "here2",
        "weights": tmp_path / "weights",
        "elsewhere": work / "elsewhere",
    }.items():
        for key in ("init_from", "pretrained"):
            [run] = expand(grid(tmp_path, f'name: demo\nfixed: {{task: style, {key}: "{written}"}}')).runs
            assert getattr(run.config, key) == str(meant)
    [run] = expand(grid(tmp_path, "name: demo\nfixed: {task: style, data.shards: ~/$PLACE, pretrained: none}")).runs
    assert (run.config.data.shards, run.config.pretrained) == (str(tmp_path / "home" / "here"), None)
    (work / "weights").mkdir()  # what is in the working directory comes first
    [run] = expand(grid(tmp_path, "name: demo\nfixed: {task: style, init_from: weights}")).runs
    assert run.config.init_from == str(work / "weights")


def test_runs_of_a_grid_are_known_by_the_content_of_their_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARTNET_CACHE", str(tmp_path / "cache"))
    text = "name: demo\nfixed: {task: style}\nparameters: {pretrained: [one.pth, two.pth]}"

    def names() -> list[str]:
        return [run.config.name for run in expand(grid(tmp_path, text)).runs]

    (tmp_path / "one.pth").write_bytes(b"one")
    (tmp_path / "two.pth").write_bytes(b"two")
    before = names()
    (tmp_path / "one.pth").rename(tmp_path / "kept.pth")
    (tmp_path / "two.pth").rename(tmp_path / "one.pth")
    (tmp_path / "kept.pth").rename(tmp_path / "two.pth")
    assert names() == before[::-1]
    (tmp_path / "one.pth").write_bytes(b"three")
    assert names()[0] not in before
    (tmp_path / "two.pth").write_bytes(b"three")
    with fails("is in the product twice (they differ only in pretrained"):
        names()
