"""Locks on the GPUs of this machine, which all launchers of a user respect, whatever their sweeps."""

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from shards.errors import UserError
from shards.files import open_log, read_bounded

from .locks import claim


class GpuLocks:
    """Files that are locked while a run uses a GPU, in a folder that only this user can open.

    A training inherits the locks of its GPUs and holds them until it ends, also without its launcher. A GPU is known by
    its name in CUDA_VISIBLE_DEVICES. `runs_per_gpu` runs share one, with others of which as many may do so.
    """

    def __init__(self, runs_per_gpu: int = 1, folder: Path | None = None) -> None:
        self._runs_per_gpu = runs_per_gpu
        self._folder = folder or Path(tempfile.gettempdir(), f"artnet-{os.getuid()}")

    def claim(self, gpus: Sequence[str], run: str) -> list[int] | None:
        """Lock these GPUs for a run. Returns the descriptors of the locks; None if one of the GPUs is in use.

        Raises `UserError` if the folder is not this user's, or files in it cannot be locked.
        """
        self._check_folder()
        with contextlib.ExitStack() as stack:
            held: list[int] = []
            for gpu in gpus:
                for found in self._claims(gpu):
                    if found is None:
                        return None
                    held.append(found)
                    stack.callback(os.close, found)
                with contextlib.suppress(OSError, UserError), open_log(self._file(gpu)) as file:  # on a full disk
                    file.truncate(0)
                    file.write(os.fsencode(run))
            stack.pop_all()
            return held

    def user(self, gpu: str) -> str:
        """The run that uses a GPU, as `claim` was told; empty if that is not known."""
        try:
            return read_bounded(self._file(gpu), 10_000).decode(errors="replace")
        except OSError:
            return ""

    def _claims(self, gpu: str) -> Iterator[int | None]:
        """The locks that a run needs: the GPU for itself, or a share of those that share it."""
        file, is_shared = self._file(gpu), self._runs_per_gpu > 1
        yield claim(file, fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX)
        if is_shared:
            shares = (claim(file.with_suffix(f".{number}.lock")) for number in range(self._runs_per_gpu))
            yield next((found for found in shares if found is not None), None)

    def _file(self, gpu: str) -> Path:
        return self._folder / f"gpu-{gpu.replace('/', '_')}.lock"

    def _check_folder(self) -> None:
        """Anybody can make a folder of this name in /tmp before."""
        with contextlib.suppress(FileExistsError):
            self._folder.mkdir(mode=0o700)
        found = self._folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise UserError(f"{self._folder} belongs to another user; set TMPDIR to a folder of your own")
        if found.st_mode & 0o077:
            self._folder.chmod(0o700)
