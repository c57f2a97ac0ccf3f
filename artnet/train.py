"""`python -m artnet.train --config RUN.yaml --data SHARDS`: train one run, in one process or several.

Started again, it resumes from the last checkpoint; a complete run is left as it is. Exit codes:

    0   complete
    1   failed: out of memory, disk full, loss not finite, another rank lost; or a bug, with a traceback
    2   wrong input, or checkpoints that cannot be read
    75  stopped on request (SIGTERM, SIGINT, SIGUSR2, SIGHUP) with a checkpoint: run it again to resume

`--processes N` starts N ranks on this machine; several machines, or schedulers, start them with torchrun or srun.
torchrun ends with 1 whatever its processes end with, and shows the error last, below a traceback of its own; the
`outcome` of the last attempt in `run.json` says more.
"""

import argparse
import contextlib
import os
import sys
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from shards.errors import UserError, command
from shards.index import Index, read_index
from shards.numbers import whole
from shards.remote import local_folder

from .config import RunConfig, load
from .config.keys import ShowKeys
from .distributed import error_file
from .distributed.world import World
from .errors import FailedError, OutOfMemoryError, PeerLostError, StoppedOnRequest
from .heartbeat import shown
from .identity import check_free, take
from .processes import RankProcesses
from .result import Result
from .rundir import EXIT_STOPPED, RunDir
from .stop import StopRequest
from .weights import as_begun, with_digest


def prepare(config_file: Path, shards: str | None, folder: Path | None) -> tuple[RunConfig, RunDir]:
    """The configuration and run directory that the arguments mean. Raises `UserError` if they contradict."""
    config = load(config_file)
    shards = shards or config.data.shards
    if not shards:
        raise UserError(f"{config_file} names no data.shards; add it or give --data SHARDS")
    config = with_digest(config.with_shards(shards))
    if folder is None:
        config = as_begun(config, Path("runs"))
    run = RunDir((folder or Path("runs") / config.name).resolve())
    return check_free(config, run), run


def main(argv: Sequence[str] | None = None) -> int:
    """The command. A rank that fails ends at once: the interpreter might wait for a GPU that waits for another rank."""
    has_peers = os.environ.get("WORLD_SIZE", "") not in ("", "1")
    stop = StopRequest()
    try:
        code = command(partial(_main, stop), lambda sentence: error_file.report(sentence, lambda: bool(stop)))(argv)
    except Exception:
        if not has_peers:
            raise
        traceback.print_exc()
        code = 1
    if has_peers and code not in (0, EXIT_STOPPED):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _main(stop: StopRequest, argv: Sequence[str] | None = None) -> int:
    said = (__doc__ or "").split("\n", 1)[0].split(": ", 1)[1]
    parser = argparse.ArgumentParser(prog="python -m artnet.train", description=said)
    parser.add_argument("--config", type=Path, required=True, metavar="RUN.yaml", help="the run's configuration")
    parser.add_argument("--data", metavar="SHARDS", help="folder or URL of shards (default: the config's data.shards)")
    parser.add_argument("--run-dir", type=Path, metavar="DIR", help="the run directory (default: runs/NAME)")
    parser.add_argument(
        "--processes",
        type=whole,
        default=1,
        metavar="N",
        help="ranks to start on this machine: one GPU each, or a share of the cores (default: 1)",
    )
    parser.add_argument(
        "--auto-accumulate",
        action="store_true",
        help="when memory runs out, resume from the last checkpoint with twice the train.accumulate; "
        "several ranks do so when they are started again, as torchrun --max-restarts does",
    )
    parser.add_argument("--keys", action=ShowKeys, help="list the keys of RUN.yaml, or those of a SECTION, and exit")
    args = parser.parse_args(argv)
    if args.processes < 1:
        raise UserError("--processes must be at least 1")
    world = World.from_environment()
    if args.processes > 1 and world.world_size > 1:
        raise UserError("--processes starts the ranks itself; leave it out, or start it without torchrun")
    config, run = prepare(args.config, args.data, args.run_dir)
    with stop.waiting(), shown(f"reading the index of {config.data.shards}"):
        index = read_index(local_folder(config.data.shards))  # type: ignore[arg-type]  # prepare() made sure of it
    if result := run.result(config.signature):
        if result.data != index.fingerprint:
            raise UserError(f"{run.path} is complete, but on other data than {index.folder}; choose another --run-dir")
        print(f"{run.path} is complete already")
        return 0
    if args.processes > 1:
        processes = RankProcesses()  # before `stop` is asked: from here on it passes on what comes
        return EXIT_STOPPED if stop else processes.train(args.processes, _arguments_of_ranks(args))
    return _train(config, index, run, stop, world.rank == 0, args.auto_accumulate)


def _train(config: RunConfig, index: Index, run: RunDir, stop: StopRequest, first: bool, auto_accumulate: bool) -> int:
    """Train the run as one of its ranks. Returns the exit code."""
    with run.locked() if first else contextlib.nullcontext():
        if first:
            take(config, run)
        # torch takes seconds to import: report wrong input and lock the run before
        with stop.waiting(), shown("loading torch"):
            from .distributed.group import process_group
            from .training.attempt import train

        try:
            with contextlib.ExitStack() as stack:
                ranks_in_all = World.from_environment().world_size
                wait = f"waiting for all {ranks_in_all} ranks" if ranks_in_all > 1 else "starting the device"
                with stop.waiting(), shown(wait):
                    ranks = stack.enter_context(process_group())
                result = train(config, index, run, ranks, stop, auto_accumulate)
        except StoppedOnRequest as stopped:
            if first:
                print(f"{run.name}: {stopped}; start it again to resume", file=sys.stderr)
            return EXIT_STOPPED
        except FailedError as error:
            said = f"error: {run.name}: {error}"
            if first or isinstance(error, OutOfMemoryError | PeerLostError):  # of the others, every rank knows
                print(said, file=sys.stderr, flush=True)
            error_file.record(said)
            return 1
    if first:
        _show(result)
        print(f"{run.path} is complete")
    return 0


def _show(result: Result) -> None:
    """Print the test scores of a complete run."""
    from .analysis.statistics import wilson_interval

    for task, scores in result.tasks.items():
        test = scores.test
        low, high = wilson_interval(test.top1, test.n)
        name = f" {scores.majority_class}" if scores.majority_class else ""
        print(
            f"{task}: test top-1 {100 * test.top1:.1f} % "
            f"(95 % interval {100 * low:.1f} to {100 * high:.1f}, Wilson's over test images), "
            f"top-5 {100 * test.top5:.1f} %, macro-F1 {test.macro_f1:.3f} on {test.n} paintings "
            f"(most common class{name}: {100 * scores.majority:.1f} %), "
            f"best epoch {result.best_epoch} of {result.epochs}"
        )


def _arguments_of_ranks(args: argparse.Namespace) -> list[str]:
    given = {"--config": args.config, "--data": args.data, "--run-dir": args.run_dir}
    values = [word for name, value in given.items() if value is not None for word in (name, str(value))]
    return [*values, *["--auto-accumulate"] * args.auto_accumulate]


if __name__ == "__main__":
    raise SystemExit(main())
