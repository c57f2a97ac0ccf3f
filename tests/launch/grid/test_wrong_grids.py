"""What is said of a grid file that is wrong."""

from pathlib import Path

import pytest

from launch.grid import expand, load
from tests.launch.grid.files import fails, grid

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
        (
            HEAD + "include: [{task: yes}]",
            (":3: task: the name of a task, such as style, or a list", "wanted, not yes"),
        ),
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
        (HEAD + "baseline: {seed: 1}", (":3: the baseline matches no run of the grid",)),
        (HEAD + "baseline: {sed: 1}", (":3: unknown key 'sed'",)),
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
