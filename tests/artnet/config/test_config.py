"""A run's configuration by dotted paths: its signature, canonical values, and what counts as the same run."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic.fields import FieldInfo

from artnet.config import build, canonical, dump, fields, flatten, load, signature, unflatten
from artnet.config.suggest import ALIASES
from shards.errors import UserError


def field(**marks: Any) -> FieldInfo:
    return FieldInfo(json_schema_extra=marks or None)


def digest(**values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def test_the_signature_covers_the_fields_that_affect_the_result_in_any_order() -> None:
    described = {
        "a": field(),
        "b": field(affects_result=False),
        "c": field(as_before=3),
        "d": field(affects_result=True),
    }
    described["e"] = field(affects_result=False, as_before=1)
    described["f"] = FieldInfo(json_schema_extra=lambda schema: None)
    values = {"d": 4, "a": 1, "b": 2, "c": 3, "e": 5, "f": 6}
    assert signature(values, described) == digest(a=1, d=4, f=6)
    assert signature({**values, "c": 0}, described) == digest(a=1, c=0, d=4, f=6)
    assert signature({**values, "c": None, "e": 1}, described) == digest(a=1, c=None, d=4, f=6)


def test_the_same_run_has_one_signature_however_it_is_written() -> None:
    one = build(unflatten({"task": "style", "optim.lr": 0.2}))
    same = build({"data": {"threads": 3, "shards": "elsewhere"}, "task": ["style"], "optim": {"lr": "2e-1"}})
    assert one.signature == same.signature
    for key, value in {"optim.lr": 0.3, "seed": 1, "task": "artist", "model.attention": "se"}.items():
        assert build(unflatten({"task": "style", "optim.lr": 0.2, key: value})).signature != one.signature


def test_flatten_maps_dotted_paths_to_the_nested_values() -> None:
    config = build({"task": ["style", "artist"], "loss": {"weights": {"style": 2}}})
    flat = flatten(config)
    assert list(flat) == list(fields())
    assert (flat["task"], flat["loss.weights.style"], flat["seed"]) == (["artist", "style"], 2, 0)
    assert build(unflatten(flat)) == config


def test_a_task_may_have_any_name_that_the_index_has_free() -> None:
    config = build({"task": ["period", "style", "animal"]})
    assert config.task == ("style", "animal", "period")
    assert config.name.startswith("resnet50_style+animal+period_s0-")
    for wrong in ("Animal", "art movement", "path", "split_style", "2nd", "", "a" * 41):
        with pytest.raises(UserError, match=r"^task: the name of a task is up to 40 small letters, digits and '_'"):
            canonical("task", wrong)


def test_the_weight_of_an_own_task_counts_where_it_is_not_1() -> None:
    plain, same, other = (
        build(unflatten({"task": "animal", **weight}))
        for weight in ({}, {"loss.weights.animal": "1"}, {"loss.weights.animal": 2})
    )
    assert plain == same
    assert plain.signature == same.signature != other.signature
    assert (flatten(other)["loss.weights.animal"], flatten(plain)["loss.weights.animal"]) == (2, 1)
    assert build(unflatten(flatten(other))) == other
    for key, value, said in (
        ("loss.weights.anmal", 2, "loss.weights.anmal: the run has no task anmal; name it as task"),
        ("loss.weights.animal", -1, "loss.weights.animal: input should be greater than or equal to 0, not -1"),
        ("loss.weights.animal", True, "loss.weights.animal: a number is wanted, not true"),
        ("loss.weights.Animal", 1, "loss.weights.Animal: the name of a task is up to"),
    ):
        with pytest.raises(UserError, match=f"^{re.escape(said)}"):
            build(unflatten({"task": "animal", key: value}))


def test_canonical_converts_a_value_to_the_type_of_its_field() -> None:
    assert {canonical("optim.lr", value) for value in (0.1, "0.1", "1e-1")} == {0.1}
    assert canonical("task", "style") == ["style"]
    with pytest.raises(UserError, match=r"^unknown key 'optim\.rl'; did you mean 'optim\.lr'\?$"):
        canonical("optim.rl", 1)
    with pytest.raises(UserError, match=r"^optim\.lr: input should be greater than 0, not -1$"):
        canonical("optim.lr", -1)


def test_a_run_is_named_by_its_network_tasks_seed_and_signature() -> None:
    config = build(unflatten({"task": ["style", "artist"], "seed": 3, "model.recurrence": "lstm"}))
    assert config.name == f"resnet50-lstm_artist+style_s3-{config.signature[:8]}"


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("train.epochs", [True, "1_0", "010", "1:30", 1.5, float("inf"), "yes"]),
        ("data.start_size", [True, "0100", "1_00"]),
        ("optim.lr", [True, "0_1", "nan", "inf", float("nan"), "on"]),
        ("train.checkpoint_minutes", [True, "1_0", float("inf")]),
    ],
)
def test_what_is_a_number_only_by_accident_is_refused(key: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(UserError, match=rf"^{key}: a (whole )?number is wanted, not "):
            canonical(key, value)


def test_numbers_and_switches_as_people_write_them_are_read() -> None:
    assert [canonical("train.epochs", value) for value in (5, 5.0, "5", "07", "08", " 5 ")] == [5, 5, 5, 7, 8, 5]
    assert [canonical("optim.lr", value) for value in ("1e-3", 1, "0.1")] == [0.001, 1, 0.1]
    assert [canonical("eval.flip", value) for value in (True, "yes", "off", "false", 0)] == [True, True, *[False] * 3]
    assert {canonical(key, "none") for key in ("data.start_size", "eval.size", "pretrained", "data.shards")} == {None}
    assert canonical("init_from", False) is None


def test_a_runs_file_may_have_dotted_and_nested_keys(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("task: style\noptim.lr: 0.3\noptim: {momentum: 0.8}\nloss: {weights.style: 2}\n")
    plain = {"task": "style", "optim": {"lr": 0.3, "momentum": 0.8}, "loss": {"weights": {"style": 2}}}
    assert load(file) == build(plain)
    file.write_text(dump(load(file)))
    assert load(file) == build(plain)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("task: style\ntrain.epochs: yes", ":2: train.epochs: a whole number is wanted, not yes"),
        ("task: style\ntrain:\n  epochs: 0x", ":3: train.epochs: a whole number is wanted, not 0x"),
        ("task: style\nseed: 010", ":2: seed: a whole number is wanted, not 010"),
        ("task: style\noptim.lr: 1\noptim: {lr: 2}", ":3: optim.lr is given here and on line 2; keep one of them"),
        ("task: style\noptim.learning_rate: 1", ":2: unknown key 'optim.learning_rate'; did you mean 'optim.lr'?"),
        ("task: style\npretrained: yes", ":2: pretrained: text is wanted, not yes; quote it"),
        ("task: style\ninit_from: {sweep: runs/x}", ":2: init_from: a path is wanted; {sweep: ..., when: ...} is for"),
        ("name: x\nfixed: {task: style}", ":1: this is a grid, with `name`; give it to launch/local.py --grid"),
        ("seed: 1", ":1: task is missing; give it a value"),
        (
            "task: style\ndata: {folds: 5, fold: 5}",
            ":1: data: data.fold 5 is none of data.folds 5; they are counted from 0",
        ),
        ("task: style\ndata.folds: 1", ":1: data: data.folds 1 leaves nothing to train on"),
    ],
)
def test_a_wrong_runs_file_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as refused:
        load(file)
    assert str(refused.value).startswith(f"{file}{said}")


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("learning_rate", "optim.lr"),
        ("train.lr", "optim.lr"),
        ("Seed", "seed"),
        ("model.weight_decay", "optim.weight_decay"),
        ("bs", "train.batch_size"),
        ("train.batch-size", "train.batch_size"),
        ("attenton", "model.attention"),
        ("optim.rl", "optim.lr"),
    ],
)
def test_an_unknown_key_gets_the_one_that_is_meant(key: str, meant: str) -> None:
    with pytest.raises(UserError, match=rf"^unknown key '{key}'; did you mean '{meant}'\?$"):
        canonical(key, 1)


def test_every_name_of_other_tools_leads_to_a_key() -> None:
    assert set(ALIASES.values()) <= fields().keys()
