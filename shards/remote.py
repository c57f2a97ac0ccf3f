"""Shards that are given as a URL: downloaded once into a cache on this machine, and then read from there.

`https://`, `s3://` (with the extra `s3`) and everything else that fsspec supports. The cache is `$ARTNET_CACHE/shards/`
(default: `~/.cache/artnet/shards/`). It has a folder per URL, and in it a folder per version of the index:

    ADDRESS/index.parquet            the index as last downloaded
    ADDRESS/CONTENT/wikiart-*.tar    complete, with the checksum that is in the index
    ADDRESS/CONTENT/index.parquet    written last: where it exists, the copy is complete; its mtime is the last use
"""

import errno
import hashlib
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from fsspec.core import url_to_fs

from .errors import UserError
from .files import atomic_open, atomic_write, file_sha256, is_url, locked_patiently, remove_leftovers
from .index import INDEX_NAME, read_index
from .progress import progress

STALL_TIMEOUT_S = 30.0  # a transfer that receives nothing for so long is retried
RETRY_WAITS_S = (0.5, 1.0, 2.0, 4.0)  # before the second, third, ... try

# The server chooses these names, and they become files here: no other folders, no hidden files, not the index.
_SHARD_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*\.tar")
_SECRET = re.compile(r"://[^/]*:[^/]*@|[?#]")

Result = TypeVar("Result")


class _FailedError(Exception):
    """A download failed after all retries. The message is the reason."""


def cache_folder() -> Path:
    """The folder of all that is kept to save time: `$ARTNET_CACHE`, by default `~/.cache/artnet`."""
    root = os.environ.get("ARTNET_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "artnet")
    return Path(root)


def local_folder(shards: str | Path) -> Path:
    """Return a local folder with the shards: `shards` itself, or if it is a URL, a complete copy of it in the cache.

    The index is downloaded each time. If the data set has changed, it is downloaded next to the old copy, which other
    processes may be reading. If the server cannot be reached, the copy used last is returned, with a warning on
    stderr. Any number of processes may call this at once: one downloads, the others wait for it.

    Raises `UserError` if the download fails and there is no copy, or if the URL holds a password.
    """
    if not is_url(shards):
        return Path(shards)
    url = str(shards).rstrip("/")
    fs, path = _file_system(url)
    home = Path(cache_folder(), "shards", hashlib.sha256(url.encode()).hexdigest()[:16]).resolve()
    called = time.time()
    with locked_patiently(home / ".lock", f"another process is downloading {url} to {home}"):
        remove_leftovers(home)
        last = max(home.glob(f"*/{INDEX_NAME}"), key=lambda file: file.stat().st_mtime, default=None)
        # Ranks that waited for the first one must not each wait for a dead server, or get a newer index.
        if last and last.stat().st_mtime >= called:
            return last.parent
        try:
            content = _with_retries(_download_index, fs, f"{path}/{INDEX_NAME}", home)
        except _FailedError as error:
            if last is None:
                raise _download_error(url, INDEX_NAME, home, error) from None
            print(f"warning: {url} cannot be reached ({error}); using the copy in {last.parent}", file=sys.stderr)
            folder = last.parent
        else:
            _download_shards(url, fs, path, content, folder := home / hashlib.sha256(content).hexdigest()[:16])
        os.utime(folder / INDEX_NAME, (time.time(),) * 2)
        return folder


def _file_system(url: str) -> tuple[Any, str]:
    """Return the file system of a URL and the folder's path in it. Raises `UserError`, never showing a password."""
    if _SECRET.search(url):
        shown = re.split("[?#]", url)[0].rpartition("@")[2]
        raise UserError(
            f"the URL of {shown} holds a password or a query, which would be written into every run; "
            "give the URL without it, and the password in ~/.netrc or in the settings of the storage's own tools"
        )
    options: dict[str, Any] = {}
    try:
        if url.startswith(("http://", "https://")):
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
    for name in {*index.checksums, *index.table["shard"].to_pylist()}:
        if not _SHARD_NAME.fullmatch(str(name)) or name not in index.checksums:
            raise UserError(f"{url}/{INDEX_NAME} names an unsafe shard, {name!r}; do not use this data set")
    with progress(f"downloading shards of {url}", len(index.checksums)) as advance:
        for name, checksum in index.checksums.items():
            # Old copies are checked too: a disk may have damaged them.
            if not (folder / name).exists() or file_sha256(folder / name) != checksum:
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
