"""Read files of weights, of this project or of others, without executing code from them.

What `torch.save` and safetensors write is read. Of everything else, the message says what the file is, as far as its
first bytes, its list of contents or its name tell, and what to do.
"""

import re
import shlex
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from shards.errors import UserError
from shards.files import open_regular

from .. import checkpoint
from .pickle_scan import PickleScan, scan_archive, scan_file

_GIVE = "give a checkpoint of PyTorch or safetensors"
_AGAIN = "download or copy it again"
_HEAD = 1024  # bytes that tell what a file is
_SAFETENSORS_HEADER = 100_000_000  # bytes, the format's own limit

_WEB_PAGE = re.compile(rb"\s*<(!doctype html|html|head|body|!--|\?xml|error)", re.IGNORECASE)
_TORCH = torch.serialization.MAGIC_NUMBER.to_bytes(10, "little")  # of files from before torch 1.6
_LFS = b"version https://git-lfs.github.com/spec/"
_OTHERS = [
    (b"\x89HDF\r\n\x1a\n", f"is an HDF5 file, as Keras and TensorFlow write; {_GIVE}"),
    (b"\x93NUMPY", f"is an array of NumPy; {_GIVE}"),
    (b"GGUF", f"is a GGUF file; {_GIVE}"),
    (b"\x89PNG", f"is a picture; {_GIVE}"),
    (b"\xff\xd8\xff", f"is a picture; {_GIVE}"),
    (b"%PDF", f"is a PDF; {_GIVE}"),
    (b"\x1f\x8b", "is compressed with gzip; unpack it and give the file in it"),
    (b"BZh", "is compressed with bzip2; unpack it and give the file in it"),
    (b"\xfd7zXZ\0", "is compressed with xz; unpack it and give the file in it"),
    (b"\x28\xb5\x2f\xfd", "is compressed with Zstandard; unpack it and give the file in it"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive; unpack it and give the file in it"),
    (b"Rar!", "is a RAR archive; unpack it and give the file in it"),
]
_SUFFIXES = {
    ".onnx": "an ONNX file",
    ".h5": "a file of Keras",
    ".hdf5": "a file of Keras",
    ".keras": "a file of Keras",
    ".pb": "a graph of TensorFlow",
    ".tflite": "a file of TensorFlow Lite",
    ".index": "a checkpoint of TensorFlow",
    ".meta": "a checkpoint of TensorFlow",
    ".msgpack": "a checkpoint of Flax",
    ".params": "a file of MXNet",
    ".pdparams": "a file of PaddlePaddle",
    ".caffemodel": "a file of Caffe",
    ".mlmodel": "a file of Core ML",
    ".engine": "an engine of TensorRT",
}


def read(file: Path) -> Any:
    """What a file of `torch.save` or safetensors holds, on the CPU: tensors and plain values, never code.

    Raises `UserError` if it cannot be read, is something else or is damaged, or holds objects of other classes.
    """
    try:
        with open_regular(file) as handle:
            head = handle.read(_HEAD)
        if reason := _other(file, head):
            raise UserError(f"{file} {reason}")
        if _is_safetensors(head):
            return _read_safetensors(file)
    except FileNotFoundError:
        raise UserError(f"{file} does not exist; give an existing checkpoint") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}); give the file of a checkpoint") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the version that wrote the file
            return checkpoint.load(file, torch.device("cpu"), require_checksum=False)
    except checkpoint.BrokenError as error:
        raise UserError(_refusal(file, head, str(error))) from None


def _other(file: Path, head: bytes) -> str | None:
    """What a file is that holds no weights which can be read, and what to do; None if it may hold them."""
    if not head:
        return f"is empty; {_AGAIN}"
    if not head.strip(b"\0"):
        return f"begins with zeros alone, as when a copy was interrupted; {_AGAIN}"
    if head.startswith(_LFS):
        return "is a pointer of Git LFS, not the weights themselves; run git lfs pull where it was cloned"
    if _WEB_PAGE.match(head):
        return "is a web page (HTML or XML), not weights, as some servers send in place of a file; download it again"
    for begins, reason in _OTHERS:
        if head.startswith(begins):
            return reason
    if head.startswith(b"PK\x03\x04"):
        return _other_archive(file)
    if head[257:262] == b"ustar":
        return "is a tar archive; unpack it and give the checkpoint in it"
    if head[4:8] == b"TFL3":
        return f"is a file of TensorFlow Lite; {_GIVE}"
    if head[:1] == b"\x08" and head[2:3] in (b"\x12", b"\x1a"):  # the fields of an ONNX model: version and producer
        return f"is an ONNX file; {_GIVE}"
    return _other_text(head)


def _other_archive(file: Path) -> str | None:
    """As `_other`, for a zip archive."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return None  # torch says what is wrong with it
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        network = f'torch.jit.load("{file}").state_dict()'
        return f'is a TorchScript archive; save its weights alone: torch.save({network}, "weights.pth")'
    if "data.pkl" in inner:
        return None
    if "archive_format" in inner or "serialized_exported_program.json" in names:
        return "is a program of torch.export; save the weights of its network: torch.save(model.state_dict(), ...)"
    if names and all(name.endswith(".npy") for name in names):
        return f"is an archive of NumPy (.npz); {_GIVE}"
    if "config.json" in names and "metadata.json" in names:
        return f"is a file of Keras; {_GIVE}"
    holds = f", which holds {names[0]}" if names else ""
    return f"is a zip archive that torch.save did not write{holds}; unpack it and give the checkpoint in it"


def _other_text(head: bytes) -> str | None:
    """As `_other`, for text: a note of a server, an index of weights, a configuration."""
    try:
        text = head.decode("ascii")
    except UnicodeDecodeError:
        return None
    if not all(letter.isprintable() or letter in "\r\n\t" for letter in text):
        return None
    if '"weight_map"' in text:
        return "is an index of weights in several files, not the weights themselves; give one file with all of them"
    return f"is text that begins with {' '.join(text.split())[:60]!r}, not weights; {_AGAIN}, or {_GIVE}"


def _is_safetensors(head: bytes) -> bool:
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _SAFETENSORS_HEADER


def _read_safetensors(file: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except (SafetensorError, ValueError, KeyError) as error:
        raise UserError(f"{file} is broken ({_line(error)}); {_AGAIN}") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _refusal(file: Path, head: bytes, broken: str) -> str:
    """Why a file is refused that torch does not read: the objects in it, what wrote it, or its damage."""
    if head.startswith(b"PK\x03\x04"):
        if not zipfile.is_zipfile(file):
            return f"{file} is broken (it is cut short); {_AGAIN}"
        found = scan_archive(file)
    else:
        found = scan_file(file)
    refused = re.search(r"GLOBAL (\S+) was not an allowed global", broken)
    if refused and not found.foreign:
        found = replace(found, foreign=(refused[1],))
    if found.foreign or found.protocol > 2:
        return f"{file} {_saved_otherwise(file, head, found)}"
    if _is_old_torch(head):
        return f"{file} is broken (it is cut short or damaged); {_AGAIN}"
    if written := _SUFFIXES.get(file.suffix.lower()):
        return f"{file} is {written}; {_GIVE}"
    return f"{broken}; give an intact checkpoint that holds only tensors and plain values"


def _saved_otherwise(file: Path, head: bytes, found: PickleScan) -> str:
    """What is in a file beside tensors and plain values, and the command that saves its weights alone."""
    is_torch = head.startswith(b"PK") or _is_old_torch(head)
    loaded = f'torch.load("{file}", weights_only=False)' if is_torch else f'pickle.load(open("{file}", "rb"))'
    weights = loaded + "".join(f'["{key}"]' for key in found.keys)
    if found.has_arrays:
        weights = f"{{name: torch.as_tensor(value) for name, value in {weights}.items()}}"
    if found.is_network:
        weights = f"{weights}.state_dict()"
    if found.is_network:
        what = f"holds a whole network ({found.foreign[0]}) instead of its weights"
    elif found.foreign:
        names = ", ".join(found.foreign[:3]) + ", ..." * (len(found.foreign) > 3)
        what = f"holds more than tensors and plain values ({names})"
    else:
        what = f"is written in pickle's protocol {found.protocol}"
    command = shlex.quote(f'import {"torch" if is_torch else "pickle, torch"}; torch.save({weights}, "weights.pth")')
    return (
        f"{what}, and reading that can execute code; give a checkpoint that holds only tensors and plain values: "
        f"if you trust the file, python -c {command} makes one"
    )


def _is_old_torch(head: bytes) -> bool:
    return _TORCH in head[:24]
