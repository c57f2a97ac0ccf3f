"""The runs of a sweep: state, scores, resources, log, and in what each differs from the baseline's configuration."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shards.files import open_regular
from shards.streams import harmless

from ...rundir import RunDir
from ..results import Run, printable
from ..wording import state
from .digits import percent, rounded
from .resources import Resources

LINES, BYTES = 12, 4000  # of the end of a run's log


def run_row(
    run: Run, model: int, base: Mapping[str, Any], record: Mapping[str, Any], used: Resources, has_test: bool
) -> dict[str, Any]:
    """A run as the page lists it. `base` is the configuration that it is compared with, flat.

    Its score on test is shown only if it `has_test`: what is still to be chosen has none.
    """
    git = record.get("git")
    memory = rounded(used.memory_gib)
    return {
        "name": run.name,
        "model": model,
        "tasks": list(run.tasks),
        "seed": run.config.get("seed"),
        "state": state(run),
        "reason": run.reason,
        "scores": {
            task: {"val": percent(one.val.top1), "test": percent(one.test.top1) if has_test else None}
            for task, one in run.scores.items()
        },
        "hours": rounded(used.hours),
        "device": used.device if used.count in (None, 1) or not used.device else f"{used.count} x {used.device}",
        "epochs": run.result.epochs if run.result else None,
        "differs": {key: of for key, of in run.config.items() if key not in base or base[key] != of},
        "log": log_tail(run.directory),
        "git": _commit(git) if isinstance(git, Mapping) else "",
        "host": used.host,
        "memory": "" if memory is None else f"{memory:g} GiB",
    }


def reasons(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The reasons of runs without a result, the most frequent first. `runs` are positions.

    That a search stopped a run early needs no reason.
    """
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for position, run in enumerate(runs):
        if run.result is None and run.state != "stopped_early":
            found[state(run), run.reason].append(position)
    ordered = sorted(found.items(), key=lambda pair: -len(pair[1]))
    return [
        {"reason": f"{word}: {why}" if why else word, "count": len(which), "runs": which}
        for (word, why), which in ordered
    ]


def log_tail(run: RunDir) -> str:
    """The last lines of what the run's last attempt wrote: standard error, or standard output if that is empty."""
    try:
        attempts = [path for path in run.attempts.iterdir() if path.name.isdecimal() and path.is_dir()]
        files = list(max(attempts, key=lambda path: int(path.name)).iterdir()) if attempts else []
    except OSError:
        return ""
    for kind in ("stderr", "stdout"):
        for file in sorted(file for file in files if re.fullmatch(rf"{kind}(\.[0-9]{{1,9}})?", file.name)):
            if text := _tail(file):
                return text
    return ""


def _tail(file: Path) -> str:
    try:
        with open_regular(file) as opened:
            size = opened.seek(0, 2)
            opened.seek(max(0, size - BYTES))
            lines = opened.read(BYTES).decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(harmless(line) for line in lines[-LINES:] if line.strip())


def _commit(git: Mapping[str, Any]) -> str:
    if not git.get("sha"):
        return ""
    return printable(git["sha"])[:12] + (" with uncommitted changes" if git.get("dirty") or git.get("diff") else "")
