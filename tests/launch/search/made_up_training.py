"""A training that is made up, in the place of `artnet.train`: it writes the files of a real one, without torch.

Workers of a search start it as they start a real one. Its metric follows from the learning rate, and an epoch takes
`$EPOCH_S` seconds, five times as many for the run whose name begins with `$SLOW`. After the epochs in `$RUNGS` it waits
until it has been judged: however busy the machine is, no run ends before.
"""

import json
import os
import signal
import sys
import time
from math import log10
from pathlib import Path

from artnet.provenance import process_start
from artnet.rundir import EXIT_STOPPED, RunDir, write_json
from tests.launch.run_files import complete, log_epoch

SITECUSTOMIZE = """
import os, sys, traceback
if "artnet.train" in sys.orig_argv:
    code = 1
    try:
        from tests.launch.search.made_up_training import main
        code = main()
    except BaseException:
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(code)
"""


def main() -> int:
    stopped = []
    for number in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, lambda number, frame: stopped.append(number))
    run = RunDir(Path(sys.orig_argv[sys.orig_argv.index("--run-dir") + 1]))
    config = run.config()
    seconds = float(os.environ.get("EPOCH_S", "0.5")) * (5 if run.name.startswith(os.environ.get("SLOW", "-")) else 1)
    if os.environ.get("RANK", "0") != "0":  # it trains as long as the first rank does
        before = len(run.run().get("attempts", []))
        while not stopped and not any(attempt["outcome"] for attempt in run.run().get("attempts", [])[before:]):
            time.sleep(0.05)
        return EXIT_STOPPED if stopped else 0
    rungs = [int(epoch) for epoch in os.environ.get("RUNGS", "").split(",") if epoch]
    with run.locked():
        done = json.loads(saved.read_text()) if (saved := run.checkpoints / "last.pt").exists() else 0.0
        attempts = run.run().get("attempts", [])
        attempt = {"pid": os.getpid(), "host": os.uname().nodename, "process_start": process_start(os.getpid()),
                   "from_step": done, "outcome": ""}  # fmt: skip
        write_json(run.run_file, {"attempts": [*attempts, attempt]})
        while done < config.train.epochs:
            began = time.monotonic()
            while not stopped and (done + (time.monotonic() - began) / seconds) < int(done) + 1:
                time.sleep(0.02)
            if stopped:
                done = min(done + (time.monotonic() - began) / seconds, int(done) + 0.99)
                _save(saved, done)
                write_json(run.run_file, {"attempts": [*attempts, {**attempt, "outcome": "stopped"}]})
                return EXIT_STOPPED
            done = int(done) + 1
            # As in a real training, what is logged is not ahead of what is saved by more than an epoch.
            if not any(line["epoch"] == done for line in run.epochs()):
                score = 0.9 - 0.2 * abs(log10(config.optim.lr) + 1)
                log_epoch(run, done, **{"val/top1": score * (0.7 + 0.3 * done / config.train.epochs)})
            _save(saved, done)
            while done in rungs and not stopped and _goes_on(run, done):
                time.sleep(0.05)
        complete(run)
        write_json(run.run_file, {"attempts": [*attempts, {**attempt, "outcome": "complete"}]})
    return 0


def _goes_on(run: RunDir, epoch: int) -> bool:
    """Whether the run is still to be judged after this epoch, or has been stopped and waits for the signal."""
    state = run.state()
    return (state.judged_epoch or 0) < epoch or state.stopped_epoch is not None


def _save(file: Path, done: float) -> None:
    file.parent.mkdir(exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(json.dumps(done))
    new.replace(file)


if __name__ == "__main__":
    raise SystemExit(main())
