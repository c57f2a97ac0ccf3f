"""Parse YAML into plain values and their line numbers, so that every error can name its line.

PyYAML alone silently keeps the last of two equal keys, reads `8:00:00` as 28800 and expands nested aliases
without limit.
"""

import difflib
import reprlib
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from shards.errors import UserError

MAX_BYTES = 1_000_000
MAX_ENTRIES = 1_000
MAX_VALUES = 100_000  # aliases of aliases make a small file hold billions

Position = tuple[str | int, ...]

_TAG = "tag:yaml.org,2002:"
_SCALARS = {_TAG + name for name in ("null", "bool", "int", "float", "str", "timestamp")}


@dataclass(frozen=True)
class Document:
    """A YAML mapping and the line of each of its entries, by position: `("exclude", 0, "seed")`."""

    file: Path
    values: dict[str, Any]
    lines: Mapping[Position, int]

    def where(self, *position: str | int) -> str:
        """`FILE:LINE` of the entry at a position, or of the nearest entry that encloses it."""
        while position not in self.lines:
            position = position[:-1]
        return f"{self.file}:{self.lines[position]}"

    def error(self, position: Position, message: str) -> UserError:
        """A `UserError` about the entry at a position, ready to raise."""
        return UserError(f"{self.where(*position)}: {message}")

    def block(self, key: str) -> dict[str, Any]:
        """A top-level mapping; empty if the key is absent or all of its lines are commented out."""
        given = self.values.get(key)
        if given is None:
            return {}
        if not isinstance(given, dict):
            raise self.error((key,), f"`{key}` must hold `key: value` lines, not {reprlib.repr(given)}")
        return given

    def entries(self, key: str) -> list[tuple[Position, Any]]:
        """The entries of a top-level list with their positions; empty in the same cases."""
        given = self.values.get(key)
        if given is None:
            return []
        if not isinstance(given, list):
            raise self.error((key,), f"`{key}` must be a list; begin each entry with `- `")
        if len(given) > MAX_ENTRIES:
            raise self.error((key,), f"`{key}` has {len(given):,} entries; it holds at most {MAX_ENTRIES:,}")
        return [((key, index), entry) for index, entry in enumerate(given)]

    def mapping(self, position: Position, given: Any) -> dict[str, Any]:
        """Return `given`. Raises `UserError` unless it is a mapping with at least one entry."""
        if not isinstance(given, dict) or not given:
            raise self.error(position, f"expected at least one `key: value`, not {reprlib.repr(given)}")
        return given

    def check_keys(self, position: Position, given: Iterable[str], known: Iterable[str]) -> None:
        """Raise `UserError` for a key that is not in `known`, with the closest known key."""
        for key in given:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"the keys here are {', '.join(known)}"
                raise self.error((*position, key), f"unknown key {key!r}; {hint}")


def read(path: Path) -> Document:
    """Read a YAML file. Raises `UserError`, with the line, unless it is a mapping of plain values."""
    if not path.is_file():
        raise UserError(f"{path} is not a file; give a grid's YAML file, such as sweeps/ablation.yaml")
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); give a grid's YAML file") from None
    if len(raw) > MAX_BYTES:
        raise UserError(f"{path}:1: too large for a grid (over {MAX_BYTES:,} bytes); give a grid's YAML file")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: not text in UTF-8; give a grid's YAML file") from None
    values, lines = _parse(text, lambda line: f"{path}:{line}")
    if not isinstance(values, dict):
        raise UserError(f"{path}:1: not a mapping; a grid is made of blocks such as `name: ablation`")
    return Document(path, values, lines)


def value(text: str, source: str) -> Any:
    """Parse one value of the command line as YAML. Raises `UserError`, its message beginning with `source`."""
    return _parse(text, lambda line: source)[0]


def _parse(text: str, at: Callable[[int], str]) -> tuple[Any, dict[Position, int]]:
    """The value of a YAML text, and the line of every position. `at` turns a line into the start of an error."""
    try:
        loader = yaml.SafeLoader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(f"{at(line)}: character {chr(error.character)!r} is not allowed in YAML; remove it") from None
    lines: dict[Position, int] = {(): 1}

    def walk(node: yaml.Node, position: Position) -> Any:
        where = at(node.start_mark.line + 1)
        if len(lines) > MAX_VALUES:
            raise UserError(f"{where}: over {MAX_VALUES:,} values once its aliases are followed; write a smaller grid")
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            mapping: dict[str, Any] = {}
            for key_node, value_node in node.value:
                key, line = key_node.value, key_node.start_mark.line + 1
                if not isinstance(key, str) or key_node.tag != _TAG + "str":
                    shown = repr(key) if isinstance(key, str) else "this one"
                    raise UserError(f"{at(line)}: keys are plain text, and {shown} is not; quote or rename it")
                if key in mapping:
                    first = lines[(*position, key)]
                    raise UserError(f"{at(line)}: {key!r} is given here and on line {first}; keep one of them")
                lines[(*position, key)] = line
                mapping[key] = walk(value_node, (*position, key))
            return mapping
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            items = []
            for index, item in enumerate(node.value):
                lines[(*position, index)] = item.start_mark.line + 1
                items.append(walk(item, (*position, index)))
            return items
        if isinstance(node, yaml.ScalarNode) and node.tag in _SCALARS:
            return _scalar(loader, node, where)
        raise UserError(f"{where}: the tag {node.tag.replace(_TAG, '!!')} has no meaning in a grid; remove it")

    try:
        node = loader.get_single_node()
        return (None if node is None else walk(node, ())), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = loader.line + 1 if mark is None else mark.line + 1
        problem = " ".join(str(error.problem or error.context).split())
        remedy = "indent with spaces" if "'\\t'" in problem else "fix this line or the one above"
        raise UserError(f"{at(line)}: not YAML ({problem}); {remedy}") from None
    except RecursionError:
        raise UserError(f"{at(loader.line + 1)}: nested too deeply; a grid needs no more than five levels") from None
    except (ValueError, OverflowError):
        # PyYAML does not check that an escape such as "\UFFFFFFFF" is a character.
        raise UserError(
            f"{at(loader.line + 1)}: an escape sequence here is not a character; fix or remove it"
        ) from None


def _scalar(loader: yaml.SafeLoader, node: yaml.ScalarNode, where: str) -> Hashable:
    text: str = node.value
    is_number = node.tag in (_TAG + "int", _TAG + "float")
    # YAML 1.1 reads 2024-01-01 as a date and 8:00:00 in base 60. No field takes either; `time:` needs the text.
    if node.tag == _TAG + "timestamp" or (is_number and ":" in text):
        return text
    try:
        text.encode()  # a lone surrogate cannot be written to a file
        found: Hashable = loader.construct_object(node)
    except (ValueError, LookupError, AttributeError):
        kind = node.tag.removeprefix(_TAG)
        raise UserError(f"{where}: {text[:40]!r} cannot be read as {kind}; fix or quote it") from None
    if isinstance(found, int) and found.bit_length() > 64:
        raise UserError(f"{where}: a number of more than 64 bits; write a smaller one")
    return found
