"""The grid language: what a file expands into, and what is said of a file that is wrong."""

import re
import sys
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, BeforeValidator

from launch.grid import Grid, expand, load, sample
from shards.errors import UserError
from tests.conftest import ROOT

SWEEPS = ROOT / "sweeps"

BASE = """\
name: demo
fixed: {task: style}
parameters:
  model.attention: [none, se, eca, cbam]
  optim.lr: {values: [0.1, 2e-1, 0.4]}
  seed: [0, 1, 2]
"""
SEARCH = """\
name: search
fixed: {task: style}
parameters:
  optim.lr: {loguniform: [1e-3, 1]}
  train.batch_size: {uniform: [64, 512]}
  model.attention: {choice: [none, se]}
  seed: [0, 1]
conditional:
  - when: {model.attention: se}
    parameters: {model.se_reduction: {choice: [4, 8]}}
"""


def grid(folder: Path, text: str) -> Grid:
    file = folder / "grid.yaml"
    file.write_text(text)
    return load(file)


def fails(*parts: str) -> pytest.RaisesExc[UserError]:
    """A `UserError` of one sentence that holds these parts in this order."""
    return pytest.raises(UserError, match=".*".join(map(re.escape, parts)) + r"[^\n]*\Z")


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


def test_search_draws_within_bounds_and_the_same_again(tmp_path: Path) -> None:
    search = grid(tmp_path, SEARCH)
    drawn = sample(search, 20, seed=1)
    assert drawn.arithmetic == "2 x 20 samples = 40 runs"
    assert sample(search, 20, seed=1) == drawn
    assert sample(search, 20, seed=2).runs[0] != drawn.runs[0]
    fewer = [run.config for run in sample(search, 5, seed=1).runs]
    assert all(config in [run.config for run in drawn.runs] for config in fewer)
    assert all(1e-3 <= run.config.optim.lr <= 1 for run in drawn.runs)
    small = sum(run.config.optim.lr < 10**-1.5 for run in drawn.runs)
    assert 10 < small < 30  # half of them, by the logarithm
    assert all(64 <= run.config.train.batch_size <= 512 for run in drawn.runs)
    reductions = {(run.config.model.attention, run.config.model.se_reduction) for run in drawn.runs}
    assert reductions == {("none", 16), ("se", 4), ("se", 8)}


@pytest.mark.parametrize(("samples", "seed"), [(0, 0), (1, -1)])
def test_a_search_needs_a_sample_and_a_seed(tmp_path: Path, samples: int, seed: int) -> None:
    with fails(f"at least 1 sample and a seed of at least 0, not {samples} and {seed}"):
        sample(grid(tmp_path, SEARCH), samples, seed)
    assert sample(grid(tmp_path, SEARCH), 1, 0).arithmetic == "2 x 1 samples = 2 runs"


def test_a_configuration_drawn_again_is_not_run_again(tmp_path: Path) -> None:
    text = "name: s\nfixed: {task: style}\nparameters: {model.attention: {choice: [none, se]}}"
    assert sample(grid(tmp_path, text), 10, seed=0).arithmetic == "10, - 8 drawn again = 2 runs"


def test_points_without_draws_are_sampled_once(tmp_path: Path) -> None:
    text = BASE + ("conditional: [{when: {model.attention: se}, parameters: {train.epochs: {uniform: [1, 9999]}}}]")
    assert sample(grid(tmp_path, text), 3, seed=0).arithmetic == "4 x 3 x 3 = 36, + 18 conditional = 54 runs"


def test_only_a_search_draws(tmp_path: Path) -> None:
    with fails("grid.yaml:4: optim.lr", "launch/tune.py, or list its values"):
        expand(grid(tmp_path, SEARCH))


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
    assert {run.config.seed for run in sample(grid(tmp_path, drawn), 20, 0).runs} == {3, 4}


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


HEAD = "name: demo\nfixed: {task: style}\n"  # what follows begins on line 3
BOMB = "\n".join(f"  a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9) if i else 0}]" for i in range(9))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", (":1: not a mapping",)),
        ("- a", (":1: not a mapping",)),
        (HEAD + "parameters: {seed: [0, 1}", (":3: not YAML",)),
        (HEAD + "parameters:\n\tseed: [0]", (":4: not YAML", "indent with spaces")),
        (HEAD + "a: \x07", (":3: character", "not allowed in YAML")),
        (HEAD + "name: again", (":3: 'name' is given here and on line 1",)),
        (HEAD + "local: {1: 2}", (":3: keys are plain text",)),
        (HEAD + "local: !!python/name:os.system 1", (":3: the tag !!python/name:os.system",)),
        (HEAD + "local: " + "[\n" * 1000, (": nested too deeply",)),
        (HEAD + "local:\n" + BOMB, (": over 100,000 values",)),
        (HEAD + "local: &a [*a]", (":3: nested too deeply",)),
        (HEAD + 'local: {a: "\\UFFFFFFFF"}', (":3: an escape sequence here is not a character",)),
        (HEAD + 'data: {a: "\\ud800"}', (":3: '\\ud800' cannot be read as str",)),
        (HEAD + f"local: {{a: 0x{'f' * 5000}}}", (":3: a number of more than 64 bits",)),
        (HEAD + "paramters: {}", (":3: unknown key 'paramters'; did you mean 'parameters'?",)),
        ("fixed: {task: style}", (":1: the grid has no name",)),
        ("name: ../up\nfixed: {task: style}", (":1: '../up' cannot name a folder",)),
        ("name: demo\nparameters: {seed: [0]}", (":1: task is missing",)),
        ("name: demo\nfixed:\n  task: [style, style]", (":3: task", "twice")),
        (HEAD + "metric: {goal: max}", (":3: goal must be maximize or minimize, not 'max'",)),
        (HEAD + "env_from: [KEY=secret]", (":3: env_from lists names",)),
        (HEAD + "parameters:\n  model.atention: [se]", (":4: unknown key", "'model.attention'?")),
        (HEAD + "parameters:\n  seed:\n    - 0\n    - one", (":6: seed: a whole number is wanted, not one",)),
        (HEAD + "parameters:\n  seed:\n    - 5\n    - on", (":6: seed: a whole number is wanted, not on",)),
        (HEAD + "parameters: {optim.lr: [0.1, yes]}", (":3: optim.lr: a number is wanted, not yes",)),
        (HEAD + "parameters: {optim.lr: [0.1, .nan]}", (":3: optim.lr: a number is wanted, not .nan",)),
        (HEAD + "parameters: {optim.lr: [0.1, 1_0.5]}", (":3: optim.lr: a number is wanted, not 1_0.5",)),
        (HEAD + "parameters: {seed: [010]}", (":3: seed: a whole number is wanted, not 010",)),
        (HEAD + "exclude: [{data.start_size: 1_0}]", (":3: data.start_size: a whole number is wanted, not 1_0",)),
        (HEAD + "include: [{train.epochs: 1:30}]", (":3: train.epochs: a whole number is wanted, not 1:30",)),
        (HEAD + "include: [{eval.flip: 3}]", (":3: eval.flip: true or false is wanted, not 3",)),
        (HEAD + "include: [{init_from: 2024}]", (":3: init_from: text is wanted, not 2024; quote it",)),
        (HEAD + "include: [{pretrained: $NO_SUCH/w.pth}]", (":3: pretrained: the variable $NO_SUCH is not set",)),
        (HEAD + "include:\n  - data: {size: 64}\n    data.size: 96", (":5: data.size is given here and on line 4",)),
        (HEAD + "include: [{data: {siz: 64}}]", (":3: unknown key 'data.siz'; did you mean 'data.size'?",)),
        (HEAD + "include: [{data: wikiart}]", (":3: data is a section; give its keys, such as `data.shards: ...`",)),
        (HEAD + "include: [{<<: 3}]", (":3: `<<` merges mappings",)),
        (HEAD + "include: [&a {<<: *a}]", (":3: nested too deeply",)),
        (HEAD + "include: [{optim.learning_rate: 1}]", (":3: unknown key", "did you mean 'optim.lr'?")),
        (HEAD + "parameters: {seed: {range: [0.5, 2]}}", (":3: range needs whole numbers",)),
        (HEAD + "parameters: {seed: {range: [2, 2]}}", (":3: the range [2, 2] is empty",)),
        (HEAD + "parameters: {seed: {range: [0, 5, 0]}}", (":3: a range with a step of 0",)),
        (HEAD + "parameters: {seed: {range: 9999999999}}", (":3: seed has 1,001 values",)),
        (HEAD + "parameters: {optim.lr: {linspace: [0, 1]}}", (":3: linspace needs [FIRST, LAST, COUNT]",)),
        (HEAD + "parameters: {seed: {linspace: [0, 1, 3]}}", (":3: seed: a whole number is wanted, not 0.5",)),
        (HEAD + "include: [{task: yes}]", (":3: task: artist, style, genre or a list of them is wanted, not yes",)),
        (HEAD + "parameters: {optim.lr: {uniform: {range: [1, 3]}}}", (":3: uniform needs two bounds",)),
        (
            HEAD + "parameters: {seed: [{range: [1, 3]}]}",
            (":3: seed: a whole number is wanted, not {'range': [1, 3]}",),
        ),
        ("name: 2024\nfixed: {task: style}", (':1: the name 2024 is not text; quote it: `name: "2024"`',)),
        ("task: style", (":1: this is a run's configuration; give it to python -m artnet.train --config",)),
        (HEAD + "parameters: {seed: []}", (":3: seed has no values",)),
        (HEAD + "parameters: {seed: 1}", (":3: seed needs a list of values, not 1",)),
        (HEAD + "parameters: {seed: {value: [1]}}", (":3: unknown key 'value'; did you mean 'values'?",)),
        (HEAD + "parameters: {optim.lr: [0.1, 1e-1]}", (":3: 0.1 is listed twice",)),
        (HEAD + f"parameters: {{seed: {list(range(1001))}}}", (":3: seed has 1,001 values",)),
        (
            HEAD + f"parameters: {{seed: {list(range(101))}, train.epochs: {list(range(1, 101))}}}",
            ("over 10,000 runs",),
        ),
        (HEAD + "parameters: {optim.lr: {uniform: [0.2, 0.1]}}", (":3: uniform needs two bounds",)),
        (HEAD + "parameters: {optim.momentum: {loguniform: [0, 0.9]}}", (":3: loguniform", "above 0")),
        (HEAD + "parameters: {task: {uniform: [style, genre]}}", (":3: task is not a number",)),
        (HEAD + "parameters: {task: [style]}", (":3: task is given here and in `fixed` on line 2",)),
        (HEAD + "zip: [{seed: [0, 1], data.size: [96]}]", (":3:", "seed has 2, data.size has 1")),
        (HEAD + "zip: [{seed: [0, 0], data.size: [96, 96]}]", (":3:", "seed=0, data.size=96 twice")),
        (
            HEAD + "parameters:\n  seed: [0, 1]\n  data.threads: [1, 2]",
            (":5: resnet50_style_s0", "is in the product twice (they differ only in data.threads, which"),
        ),
        (HEAD + "exclude: [{seed: 1}]", (":3: this exclude matches no run",)),
        (HEAD + "exclude: [{seed: 0}]", (":3: the excludes leave no run",)),
        (HEAD + "include:\n  - {seed: 0}", (":4: this include is the same run as resnet50_style_s0",)),
        (HEAD + "include:\n  - {seed: 1}\n  - {seed: 1}", (":5:", "same run as the include on line 4")),
        (HEAD + "reference: [{when: {seed: 1}, style: 50}]", (":3: this `when` matches no run",)),
        (HEAD + "reference: [{when: {seed: 0}}]", (":3: a reference needs a figure",)),
        (HEAD + "reference: [{when: {seed: 0}, style: 0.5%}]", (":3: style must be top-1 accuracy in per cent",)),
        (
            HEAD + "conditional: [{when: {seed: 1}, parameters: {data.size: [96]}}]",
            (":3: this `when` matches no run of the product",),
        ),
        (
            HEAD + "conditional:\n  - {when: {seed: 0}, parameters: {data.size: [96]}}\n"
            "  - {when: {task: style}, parameters: {data.size: [64]}}",
            (":5: data.size is set for the same runs by the conditional on line 4",),
        ),
        (
            HEAD + "conditional:\n  - {when: {seed: 0}, parameters: {data.size: [96]}}\n"
            "  - {when: {data.size: 96}, parameters: {optim.lr: [1]}}",
            (":5: data.size is set by a conditional",),
        ),
    ],
)
def test_wrong_files_are_told_in_one_sentence_with_the_line(tmp_path: Path, text: str, parts: tuple[str, ...]) -> None:
    with fails(str(tmp_path / "grid.yaml"), *parts):
        expand(grid(tmp_path, text))


def test_what_is_no_text_file_is_refused(tmp_path: Path) -> None:
    with fails("is not a file"):
        load(tmp_path)
    (tmp_path / "binary").write_bytes(b"name: demo\n\xff\xfe")
    with fails("binary:2: not text in UTF-8"):
        load(tmp_path / "binary")
