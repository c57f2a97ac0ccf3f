"""Shards that are named by a URL: brought once into a folder of this machine, and from then on read from there.

`https://`, `s3://` (with the extra `s3`) and whatever else fsspec knows. The copies lie in
`$ARTNET_CACHE/shards/` (default: `~/.cache/artnet`), a folder for each URL, in it one for each index it has had:

    ADDRESS/index.parquet            the index as it was last fetched
    ADDRESS/CONTENT/wikiart-*.tar    whole, and of the checksum that the index promises
    ADDRESS/CONTENT/index.parquet    written last: where it is, the copy is complete; its time is that of its last use
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

STALLED_S = 30.0  # without a byte: the transfer is given up, and tried again
WAITS_S = (0.5, 1.0, 2.0, 4.0)  # before the second, third, ... try

# Names come from the other side and become files here: nothing that leads elsewhere, hides or is the index.
_SHARD_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*\.tar")
_SECRET = re.compile(r"://[^/]*:[^/]*@|[?#]")

Result = TypeVar("Result")


class _FailedError(Exception):
    """Something could not be fetched, however often it was tried; says why."""


def local_folder(shards: str | Path) -> Path:
    """The folder of this machine that holds the shards: the given one, or a complete copy of what the URL names.

    The index is always asked for, so a data set that has changed is brought anew, beside the old copy, which others
    may still be reading. If it cannot be had, the copy last used will do, with a warning on stderr. Any number of
    processes may call this at once: one fetches, the others wait for it. Raises `UserError` if there is no copy.
    """
    if not is_url(shards):
        return Path(shards)
    url = str(shards).rstrip("/")
    fs, path = _file_system(url)
    root = os.environ.get("ARTNET_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "artnet")
    home = Path(root, "shards", hashlib.sha256(url.encode()).hexdigest()[:16]).resolve()
    asked = time.time()
    with locked_patiently(home / ".lock", f"another process is bringing {url} to {home}"):
        remove_leftovers(home)
        last = max(home.glob(f"*/{INDEX_NAME}"), key=lambda file: file.stat().st_mtime, default=None)
        # Ranks that waited for the first one must not each wait for a server that is gone, or see another index.
        if last and last.stat().st_mtime >= asked:
            return last.parent
        try:
            content = _patiently(_fetch_index, fs, f"{path}/{INDEX_NAME}", home)
        except _FailedError as error:
            if last is None:
                raise _cannot(url, INDEX_NAME, home, error) from None
            print(f"warning: {url} is out of reach ({error}); the copy in {last.parent} is used", file=sys.stderr)
            folder = last.parent
        else:
            _bring(url, fs, path, content, folder := home / hashlib.sha256(content).hexdigest()[:16])
        os.utime(folder / INDEX_NAME, (time.time(),) * 2)
        return folder


def _file_system(url: str) -> tuple[Any, str]:
    """The file system of a URL and the folder's name in it. Raises `UserError` without ever showing a password."""
    if _SECRET.search(url):
        shown = re.split("[?#]", url)[0].rpartition("@")[2]
        raise UserError(
            f"the URL of {shown} holds a password or a query, which would be written into every run; "
            "give it without, and the password in ~/.netrc or as the storage's own tools take it"
        )
    options: dict[str, Any] = {}
    try:
        if url.startswith(("http://", "https://")):
            import aiohttp  # half a second that local folders do not need

            timeout = aiohttp.ClientTimeout(total=None, sock_connect=STALLED_S, sock_read=STALLED_S)
            options["client_kwargs"] = {"timeout": timeout, "trust_env": True}  # the proxies and ~/.netrc of clusters
        fs, path = url_to_fs(url, **options)
    except (ValueError, ImportError) as error:
        raise UserError(f"{url} cannot be read ({error}); install what it needs, or give another URL") from None
    return fs, path.rstrip("/")


def _bring(url: str, fs: Any, path: str, content: bytes, folder: Path) -> None:
    """Fetch every shard that the index (`content`) names and `folder` lacks whole, then write the index there, too."""
    index = read_index(folder.parent)
    for name in {*index.checksums, *index.table["shard"].to_pylist()}:
        if not _SHARD_NAME.fullmatch(str(name)) or name not in index.checksums:
            raise UserError(f"{url}/{INDEX_NAME} names the shard {name!r}, no file name with a checksum; do not use it")
    with progress(f"bringing {url} here, shards", len(index.checksums)) as advance:
        for name, checksum in index.checksums.items():
            # Of old copies too: a disk may have damaged them.
            if not (folder / name).exists() or file_sha256(folder / name) != checksum:
                try:
                    _patiently(_fetch, fs, f"{path}/{name}", folder / name, checksum)
                except _FailedError as error:
                    raise _cannot(url, name, folder, error) from None
            advance()
    atomic_write(folder / INDEX_NAME, content)


def _fetch_index(fs: Any, remote: str, home: Path) -> bytes:
    """The index's bytes, left in `home` too; read there once, as what arrives broken is fetched again."""
    content: bytes = fs.cat_file(remote)
    atomic_write(home / INDEX_NAME, content)
    read_index(home)
    return content


def _fetch(fs: Any, remote: str, file: Path, checksum: str) -> None:
    with atomic_open(file) as temporary:
        fs.get_file(remote, temporary.name)
        if file_sha256(Path(temporary.name)) != checksum:
            raise ValueError("its bytes are not those of the checksum in the index")


def _patiently(action: Callable[..., Result], *arguments: Any) -> Result:
    """What `action` returns, tried again where that may help. Every file system has errors of its own: all count."""
    waits = iter(WAITS_S)
    while True:
        try:
            return action(*arguments)
        except Exception as error:
            wait_s = next(waits, None)
            status = getattr(error, "status", 0)  # HTTP's
            hopeless = isinstance(error, FileNotFoundError | PermissionError) or status in (400, 401, 403, 410)
            full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
            if wait_s is None or hopeless or full:
                reason = "not found" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())
                raise _FailedError(reason or type(error).__name__) from error
        time.sleep(wait_s)


def _cannot(url: str, name: str, folder: Path, error: _FailedError) -> UserError:
    return UserError(f"{url}/{name} cannot be brought to {folder} ({error}); mend that and try again: shards stay")
