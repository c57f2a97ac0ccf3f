"""A run's configuration by dotted paths: its signature, canonical values, and what counts as the same run."""

import hashlib
import json
from typing import Any

import pytest
from pydantic.fields import FieldInfo

from artnet.config import build, canonical, fields, flatten, signature, unflatten
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
