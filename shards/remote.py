"""Shards that are given as a URL: downloaded once into a cache on this machine, and then read from there.

The cache is `$ARTNET_CACHE/shards/` (default: `~/.cache/artnet/shards/`), and can be shared. It has a folder per URL,
and in it a folder per version of the index, named by the SHA-256 of the index:

    ADDRESS/.answer                  the version that the server, when last asked, had
    ADDRESS/index.parquet            the index as last downloaded
    ADDRESS/CONTENT/wikiart-*.tar    complete, with the checksum that is in the index
    ADDRESS/CONTENT/index.parquet    written last: where it exists, the copy is complete

Whoever may write the cache is trusted only while the server cannot be reached: otherwise the server's index decides,
and all tars are compared with its checksums.
"""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from fsspec.core import url_to_fs

from .errors import UserError
from .files import (
    atomic_open,
    atomic_write,
    file_sha256,
    is_url,
    read_bounded,
    remove_leftovers,
)  # fmt: skip
from .index import INDEX_NAME, Index, read_index
from .locks import locked_patiently
from .progress import progress
from .urls import check_url

ANSWER = ".answer"  # a version and a random number
STALL_TIMEOUT_S = 30.0  # a transfer that receives nothing for so long is retried
RETRY_WAITS_S = (0.5, 1.0, 2.0, 4.0)  # before the second, third, ... try

# The server chooses these names, and they become files here: no other folders, no hidden files, not the index.
_SHARD_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*\.tar")
_VERSION = re.compile(r"[0-9a-f]{16}|[0-9a-f]{64}")

Result = TypeVar("Result")


class _FailedError(Exception):
    """A download failed after all retries. The message is the reason."""


def cache_folder() -> Path:
    """The folder of all that is kept to save time: `$ARTNET_CACHE`, by default `~/.cache/artnet`."""
    if root := os.environ.get("ARTNET_CACHE"):
        return Path(root)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "artnet")
    except RuntimeError:
        raise UserError("this user has no home folder; set ARTNET_CACHE to a folder that can be written") from None


def local_folder(shards: str | Path) -> Path:
    """Return a local folder with the shards: `shards` itself, or if it is a URL, a complete copy of it in the cache.

    The index is downloaded each time. If the data set has changed, it is downloaded next to the old copy, which other
    processes may be reading. If the server cannot be reached, the copy used last is returned, with a warning on
    stderr. Any number of processes may call this at once: one downloads, the others wait for it. A cache that cannot
    be written is used if it has a complete copy.

    Raises `UserError` if the download fails and there is no copy, if the URL is not allowed (`check_url`), or if
    anybody may change the cache.
    """
    if not is_url(shards):
        return Path(shards)
    url = str(shards).rstrip("/")
    check_url(url)
    root = Path(os.path.realpath(cache_folder() / "shards"))
    home = root / hashlib.sha256(url.encode()).hexdigest()[:16]
    try:
        asked = _answer(home)
        _check_writers(root, home)
        fs, path = _file_system(url)
        if not _is_writable(root, home):
            return _read_only(url, fs, path, home)
        with locked_patiently(home / ".lock", f"another process is downloading {url} to {home}"):
            _check_writers(root, home)
            remove_leftovers(home)
            # Ranks that waited for the first one must not each wait for a dead server, or get a newer index.
            if (now := _answer(home)) != asked and (folder := _version(home, now)):
                return folder
            folder = _download(url, fs, path, home)
            with contextlib.suppress(OSError):  # on a full disk, the server is asked again
                atomic_write(home / ANSWER, f"{folder.name} {secrets.token_hex(8)}\n")
            return folder
    except OSError as error:
        raise UserError(
            f"{error.filename or home} cannot be used for the copy of {url} ({error.strerror or error}); "
            "fix that, or set ARTNET_CACHE to a folder that can be written"
        ) from None


def _is_writable(root: Path, home: Path) -> bool:
    """Whether this process can write the cache of a URL, which is created if it does not exist."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        home.mkdir(mode=0o775, exist_ok=True)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        return False
    return os.access(home, os.W_OK)


def _download(url: str, fs: Any, path: str, home: Path) -> Path:
    """The copy of what the server has now, downloaded if needed, or the last copy if the server cannot be reached."""
    last = _last(home)
    try:
        content = _with_retries(_download_index, fs, f"{path}/{INDEX_NAME}", home)
    except _FailedError as error:
        if last is None:
            raise _download_error(url, INDEX_NAME, home, error) from None
        _warn_unreachable(url, error, last)
        return last
    folder = _version(home, _digest(content)) or home / _digest(content)
    _download_shards(url, fs, path, content, folder)
    return folder


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _answer(home: Path) -> str:
    """What is noted of the last time the server was asked; another text each time, and empty if there is none."""
    try:
        return read_bounded(home / ANSWER, 200).decode("ascii", "replace")
    except OSError:
        return ""


def _version(home: Path, answer: str) -> Path | None:
    """The complete copy that an answer, or the digest of an index, names; None if there is none."""
    name = answer.partition(" ")[0].strip()
    if not _VERSION.fullmatch(name):
        return None
    # The first versions of this module used 16 digits.
    return next((home / name[:digits] for digits in (64, 16) if (home / name[:digits] / INDEX_NAME).is_file()), None)


def _last(home: Path) -> Path | None:
    """The complete copy that was used last; None if there is none."""
    copies = [file for file in home.glob(f"*/{INDEX_NAME}") if _VERSION.fullmatch(file.parent.name)]
    newest = max(copies, key=lambda file: file.stat().st_mtime, default=None)
    return _version(home, _answer(home)) or (newest.parent if newest else None)


def _check_writers(root: Path, home: Path) -> None:
    """Raise `UserError` if anybody on this machine may change the copies, or somebody made them where anybody can."""
    for folder in (root, home, *home.glob("*/")):
        with contextlib.suppress(FileNotFoundError):
            found = folder.stat()
            is_open = bool(found.st_mode & stat.S_IWOTH)
            if folder == root:
                is_public = is_open
            elif is_open or (is_public and found.st_uid not in (0, os.getuid())):
                raise UserError(
                    f"{folder} can be written, or was made, by any user of this machine; "
                    f"remove it, or set ARTNET_CACHE to a folder that only your group can write"
                )


def _read_only(url: str, fs: Any, path: str, home: Path) -> Path:
    """The complete copy in a cache that this process may not write."""
    try:
        content = _with_retries(fs.cat_file, f"{path}/{INDEX_NAME}")
    except _FailedError as error:
        if (folder := _last(home)) is None:
            raise _download_error(url, INDEX_NAME, home, error) from None
        _warn_unreachable(url, error, folder)
        return folder
    folder = _version(home, _digest(content))
    advice = "have its owner download it again, or set ARTNET_CACHE to a folder of your own"
    if folder is None:
        raise UserError(f"{home} holds no complete copy of {url} and cannot be written; {advice}")
    index = read_index(folder)
    _check_names(url, index)
    is_right = file_sha256(folder / INDEX_NAME) == _digest(content)
    with progress(f"comparing shards in {folder} with their checksums", len(index.checksums)) as advance:
        for name, checksum in index.checksums.items():
            is_right = is_right and _is_intact(folder / name, checksum)
            advance()
    if not is_right:
        raise UserError(f"{folder} holds other shards than {url} and cannot be written; {advice}")
    return folder


def _is_intact(shard: Path, checksum: str) -> bool:
    """Whether a shard is there as it was packed. Old copies are checked too: a disk may have damaged them."""
    return shard.is_file() and file_sha256(shard) == checksum


def _check_names(url: str, index: Index) -> None:
    for name in {*index.checksums, *index.table["shard"].to_pylist()}:
        if not _SHARD_NAME.fullmatch(str(name)) or name not in index.checksums:
            raise UserError(f"{url}/{INDEX_NAME} names an unsafe shard, {name!r}; do not use this data set")


def _warn_unreachable(url: str, error: Exception, folder: Path) -> None:
    print(f"warning: {url} cannot be reached ({error}); using the copy in {folder}", file=sys.stderr)


def _file_system(url: str) -> tuple[Any, str]:
    """Return the file system of a URL and the folder's path in it."""
    options: dict[str, Any] = {}
    try:
        if url.lower().startswith(("http://", "https://")):
            import aiohttp  # here, as it takes half a second that local folders do not need

            timeout = aiohttp.ClientTimeout(total=None, sock_connect=STALL_TIMEOUT_S, sock_read=STALL_TIMEOUT_S)
            options["client_kwargs"] = {"timeout": timeout, "trust_env": True}  # for proxies and ~/.netrc
        fs, path = url_to_fs(url, **options)
    except (ValueError, ImportError) as error:
        raise UserError(f"{url} cannot be read ({error}); install the missing package or give another URL") from None
    return fs, path.rstrip("/")


def _download_shards(url: str, fs: Any, path: str, content: bytes, folder: Path) -> None:
    """Download the shards of the index (`content`) that are not intact in `folder`, then write the index there."""
    index = read_index(folder.parent)
    _check_names(url, index)
    folder.mkdir(mode=0o775, exist_ok=True)
    with progress(f"downloading shards of {url}", len(index.checksums)) as advance:
        for name, checksum in index.checksums.items():
            if not _is_intact(folder / name, checksum):
                try:
                    _with_retries(_download_shard, fs, f"{path}/{name}", folder / name, checksum)
                except _FailedError as error:
                    raise _download_error(url, name, folder, error) from None
            advance()
    atomic_write(folder / INDEX_NAME, content)


def _download_index(fs: Any, remote: str, home: Path) -> bytes:
    """Download the index to `home` and return its bytes. Reads it once, as a broken download is to be retried."""
    content: bytes = fs.cat_file(remote)
    atomic_write(home / INDEX_NAME, content)
    read_index(home)
    return content


def _download_shard(fs: Any, remote: str, file: Path, checksum: str) -> None:
    with atomic_open(file) as temporary:
        fs.get_file(remote, temporary.name)
        if file_sha256(Path(temporary.name)) != checksum:
            raise ValueError("its checksum is not the one in the index")


def _with_retries(action: Callable[..., Result], *arguments: Any) -> Result:
    """Return what `action` returns; retry on any exception, as each file system has its own, unless it is permanent.

    Raises `_FailedError` after the last try.
    """
    waits = iter(RETRY_WAITS_S)
    while True:
        try:
            return action(*arguments)
        except Exception as error:
            wait_s = next(waits, None)
            status = getattr(error, "status", 0)  # of HTTP
            permanent = isinstance(error, FileNotFoundError | PermissionError) or status in (400, 401, 403, 410)
            full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
            if wait_s is None or permanent or full:
                reason = "not found" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())
                raise _FailedError(reason or type(error).__name__) from error
        time.sleep(wait_s)


def _download_error(url: str, name: str, folder: Path, error: _FailedError) -> UserError:
    return UserError(
        f"{url}/{name} cannot be downloaded to {folder} ({error}); fix that and try again: finished shards are kept"
    )
