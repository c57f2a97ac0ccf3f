"""Nested mappings as dotted paths and back, and the signature of a flat configuration. Pure."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from shards.tasks import is_task


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """The nested mapping `base` with the values of `over` in their places."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = merge(below, value)
        else:
            merged[key] = value
    return merged


def unflatten(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn `{"optim.lr": 0.1}` into `{"optim": {"lr": 0.1}}`."""
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *parents, leaf = key.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return tree


WEIGHTS = "loss.weights."


def is_weight(key: object) -> bool:
    """Whether a dotted path is that of the weight of a task, whatever the task is called."""
    return isinstance(key, str) and key.startswith(WEIGHTS) and is_task(key.removeprefix(WEIGHTS))


class Flat(dict[str, Any]):
    """Dotted paths and JSON values of a configuration, where a task without a weight has the weight 1."""

    def __missing__(self, key: str) -> float:
        if is_weight(key):
            return 1.0
        raise KeyError(key)


def flatten(config: BaseModel) -> Flat:
    """The configuration as dotted path -> JSON value, in the order of the fields. The inverse of `unflatten`."""
    flat = Flat()

    def walk(node: Mapping[str, Any], prefix: str) -> None:
        for key, value in node.items():
            if isinstance(value, Mapping):
                walk(value, f"{prefix}{key}.")
            else:
                flat[f"{prefix}{key}"] = value

    walk(config.model_dump(mode="json"), "")
    return flat


def signature(values: Mapping[str, Any], described: Mapping[str, FieldInfo]) -> str:
    """The signature of a flat configuration, whose fields are `described` under the same dotted paths. Pure.

    Left out are fields that change no result, and fields that a later version added where their value is the one that
    means "as before": see `sections.NO_EFFECT` and `sections.added`.
    """
    counted = {}
    for key, value in values.items():
        extra = described[key].json_schema_extra
        marks = extra if isinstance(extra, dict) else {}
        is_as_before = "as_before" in marks and marks["as_before"] == value
        if marks.get("affects_result", True) and not is_as_before:
            counted[key] = value
    return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()
