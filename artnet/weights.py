"""The weights that a run starts from, known by their content, and the folder in which a run was begun.

A run's signature covers the weights it starts from. The first versions signed the absolute path of their file: a
checkout that was moved trained everything again, and another file at the same path was not noticed. Now
`weights_sha256` is noted when a run is planned, and signed instead of the path:

- the file itself decides, wherever it is; of a run (`init_from: RUN`), its best checkpoint, once it is complete;
- the digest stands in `config.yaml`, so the run keeps its identity when the file is gone, and training that finds
  another file refuses to start from it;
- where the file cannot be read, because it does not exist yet or no longer, the path is signed as before.

So that what was begun or finished before stays so, `as_begun` looks for a run's folder under its new signature, then
under that of the path, then, if the file is gone, under any digest of the same path.
"""

import contextlib
import json
from functools import cache
from pathlib import Path

from shards.errors import UserError
from shards.files import atomic_write, file_sha256, open_regular
from shards.remote import cache_folder

from .config import RunConfig
from .rundir import RunDir, read_json


def with_digest(config: RunConfig) -> RunConfig:
    """The same run with the digest of its weights noted, if they are in a file that can be read."""
    source = config.weights_source
    if source is None or config.weights_sha256 or (source.is_dir() and RunDir(source).result() is None):
        return config
    try:
        return config.model_copy(update={"weights_sha256": _digest(file_of(source))})
    except OSError:
        return config


def check_readable(config: RunConfig) -> None:
    """Raise `UserError` if the file of the weights cannot be read, for a run that is about to start from them."""
    source = config.weights_source
    if source is None:
        return
    key = "init_from" if config.init_from else "pretrained"
    remedy = "give the file of a checkpoint"
    if key == "init_from":
        remedy = "train that run first, or name another run or checkpoint"
    file = file_of(source) if key == "init_from" else source
    try:
        with open_regular(file):
            pass
    except FileNotFoundError:
        raise UserError(f"{key}: {file} does not exist; {remedy}") from None
    except OSError as error:
        raise UserError(f"{key}: {file} cannot be read ({error.strerror}); {remedy}") from None


def check_digest(config: RunConfig) -> None:
    """Raise `UserError` if the weights are not those that the run was planned with."""
    source = config.weights_source
    if source is None or not config.weights_sha256:
        return
    file = file_of(source)
    with contextlib.suppress(OSError):  # whoever reads the file says why it cannot be read
        if _digest(file) != config.weights_sha256:
            raise UserError(
                f"{file} holds other weights than when this run was planned; put the file back, or plan the run again"
            )


def as_held(config: RunConfig, held: RunConfig) -> RunConfig:
    """The run `config` with the identity under which a folder holds it as `held`; unchanged if that is another run."""
    if config.weights_source is None or (config.weights_sha256 and held.weights_sha256):
        return config
    is_same = _by_path(config).signature == _by_path(held).signature
    return config.model_copy(update={"weights_sha256": held.weights_sha256}) if is_same else config


def as_begun(config: RunConfig, root: Path) -> RunConfig:
    """The run with the identity under which a folder of `root` holds it; unchanged if none does."""
    if config.weights_source is None or (root / config.name).exists():
        return config
    by_path = _by_path(config)
    if config.weights_sha256:
        return by_path if (root / by_path.name).exists() else config
    prefix = by_path.name.removesuffix(by_path.signature[:8])
    found: list[tuple[bool, float, RunConfig]] = []
    for folder in map(RunDir, root.glob(f"{prefix}*")):
        with contextlib.suppress(UserError, OSError):
            begun = as_held(config, folder.config())
            if begun.name == folder.name:
                found.append((folder.result() is not None, folder.config_file.stat().st_mtime, begun))
    return max(found, key=lambda entry: entry[:2], default=(False, 0.0, config))[2]


def _by_path(config: RunConfig) -> RunConfig:
    return config.model_copy(update={"weights_sha256": None})


def file_of(source: Path) -> Path:
    """The file of weights that a run or a file gives: of a run, its best checkpoint."""
    return source / "checkpoints" / "best.pt" if source.is_dir() else source


def _digest(file: Path) -> str:
    """The SHA-256 of a file, computed again only when its size or its time of change is another than last time."""
    status = file.stat()
    return _digest_of(file.resolve(), status.st_size, status.st_mtime_ns)


@cache
def _digest_of(file: Path, size: int, changed_ns: int) -> str:
    """The digest of a file in this state; remembered by this process and, on disk, by others."""
    remembered, key, state = cache_folder() / "digests.json", str(file), [size, changed_ns]
    known = read_json(remembered).get(key)
    if isinstance(known, list) and len(known) == 3 and known[:2] == state:
        return str(known[2])
    digest = file_sha256(file)
    with contextlib.suppress(OSError):  # without a cache, it is computed each time
        atomic_write(remembered, json.dumps({**read_json(remembered), key: [*state, digest]}, indent=1))
    return digest
