"""The shards on disk: plain tars of pairs `KEY.jpg`, `KEY.json`, and `SHA256SUMS` beside them, as of `sha256sum`.

The same samples always make the same bytes. A tar is there whole or not at all, and its checksum follows at once: one
without a checksum, or with another, is no finished shard.
"""

import hashlib
import io
import json
import re
import tarfile
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .errors import UserError
from .files import atomic_open, atomic_write, file_sha256

CHECKSUMS_NAME = "SHA256SUMS"


def sample_key(path: str) -> str:
    """A sample's name in its tar: readable ASCII without dots (readers split names there), unique by a hash."""
    plain = unicodedata.normalize("NFKD", Path(path).stem).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9_]+", "-", plain.lower()).strip("-")[:60]
    return f"{slug}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"


def write_shard(file: Path, samples: Iterable[tuple[bytes, Mapping[str, Any]]]) -> str:
    """Write a shard of JPEGs and what is known about each, its `path` at least. Returns the SHA-256 of the file."""
    with atomic_open(file) as handle:
        with tarfile.open(fileobj=handle, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for jpeg, about in samples:
                key = sample_key(about["path"])
                _add(tar, f"{key}.jpg", jpeg)
                _add(tar, f"{key}.json", json.dumps(about, ensure_ascii=False).encode())
        handle.flush()
        return file_sha256(Path(handle.name))


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # owner, time and mode at their defaults: the bytes depend on the paintings alone
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def read_rows(file: Path) -> list[dict[str, Any]]:
    """The index rows of a shard, read back from it: what is in the index is what is in the tar. Raises `UserError`."""
    rows = []
    try:
        with tarfile.open(file, "r:") as tar:
            members = iter(tar)
            for image, about in zip(members, members, strict=True):
                data = tar.extractfile(image).read()  # type: ignore[union-attr]
                row = json.loads(tar.extractfile(about).read())  # type: ignore[union-attr]
                where = {"key": image.name.removesuffix(".jpg"), "shard": file.name}
                place = {
                    "offset": image.offset_data,
                    "length": image.size,
                    "sha256": hashlib.sha256(data).hexdigest(),
                }
                rows.append({**where, **place, **row})
    except (tarfile.TarError, ValueError, OSError) as error:
        raise UserError(f"{file} is broken ({error}); pack again, and it is written anew") from None
    return rows


def read_checksums(folder: Path) -> dict[str, str]:
    """The SHA-256 of each finished shard of a folder, in hex. A line that is damaged names no shard."""
    file = folder / CHECKSUMS_NAME
    lines = file.read_text("utf-8", "replace").splitlines() if file.exists() else []
    return {name: checksum for checksum, separator, name in (line.partition("  ") for line in lines) if separator}


def write_checksums(folder: Path, checksums: Mapping[str, str]) -> None:
    """Write what `read_checksums` reads; `sha256sum --check SHA256SUMS` reads it too."""
    atomic_write(folder / CHECKSUMS_NAME, "".join(f"{checksums[name]}  {name}\n" for name in sorted(checksums)))
