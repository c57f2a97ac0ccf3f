"""The run directory: training writes it, launchers and reports read it.

    RUN-NAME/
      config.yaml        resolved and complete                              written by launchers or training
      run.json           signature, git, versions, data, attempts           written by training
      metrics.jsonl      one line per log step ("kind": "step") and epoch   written by training
      events.out.tfevents.*  the same as curves; the row of hyperparameters written by training; launchers
      checkpoints/       best.pt; until complete last.pt, previous.pt too   written by training
      bad_batch.json     the paintings at which the loss was not finite     written by training
      predictions.parquet  logits of val and test (artnet/predictions.py)   written by training, or artnet.evaluate
      embeddings.parquet   features of all paintings (artnet/embeddings.py) written by artnet.embed
      export/            the network for other programs                     written by artnet.export
      result.json        exists only when the run is complete and valid     written by training
      state.json         what the launcher last knew                        written by launchers
      attempts/001/      stdout, stderr, the scheduler's ids                written by launchers

Light to import (no torch): launchers and reports read hundreds of these.
"""

import contextlib
import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ValidationError

from shards.errors import UserError
from shards.files import atomic_write, open_regular, read_bounded, remove_leftovers
from shards.locks import by_whom, is_locked, locked
from shards.streams import harmless

from . import config as run_config
from .errors import FolderGoneError
from .formats import FORMAT, check_format
from .result import Result

# Far more than any of these files holds: what is larger is not ours, and would only take memory and time.
MAX_JSON = 16_000_000  # bytes; run.json is the largest, with the uncommitted changes of the code
MAX_MANIFEST = 100_000_000  # bytes, for 10,000 runs
MAX_METRICS = 500_000_000  # bytes
MAX_EPOCHS = 100_000
MAX_LINE = 100_000  # bytes of a line of metrics

# A line of `config.yaml` as it is written, without aliases; to read each file of hundreds of runs would take seconds.
_PLAIN = re.compile(rb" *(- )?[\w./-]+(:( +[^\s&*!\[{|>].*)?)?")

_CLOSES = re.compile(rb'"kind"\s*:\s*"epoch"')  # a line that closes an epoch; those of steps are many more

# The group of the scores of the best checkpoint in TensorBoard, which opens the groups that sort first: each of these
# cards has one point, and is there as TensorBoard's table of hyperparameters takes its metrics from them.
TENSORBOARD_BEST = "z_best"

EXIT_STOPPED = 75  # how training ends when it was asked to stop: EX_TEMPFAIL of sysexits.h, run me again


class RunState(BaseModel):
    """`state.json`: what the launcher last knew of a run. `state` is a word, empty if there was no launcher yet.

    `launcher` is the name of the engine that the run belongs to: `local`, `slurm` or `tune`. `cancelled` is when the
    run was cancelled, in seconds of `time.time()`; `pruned` marks a run that an edited grid no longer holds. `slot` is
    its slot on this machine. A search has judged a run up to its `judged_epoch`, and has stopped it after its
    `stopped_epoch`, unless it is `promoted`. A job has an id, `job`, once the scheduler has assigned one, the name of
    its array, `job_name`, and its `position` in the array, and was `submitted` at a time in ISO 8601; `cluster` is
    `slurm`, or `local` or `debug` for a job without SLURM.
    """

    format: int = FORMAT
    state: str = ""
    reason: str = ""
    launcher: str = ""
    exit_code: int | None = None
    cancelled: float | None = None
    pruned: bool = False
    slot: int | None = None
    judged_epoch: int | None = None
    stopped_epoch: int | None = None
    promoted: bool = False
    job: str | None = None
    job_name: str | None = None
    position: int | None = None
    cluster: str = "slurm"
    submitted: str | None = None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file; a broken value in it counts as absent. Raises `UserError` if it is of a newer format."""
        content = {
            name: harmless(value) if isinstance(value, str) else value for name, value in read_json(path).items()
        }
        check_format(path, content)
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            broken = {found["loc"][0] for found in error.errors()}
            return cls.model_validate({key: value for key, value in content.items() if key not in broken})

    def write(self, path: Path) -> None:
        """Write the file atomically: the format, the state and the reason, and what else is known."""
        always = {"format": FORMAT, "state": self.state, "reason": self.reason}
        write_json(path, {**always, **self.model_dump(mode="json", exclude_defaults=True)})


class RunDir:
    """Paths of one run directory, and its files read with care: a broken file is an absent one.

    A file of a newer version of artnet is neither: reading it raises `UserError`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.config_file = path / "config.yaml"
        self.run_file = path / "run.json"
        self.metrics_file = path / "metrics.jsonl"
        self.bad_batch_file = path / "bad_batch.json"
        self.predictions_file = path / "predictions.parquet"
        self.embeddings_file = path / "embeddings.parquet"
        self.exported = path / "export"
        self.result_file = path / "result.json"
        self.state_file = path / "state.json"
        self.lock_file = path / ".lock"
        self.checkpoints = path / "checkpoints"
        self.attempts = path / "attempts"

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's events, which calls a run by it: the run's own, or that of earlier versions."""
        earlier = self.path / "tensorboard"
        return earlier if earlier.is_dir() else self.path

    @property
    def hparams_file(self) -> Path:
        """The row of hyperparameters. It sorts before file names that end in a time: TensorBoard reads it first."""
        return self.tensorboard / "events.out.tfevents.0.launcher"

    def remove_events(self) -> None:
        """Remove TensorBoard's events."""
        shutil.rmtree(self.path / "tensorboard", ignore_errors=True)
        for file in self.path.glob("events.out.tfevents.*"):
            file.unlink(missing_ok=True)

    @property
    def has_begun(self) -> bool:
        """Whether there is something to keep: a checkpoint, a result, or what a launcher knows of the run."""
        return self.result_file.exists() or self.state_file.exists() or any(self.checkpoints.glob("*.pt"))

    def check_exists(self) -> None:
        """Raise `FolderGoneError` if the folder has gone: writing would make half of a new one."""
        if not self.config_file.exists():
            raise FolderGoneError(
                f"{self.config_file} is gone: the folder was deleted or moved while it was being trained; put it back, "
                "or start the run again to train it from scratch"
            )

    def config(self) -> run_config.RunConfig:
        """The run's configuration. Raises `UserError` if the file is missing or broken."""
        return run_config.load(self.config_file)

    def write_config(self, config: run_config.RunConfig) -> None:
        """Write `config.yaml`."""
        atomic_write(self.config_file, run_config.dump(config))

    def result(self, signature: str | None = None) -> Result | None:
        """The result if the run is complete: a valid `result.json`, of this `signature` if it is given."""
        content = read_json(self.result_file)
        check_format(self.result_file, content)
        try:
            result = Result.model_validate(content)
        except ValidationError:
            return None
        return result if signature in (None, result.signature) else None

    @property
    def lost_result(self) -> str:
        """Why a run that was complete no longer is."""
        return "result.json is not valid, or of another run" if self.result_file.exists() else "result.json is missing"

    def run(self) -> dict[str, Any]:
        """The content of `run.json`: at least `attempts`; empty if there is no valid file."""
        run = read_json(self.run_file)
        check_format(self.run_file, run)
        attempts = run.get("attempts")
        return run if isinstance(attempts, list) and all(isinstance(attempt, dict) for attempt in attempts) else {}

    def state(self) -> RunState:
        """What the launcher last knew."""
        return RunState.read(self.state_file)

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl`, in order, without broken ones, such as a line cut short by a crash."""
        return list(self._metrics())

    def _metrics(self, having: re.Pattern[bytes] = re.compile(b"")) -> Iterator[dict[str, Any]]:
        with contextlib.suppress(OSError), open_regular(self.metrics_file) as file:
            while file.tell() < MAX_METRICS and (line := file.readline(MAX_LINE)):
                if having.search(line) and (value := parse_object(line)) is not None:
                    yield value

    def epochs(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl` that close an epoch, in order, as `numbers` of them."""
        closed = (numbers(line) for line in self._metrics(_CLOSES) if line.get("kind") == "epoch")
        return list(islice((line for line in closed if "epoch" in line), MAX_EPOCHS))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process. Raises `UserError` if another process trains it or it cannot be locked."""
        # `is_locked` of another process holds the lock for a moment: wait for that.
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(self.lock_file, wait_s=1))
            except BlockingIOError:
                raise UserError(
                    f"{self.path} is being trained by another process{by_whom(self.lock_file)}; "
                    "wait for it or choose another --run-dir"
                ) from None
            remove_leftovers(self.checkpoints)
            yield

    def unreadable(self) -> OSError | None:
        """Why it cannot be known what is in this directory, such as missing permission; None if it can be read."""
        limits = {
            self.state_file: MAX_JSON,
            self.result_file: MAX_JSON,
            self.run_file: MAX_JSON,
            self.config_file: run_config.MAX_BYTES,
            self.metrics_file: MAX_METRICS,
        }
        for file, limit in limits.items():
            try:
                with open_regular(file) as opened:
                    if (size := os.fstat(opened.fileno()).st_size) > limit:
                        return OSError(errno.EFBIG, f"its {size:,} bytes are over the limit of {limit:,}", str(file))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                return error
        return self._unlike_ours()

    def _unlike_ours(self) -> OSError | None:
        """Why `config.yaml` cannot be read, where it does not look as it is written here."""
        try:
            lines = read_bounded(self.config_file, run_config.MAX_BYTES).splitlines()
            if not all(map(_PLAIN.fullmatch, lines)):
                self.config()
        except UserError as error:
            said = str(error).removeprefix(str(self.config_file)).lstrip(": ")
            return OSError(errno.EINVAL, said, str(self.config_file))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return error
        return None

    def is_locked(self) -> bool:
        """Whether a process on this machine is training here now. Raises `LockError` if that cannot be known."""
        return is_locked(self.lock_file)


def numbers(line: dict[str, Any]) -> dict[str, Any]:
    """What of a line of metrics can be computed with: its `kind`, and the values that are numbers.

    `epoch` and `step` are whole; `time`, `seconds` and they are finite and not negative.
    """
    found = {}
    for key, value in line.items():
        is_whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53
        is_good = is_whole or isinstance(value, float)
        if key in ("epoch", "step", "time", "seconds"):
            is_good = (is_whole or (key in ("time", "seconds") and isinstance(value, float))) and 0 <= value < 2**53
        if is_good or (key == "kind" and isinstance(value, str)):
            found[key] = value
    return found


def parse_object(text: bytes) -> dict[str, Any] | None:
    """The JSON object that a text is; None if it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def read_json(path: Path, limit: int = MAX_JSON) -> dict[str, Any]:
    """A JSON object, or an empty one where there is no such file or it is broken, or over `limit` bytes."""
    try:
        return parse_object(read_bounded(path, limit)) or {}
    except (OSError, ValueError):  # of a path that cannot be one
        return {}


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically, readable by people."""
    atomic_write(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
