"""`python -m artnet.train --keys`: every key of a run's configuration, readable on 80 columns."""

import argparse
import textwrap
from collections.abc import Sequence
from typing import Any, get_args

from pydantic.fields import FieldInfo

from shards.errors import UserError
from shards.tasks import TASKS

from .numeric import kinds_of
from .recipes import RECIPES
from .run import PATHS, fields

WIDTH = 80  # columns


class ShowKeys(argparse.Action):
    """The option `--keys [SECTION]`, which prints and exits as `--help` does."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs="?", const="", metavar="SECTION", **options)

    def __call__(self, parser: argparse.ArgumentParser, args: argparse.Namespace, value: Any, *rest: Any) -> None:
        print(listing(value))
        parser.exit()


def listing(section: str = "") -> str:
    """The keys of a section, such as `optim`, or one key; all of them if it is empty. Raises `UserError`."""
    known = fields()
    chosen = [key for key in known if not section or key == section or key.startswith(f"{section}.")]
    if not chosen:
        names = dict.fromkeys(key.partition(".")[0] for key in known)
        raise UserError(f"--keys {section}: there is no such section or key; give one of {', '.join(names)}")
    return "\n".join(_entry(key, known[key]) for key in chosen)


def _entry(key: str, field: FieldInfo) -> str:
    values = [f"{name} {_shown(values[key])}" for name, values in RECIPES.items() if key in values]
    default = "" if field.is_required() else f"default {_shown(field.get_default())}"
    facts = [f"recipe {', '.join(values)}" if values else default or "must be given", _range(key, field)]
    lines = [f"    {'; '.join(facts)}", f"    {field.description}"]
    indented = {"subsequent_indent": "    ", "break_on_hyphens": False}
    return "\n".join([key, *(textwrap.fill(line, WIDTH, **indented) for line in lines)])  # type: ignore[arg-type]


def _range(key: str, field: FieldInfo) -> str:
    """The values that a field takes, in words."""
    if key == "task":
        return " | ".join((*TASKS, "another task of the shards"))
    if choices := _choices(field.annotation):
        return " | ".join(choices)
    kinds = kinds_of(field.annotation)
    kind = next((word for kind, word in _KINDS.items() if kind in kinds), "path" if key in PATHS else "text")
    limits = {name: getattr(mark, name) for mark in field.metadata for name in _LIMITS if hasattr(mark, name)}
    return ", ".join([kind, *(f"{_LIMITS[name]} {_shown(limit)}" for name, limit in limits.items())])


_KINDS = {bool: "true or false", float: "number", int: "whole number"}
_LIMITS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}


def _choices(annotation: Any) -> list[str]:
    """The words of a `Literal`, wherever it is in a type."""
    found = get_args(annotation)
    if found and all(isinstance(word, str) for word in found):
        return list(found)
    return next(filter(None, map(_choices, found)), [])


def _shown(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
