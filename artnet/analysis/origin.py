"""The provenance of a sweep's results: code, libraries, data and machines, as recorded by its runs."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from .results import Run, Sweep, printable


def origin(sweep: Sweep) -> list[tuple[str, list[str]]]:
    """Facts by name, as lines of text. A fact that does not hold for all runs is followed by the number of runs."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("code", "versions", "data", "machine")}
    for run in sweep.runs:
        for name, fact in _facts(run):
            counts[name][fact] += 1
    facts = [("grid", [printable(sweep.manifest.grid)]), ("runs", [printable(sweep.manifest.arithmetic)])]
    for name, found in counts.items():
        is_common = list(found.values()) == [len(sweep.runs)]
        facts.append((name, [fact if is_common else f"{fact} ({_runs(count)})" for fact, count in found.items()]))
    return [(name, [line for line in lines if line]) for name, lines in facts if any(lines)]


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    record = run.directory.run()
    git = _mapping(record.get("git"))
    if git.get("sha"):
        changed = " with uncommitted changes" if git.get("dirty") or git.get("diff") else ""
        yield "code", f"git {printable(git['sha'])[:12]}{changed}"
    if versions := _mapping(record.get("versions")):
        yield (
            "versions",
            ", ".join(f"{printable(name)} {printable(version)}" for name, version in versions.items()),
        )
    fingerprint = run.result.data if run.result else _mapping(record.get("data")).get("fingerprint")
    if fingerprint:
        yield "data", f"fingerprint {printable(fingerprint)[:16]}"
    attempts = record.get("attempts")
    machines = {_machine(_mapping(entry)) for entry in attempts} if isinstance(attempts, list) else set()
    yield from (("machine", machine) for machine in sorted(machines - {""}))


def _machine(attempt: dict[str, Any]) -> str:
    host, size, device = (printable(attempt.get(key, "")) for key in ("host", "world_size", "device"))
    return ", ".join(part for part in (host, f"{size} x {device}" if size and device else size or device) if part)


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _runs(count: int) -> str:
    return f"{count} run" if count == 1 else f"{count} runs"
