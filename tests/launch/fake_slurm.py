"""Programs that answer as SLURM does of the jobs in a file, where no cluster is needed to see what is asked of it."""

import os
from pathlib import Path

import pytest

from launch.cluster.queue import QUEUE_COLUMNS


class FakeSlurm:
    """`squeue`, `sacct` and `scancel` on PATH; `scancel` notes what it was given, and all jobs have ended."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.queue, self.cancelled = folder / "queue", folder / "cancelled"
        folder.mkdir()
        self.queue.touch()
        for name, script in (
            ("squeue", f'case "$*" in *--me*) cut -d" " -f1 "{self.queue}";; *) cat "{self.queue}";; esac'),
            ("sacct", "true"),
            ("scancel", f'echo "$*" >> "{self.cancelled}"; : > "{self.queue}"'),
        ):
            (folder / name).write_text(f"#!/bin/sh\n{script}\n")
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def add(self, job: str, name: str, word: str = "RUNNING", node: str = "node1") -> None:
        """Let there be a job, of an array of this name."""
        cells = (job, word, node, "None", "1:00:00", "0", name)
        line = "".join(cell.ljust(width) for cell, width in zip(cells, QUEUE_COLUMNS.values(), strict=True))
        with self.queue.open("a") as file:
            file.write(line + "\n")
