"""What a pickle would build, found by following its instructions on paper: nothing is imported, called or built."""

import pickletools
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

# What tensors and plain containers are built with.
_KNOWN = {"collections.OrderedDict", "collections.Counter", "_codecs.encode"} | {
    f"{module}.{name}" for module in ("__builtin__", "builtins") for name in ("dict", "list", "object", "set", "tuple")
}
_OF_TENSORS = {"torch", "torch._utils", "torch._tensor", "torch.storage", "torch.nn.parameter"}
_PICKLES = 5  # in a file of torch before 1.6: two numbers, the system, the content, the names of the storages
_MAX_BYTES = 100_000_000  # of the pickle in an archive
_DEPTH = 6  # of containers in which weights are looked for


class _Object(dict[str, Any]):
    """Anything but a text: what it is made by, if that is named, and its entries and attributes under texts."""

    made_by = ""


@dataclass(frozen=True)
class PickleScan:
    """What the instructions of pickles name and where the weights would be.

    `foreign` are the classes and functions beside those of tensors, `keys` the keys that lead to the weights,
    `is_network` whether a whole network is there instead, and `protocol` the highest protocol.
    """

    foreign: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    is_network: bool = False
    protocol: int = 0

    @property
    def has_arrays(self) -> bool:
        """Whether arrays of NumPy are in it."""
        return any(name.endswith("multiarray._reconstruct") for name in self.foreign)


def scan_archive(file: Path) -> PickleScan:
    """Scan the pickle in an archive of `torch.save`."""
    try:
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                if entry.filename.partition("/")[2] == "data.pkl" and entry.file_size <= _MAX_BYTES:
                    with archive.open(entry) as handle:
                        return _scan(handle)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError):
        pass  # it is damaged
    return PickleScan()


def scan_file(file: Path) -> PickleScan:
    """Scan a file of one pickle, or of several as torch before 1.6 wrote."""
    with file.open("rb") as handle:
        return _scan(handle)


def _scan(handle: IO[bytes]) -> PickleScan:
    machine = _Machine()
    for opcode, argument in _instructions(handle):
        try:
            machine.follow(opcode, argument)
        except (IndexError, TypeError, ValueError, AttributeError):  # its stack is wrong: damaged
            break
    foreign = [name for name in machine.names if name not in _KNOWN and name.rpartition(".")[0] not in _OF_TENSORS]
    foreign.sort(key=lambda name: name.startswith("torch."))  # what is not torch's says more
    keys, is_network = next(filter(None, map(_weights, machine.results)), ((), False))
    return PickleScan(tuple(foreign), keys, is_network, machine.protocol)


def _instructions(handle: IO[bytes]) -> Iterator[tuple[pickletools.OpcodeInfo, Any]]:
    """The instructions of a file's first pickles with their arguments, up to where it is not a pickle."""
    try:
        for _ in range(_PICKLES):
            for opcode, argument, _place in pickletools.genops(handle):
                yield opcode, argument
    except Exception:  # a damaged file can make the reader raise anything
        return


class _Machine:
    """Follows instructions with texts and `_Object` in place of all values."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}  # of classes and functions, in their order
        self.results: list[Any] = []
        self.protocol = 0
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def follow(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        """Follow one instruction."""
        stack, name = self._stack, opcode.name
        if isinstance(argument, str) and name in ("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE"):
            stack.append(argument)
        elif name == "PROTO":
            self.protocol = max(self.protocol, argument)
        elif name == "STOP":
            self.results.append(stack.pop())
            stack.clear()
            self._memo.clear()
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name == "GLOBAL":
            stack.append(self._named(argument.replace(" ", ".")))
        elif name == "STACK_GLOBAL":
            last = stack.pop()
            stack.append(self._named(f"{stack.pop()}.{last}"))
        elif name in ("SETITEM", "BUILD", "REDUCE", "NEWOBJ", "SETITEMS"):
            self._fill(name)
        else:
            self._pass(opcode, argument)

    def _named(self, name: str) -> _Object:
        self.names[name] = None
        found = _Object()
        found.made_by = name
        return found

    def _fill(self, name: str) -> None:
        """The instructions that make an object or put something into it."""
        stack = self._stack
        if name in ("REDUCE", "NEWOBJ"):
            stack.pop()
            made = _Object()
            made.made_by = stack.pop().made_by
            stack.append(made)
        elif name == "BUILD":
            attributes = stack.pop()
            if isinstance(attributes, _Object) and isinstance(stack[-1], _Object):
                stack[-1].update(attributes)
        else:
            entries = self._from_mark() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
            for key, value in zip(entries[::2], entries[1::2], strict=True):
                if isinstance(key, str):
                    stack[-1][key] = value

    def _pass(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        """Any other instruction: take from the stack what it takes, and put as much there as it puts."""
        if opcode.name == "INST":
            self.names[argument.replace(" ", ".")] = None
        if opcode.name == "MARK":
            self._stack.append(None)
            return
        if pickletools.markobject in opcode.stack_before:
            self._from_mark()
            taken = opcode.stack_before.index(pickletools.markobject)
        else:
            taken = len(opcode.stack_before)
        del self._stack[len(self._stack) - taken :]
        self._stack += [_Object() for _ in opcode.stack_after]

    def _from_mark(self) -> list[Any]:
        """Take what is above the last mark, and the mark."""
        place = len(self._stack) - 1 - self._stack[::-1].index(None)
        taken = self._stack[place + 1 :]
        del self._stack[place:]
        return taken


def _weights(found: Any, depth: int = _DEPTH) -> tuple[tuple[str, ...], bool] | None:
    """The keys that lead to the first weights in an object, and whether they are a network's; None without any."""
    if not isinstance(found, _Object):
        return None
    if "_parameters" in found and "_modules" in found:
        return (), True
    if any(key.endswith((".weight", ".bias")) for key in found):
        return (), False
    inner = ((key, _weights(value, depth - 1)) for key, value in found.items() if depth)
    return next((((key, *keys), is_network) for key, place in inner if place for keys, is_network in [place]), None)
