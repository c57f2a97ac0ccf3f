"""Runs selected by value, name or signature."""

from pathlib import Path

import pytest

from launch.grid import Expansion, expand, load
from launch.grid.selection import by_id, one
from shards.errors import UserError

from .test_expand import BASE, SWEEPS, fails, grid


@pytest.fixture
def expansion(tmp_path: Path) -> Expansion:
    """36 runs: 4 kinds of attention, 3 learning rates, 3 seeds."""
    return expand(grid(tmp_path, BASE))


@pytest.mark.parametrize(
    ("only", "count"),
    [
        (["attention=se"], 9),
        (["model.attention=se, seed=0"], 3),
        (["!attention=se,lr=1e-1"], 9),
        (["! attention=se , lr=1e-1"], 9),
        (["attention=se", "attention=eca,seed=1"], 12),
        (["task=style"], 36),
        (["seed!=0"], 24),
        (["seed = [0, 1] , attention != [se,eca]"], 12),
        (["task=[artist, style],lr=[1e-1]"], 12),
    ],
)
def test_only(tmp_path: Path, only: list[str], count: int) -> None:
    expansion = expand(grid(tmp_path, BASE), only=only)
    assert len(expansion.runs) == count
    assert expansion.arithmetic == f"4 x 3 x 3 = 36 runs; {count} selected"


def test_only_names_several_tasks_with_plus() -> None:
    assert len(expand(load(SWEEPS / "combined.yaml"), only=["task=genre+artist+style,seed=1"]).runs) == 2


@pytest.mark.parametrize(
    ("only", "parts"),
    [
        (["attention=se,seed=9"], ("selects none of 36 runs; they have model.attention none, se", "and seed 0, 1, 2")),
        (["seed=8", "seed=9"], ("--only seed=8 --only seed=9 selects none",)),
        (["attenton=se"], ("--only attenton=se", "did you mean 'model.attention'?")),
        (["size=96"], ("size is ambiguous; write data.size or eval.size in full",)),
        (["seed=on"], ("--only seed=on: seed: a whole number is wanted, not on",)),
        (["seed=[0,yes]"], ("--only seed=[0,yes]: seed: a whole number is wanted, not true",)),
        (["seed=[]"], ("--only seed=[]: seed has no values",)),
        (["attention"], ("'attention' is not KEY=VALUE",)),
        (["attention=sea"], ("--only attention=sea", "should be 'none', 'se'")),
        (["lr=["], ("--only lr=[", "not YAML")),
    ],
)
def test_a_selection_that_is_wrong_or_empty_is_refused(tmp_path: Path, only: list[str], parts: tuple[str, ...]) -> None:
    with fails(*parts):
        expand(grid(tmp_path, BASE), only=only)


def test_runs_are_found_by_the_start_of_their_name_or_signature(expansion: Expansion) -> None:
    first, *_, last = expansion.runs
    by_name, by_signature = first.config.name, last.config.signature[:12]
    assert by_id(expansion, []) is expansion
    chosen = by_id(expansion, [by_signature, by_name])
    assert chosen.runs == [first, last]
    assert chosen.arithmetic == "4 x 3 x 3 = 36 runs; 2 by --id"
    assert len(by_id(expansion, ["resnet50-se_style_s1"]).runs) == 3
    assert (one(expansion.runs, by_name), one(expansion.runs, by_signature)) == (first, last)
    for nothing in ("", "s0"):  # neither everything nor what is inside a name
        with fails(f"--id {nothing}: none of the names and signatures of 36 runs"):
            by_id(expansion, [by_name, nothing])


def test_a_prefix_of_several_runs_names_the_first_five(expansion: Expansion) -> None:
    names = [run.config.name for run in expansion.runs]
    with fails(f"--logs resnet50: 6 runs begin with it ({', '.join(names[:5])}, ...); give the signature"):
        one(expansion.runs[:6], "resnet50")
    for count in (2, 5):
        with fails(f"{count} runs begin with it ({', '.join(names[:count])}); give"):
            one(expansion.runs[:count], "resnet50")


@pytest.mark.parametrize(
    ("prefix", "hint"),
    [
        ("resnet51-se", "did you mean {0}?"),
        ("resnet50_style_s3", "did you mean {0}?"),
        ("qqq", "an example of a name is {0}"),
    ],
)
def test_a_prefix_of_no_run_gets_the_closest_name_or_an_example(expansion: Expansion, prefix: str, hint: str) -> None:
    with pytest.raises(UserError) as refused:
        one(expansion.runs, prefix)
    expected = "--logs " + prefix + ": none of the names and signatures of 36 runs begins with it; "
    assert str(refused.value).startswith(expected)
    closest = [run.config.name for run in expansion.runs if run.config.name in str(refused.value)]
    assert str(refused.value).endswith(hint.format(*closest))


def test_a_mistyped_signature_gets_the_name_of_its_run(expansion: Expansion) -> None:
    run = expansion.runs[7]
    mistyped = run.config.signature[:7] + ("0" if run.config.signature[7] != "0" else "1")
    with fails(f"did you mean {run.config.name}?"):
        one(expansion.runs, mistyped)
