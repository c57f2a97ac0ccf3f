"""The shards on disk: plain tars of pairs `KEY.jpg`, `KEY.json`, and their checksums in `SHA256SUMS`.

The same samples always give the same bytes. A tar is written completely or not at all, and its checksum right after
it: a tar without a checksum, or with a different one, is not a finished shard.
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
    """Return a sample's name in its tar: readable ASCII, unique by a hash, without dots, where readers split names."""
    plain = unicodedata.normalize("NFKD", Path(path).stem).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9_]+", "-", plain.lower()).strip("-")[:60]
    return f"{slug}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"


def write_shard(file: Path, samples: Iterable[tuple[bytes, Mapping[str, Any]]]) -> str:
    """Write a shard and return the SHA-256 of its file, in hex.

    `samples` are pairs of JPEG bytes and a mapping for the JSON file, which has at least the key `path`.
    """
    with atomic_open(file) as handle:
        with tarfile.open(fileobj=handle, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for jpeg, about in samples:
                key = sample_key(about["path"])
                _add(tar, f"{key}.jpg", jpeg)
                _add(tar, f"{key}.json", json.dumps(about, ensure_ascii=False).encode())
        handle.flush()
        return file_sha256(Path(handle.name))


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # default owner, time and mode, so that the bytes depend on the paintings only
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def read_rows(file: Path) -> list[dict[str, Any]]:
    """Read the index rows of a shard back from its tar, so that the index says what is in the tar.

    Raises `UserError` if the tar is broken.
    """
    rows = []
    try:
        with tarfile.open(file, "r:") as tar:
            members = iter(tar)
            for image, about in zip(members, members, strict=True):
                data = tar.extractfile(image).read()  # type: ignore[union-attr]
                row = json.loads(tar.extractfile(about).read())  # type: ignore[union-attr]
                if isinstance(row["phash"], str):  # of version 5 of `pack.json`; before, it was a number
                    row["phash"] = int(row["phash"], 16)
                where = {"key": image.name.removesuffix(".jpg"), "shard": file.name}
                place = {
                    "offset": image.offset_data,
                    "length": image.size,
                    "sha256": hashlib.sha256(data).hexdigest(),
                }
                rows.append({**where, **place, **row})
    except (tarfile.TarError, ValueError, LookupError, TypeError, OSError) as error:
        raise UserError(f"{file} is broken ({error}); pack again to rewrite it") from None
    return rows


def read_image(folder: Path, row: Mapping[str, Any]) -> bytes:
    """The encoded image of a row of the index."""
    with (folder / row["shard"]).open("rb") as tar:
        tar.seek(row["offset"])
        image: bytes = tar.read(row["length"])
    return image


def read_checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each finished shard of a folder, in hex, by file name. Damaged lines are skipped."""
    file = folder / CHECKSUMS_NAME
    lines = file.read_text("utf-8", "replace").splitlines() if file.exists() else []
    return {name: checksum for checksum, separator, name in (line.partition("  ") for line in lines) if separator}


def write_checksums(folder: Path, checksums: Mapping[str, str]) -> None:
    """Write the checksums in the format of `sha256sum`, whose `--check` option reads it too."""
    atomic_write(folder / CHECKSUMS_NAME, "".join(f"{checksums[name]}  {name}\n" for name in sorted(checksums)))
