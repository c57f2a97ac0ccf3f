"""Parse YAML into plain values and their line numbers, so that every error can name its line.

PyYAML alone silently keeps the last of two equal keys, reads `8:00:00` as 28800, `010` as 8 and `1_0` as 10, and
expands nested aliases without limit.
"""

import difflib
import errno
import reprlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from shards.errors import UserError
from shards.files import read_bounded
from shards.numbers import is_plain

MAX_BYTES = 1_000_000
MAX_ENTRIES = 1_000
MAX_VALUES = 100_000  # aliases of aliases, and merges of merges, make a small file hold billions
MAX_DEPTH = 50

Position = tuple[str | int, ...]

_TAG = "tag:yaml.org,2002:"
_SCALARS = {_TAG + name for name in ("null", "bool", "int", "float", "str", "timestamp")}


@dataclass(frozen=True)
class Document:
    """A YAML mapping and the line of each of its entries, by position: `("exclude", 0, "seed")`.

    `written` holds how a scalar without quotes is written, as its value does not show it: `yes` is True, `.5` is 0.5.
    `text` is the whole file, as it was when it was read.
    """

    file: Path
    values: dict[str, Any]
    lines: Mapping[Position, int]
    written: Mapping[Position, str] = field(default_factory=dict)
    text: str = ""

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

    def with_dotted_keys(self, holds: Callable[[Position], bool], known: Iterable[str]) -> "Document":
        """The same with `data: {shards: x}` written as `data.shards: x` in the mappings at the positions that `holds`.

        `known` are the dotted keys. Raises `UserError` for a key that is given both ways.
        """
        sections = {key[:end] for key in known for end, letter in enumerate(key) if letter == "."}
        lines: dict[Position, int] = {(): 1}
        written: dict[Position, str] = {}

        def leaves(given: dict[str, Any], old: Position, prefix: str) -> Iterator[tuple[str, Any, Position]]:
            for key, entry in given.items():
                path, at = f"{prefix}{key}", (*old, key)
                if path not in sections or entry is None:
                    yield path, entry, at
                elif isinstance(entry, dict):
                    yield from leaves(entry, at, f"{path}.")
                else:
                    raise self.error(at, f"{path} is a section; give its keys, such as `{_example(path, known)}: ...`")

        def walk(given: Any, old: Position, new: Position) -> Any:
            if old in self.written:
                written[new] = self.written[old]
            if isinstance(given, list):
                return [enter(entry, (*old, index), (*new, index)) for index, entry in enumerate(given)]
            if not isinstance(given, dict):
                return given
            if not holds(new):
                return {key: enter(entry, (*old, key), (*new, key)) for key, entry in given.items()}
            found: dict[str, Any] = {}
            for key, entry, at in leaves(given, old, ""):
                if key in sections:
                    continue  # all of its lines are commented out
                if key in found:
                    raise self.error(at, f"{key} is given here and on line {lines[(*new, key)]}; keep one of them")
                found[key] = enter(entry, at, (*new, key))
            return found

        def enter(given: Any, old: Position, new: Position) -> Any:
            lines[new] = self.lines[old]
            return walk(given, old, new)

        return replace(self, values=walk(self.values, (), ()), lines=lines, written=written)


def _example(section: str, known: Iterable[str]) -> str:
    return next(key for key in known if key.startswith(f"{section}."))


def read(path: Path, what: str, limit: int = MAX_BYTES) -> Document:
    """Read a YAML file of at most `limit` bytes.

    Raises `UserError`, with the line, unless it is a mapping of plain values.

    `what` completes the errors: what to give instead, such as "a grid's YAML file".
    """
    try:
        if not path.is_file():
            raise UserError(f"{path} is not a file; give {what}")
        raw = read_bounded(path, limit)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise UserError(f"{path}:1: too large (over {limit:,} bytes); give {what}") from None
        raise UserError(f"{path} cannot be read ({error.strerror}); give {what}") from None
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: not text in UTF-8; give {what}") from None
    return of_text(path, text, what)


def of_text(path: Path, text: str, what: str) -> Document:
    """The document that a file with this text is. Raises `UserError` like `read`."""
    reader = _Reader(text, lambda line: f"{path}:{line}")
    values = reader.read()
    if not isinstance(values, dict):
        raise UserError(f"{path}:1: not a mapping of `key: value` lines; give {what}")
    return Document(path, values, reader.lines, reader.written, text)


def parse(text: str, source: str) -> Any:
    """Parse one value of the command line as YAML. Raises `UserError`, its message beginning with `source`."""
    return _Reader(text, lambda line: source).read()


class _Reader:
    """The value of a YAML text, with the line and the spelling of every position."""

    def __init__(self, text: str, at: Callable[[int], str]) -> None:
        """`at` turns a line into the start of an error."""
        self.lines: dict[Position, int] = {(): 1}
        self.written: dict[Position, str] = {}
        self._at = at
        self._merged: dict[int, list[tuple[yaml.Node, yaml.Node]]] = {}
        self._pairs_merged = 0
        try:
            self._loader = yaml.SafeLoader(text)
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            problem = f"character {chr(error.character)!r} is not allowed in YAML; remove it"
            raise UserError(f"{at(line)}: {problem}") from None

    def read(self) -> Any:
        """Parse the text. Raises `UserError`."""
        loader, at = self._loader, self._at
        try:
            node = loader.get_single_node()
            return None if node is None else self._walk(node, ())
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = loader.line + 1 if mark is None else mark.line + 1
            problem = " ".join(str(error.problem or error.context).split())
            remedy = "indent with spaces" if "'\\t'" in problem else "fix this line or the one above"
            raise UserError(f"{at(line)}: not YAML ({problem}); {remedy}") from None
        except RecursionError:
            raise UserError(f"{at(loader.line + 1)}: nested too deeply; write it with fewer levels") from None
        except (ValueError, OverflowError):
            # PyYAML does not check that an escape such as "\UFFFFFFFF" is a character.
            raise UserError(
                f"{at(loader.line + 1)}: an escape sequence here is not a character; fix or remove it"
            ) from None

    def _walk(self, node: yaml.Node, position: Position) -> Any:
        where = self._at(node.start_mark.line + 1)
        if len(self.lines) + self._pairs_merged > MAX_VALUES:
            raise UserError(f"{where}: over {MAX_VALUES:,} values once its aliases are followed; write fewer")
        if len(position) > MAX_DEPTH:
            raise UserError(f"{where}: nested too deeply; write it with fewer levels")
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            mapping = {}
            for key_node, value_node in self._pairs(node):
                self.lines[(*position, key_node.value)] = key_node.start_mark.line + 1
                mapping[key_node.value] = self._walk(value_node, (*position, key_node.value))
            return mapping
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            items = []
            for index, item in enumerate(node.value):
                self.lines[(*position, index)] = item.start_mark.line + 1
                items.append(self._walk(item, (*position, index)))
            return items
        if isinstance(node, yaml.ScalarNode) and node.tag in _SCALARS:
            found = _scalar(self._loader, node, where)
            if node.style is None:
                self.written[position] = node.value
            return found
        raise UserError(f"{where}: the tag {node.tag.replace(_TAG, '!!')} has no meaning here; remove it")

    def _pairs(self, node: yaml.Node) -> list[tuple[yaml.Node, yaml.Node]]:
        """The entries of a mapping. Those merged with `<<` come first, and its own take precedence over them."""
        if id(node) in self._merged:
            return self._merged[id(node)]
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key_node, value_node in node.value:
            key, line = key_node.value, key_node.start_mark.line + 1
            if key_node.tag == _TAG + "merge":
                for pair in self._merge(value_node, line):
                    merged.setdefault(pair[0].value, pair)
                continue
            if not isinstance(key, str) or key_node.tag != _TAG + "str":
                shown = repr(key) if isinstance(key, str) else "this one"
                raise UserError(f"{self._at(line)}: keys are plain text, and {shown} is not; quote or rename it")
            if key in own:
                first = own[key][0].start_mark.line + 1
                raise UserError(f"{self._at(line)}: {key!r} is given here and on line {first}; keep one of them")
            own[key] = (key_node, value_node)
        self._merged[id(node)] = list({**merged, **own}.values())
        return self._merged[id(node)]

    def _merge(self, node: yaml.Node, line: int) -> list[tuple[yaml.Node, yaml.Node]]:
        """The entries that `<<: *base` or `<<: [*one, *two]` merges; of equal keys, the first takes precedence."""
        bases = node.value if isinstance(node, yaml.SequenceNode) else [node]
        if not all(isinstance(base, yaml.MappingNode) for base in bases):
            raise UserError(f"{self._at(line)}: `<<` merges mappings; write `<<: *NAME` of a mapping marked `&NAME`")
        found = []
        for base in bases:
            found += self._pairs(base)
            self._pairs_merged += len(self._pairs(base))
            if self._pairs_merged > MAX_VALUES:
                raise UserError(
                    f"{self._at(line)}: over {MAX_VALUES:,} values once its merges are followed; write fewer"
                )
        return found


def _scalar(loader: yaml.SafeLoader, node: yaml.ScalarNode, where: str) -> Hashable:
    text: str = node.value
    # YAML 1.1 reads 2024-01-01 as a date, 8:00:00 in base 60 and 010 as 8; `time:` needs the text, no field the rest.
    if node.tag == _TAG + "timestamp" or (node.tag in (_TAG + "int", _TAG + "float") and not is_plain(text)):
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
