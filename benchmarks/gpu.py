"""Does everything that needs a GPU work, and how fast is it? One command, about 9 minutes on one H100 with 16 cores.

    python benchmarks/gpu.py [--parts 1,2,11] [--reference PATH] [--out FILE.json]
    python benchmarks/gpu.py --rehearse

Each of the 15 parts (`gpu_parts/`) checks something or measures figures, in a process of its own with a time limit, so
that a crash or a hang loses no other part. First come the cheap checks, side by side, then what is timed, alone. The
JSON report is rewritten after every part, and Markdown tables are printed at the end. A figure with a bar is judged:
its part fails if the bar is missed. Exit code 1 if a part failed.

`--rehearse` runs the code of every part on the CPU at tiny sizes, with gloo in place of NCCL. It finds mistakes in this
program before GPU time is spent; its figures mean nothing, and what only a GPU can do is "not measured".

No part needs a network or data: the paintings are painted here, 33 MB. All parts need torch, torchvision, numpy,
pydantic, PyYAML and the code of this repository, which need not be installed. Further, 8 needs pyarrow, 12
opencv-python-headless, and 11, for the whole program, and 14 need pyarrow, fsspec, simplejpeg, opencv-python-headless,
pillow, scipy, matplotlib, torchmetrics, rich and tensorboard; 14 also needs jinja2 and submitit, and ray for its
searches. A part whose packages are missing is "not measured". PATH, for part 11, is a checkout of
https://github.com/fangyanwen1106/RLANet.
"""

import argparse
import contextlib
import importlib.metadata
import importlib.util
import json
import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.gpu_parts import PARTS, SIDE_BY_SIDE  # noqa: E402
from benchmarks.gpu_parts.report import FAILED, NOT_MEASURED, tables, write_json  # noqa: E402

NEEDED = ("torch", "torchvision", "numpy", "pydantic", "yaml")
PACKAGES = ("torch", "torchvision", "triton", "numpy", "torchmetrics", "simplejpeg", "opencv-python-headless", "ray")
LEAST_S = 5.0  # a part is not started if less time is left


def machine() -> dict[str, Any]:
    """The GPU, its driver, and the versions of Python and the packages that matter."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    found: dict[str, Any] = {"gpu": ""}
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        found["gpu"] = subprocess.run(query, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    found |= {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def start_part(number: int, setting: dict[str, Any], file: Path, log: Path) -> None:
    """The first function of a part's process."""
    from benchmarks.gpu_parts import child
    from benchmarks.gpu_parts.setting import Setting

    child.run(number, Setting(**setting), file, log)


class Runner:
    """Runs parts and keeps the report."""

    def __init__(self, setting: dict[str, Any], out: Path, minutes: float) -> None:
        self.setting, self.out, self.ends = setting, out, time.monotonic() + 60 * minutes
        self.report: dict[str, Any] = {"machine": machine(), "rehearsal": setting["rehearse"], "parts": {}}
        self._lock = threading.Lock()
        # Parts are forked from a process that has imported torch, without using the GPU: each would take seconds.
        self._context: Any = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["benchmarks.gpu_parts.setting"])

    def run(self, numbers: Iterable[int]) -> None:
        """Run parts: each one `alone` by itself, the others side by side in between."""
        chosen = [number for number in PARTS if number in set(numbers)]
        for number in chosen:
            self._note(number, {"status": NOT_MEASURED, "reason": "not started", "seconds": 0.0, "figures": []})
        workers = min(SIDE_BY_SIDE, len(os.sched_getaffinity(0)))
        while chosen:
            together = [chosen.pop(0)]
            while chosen and not PARTS[together[0]].alone and not PARTS[chosen[0]].alone:
                together.append(chosen.pop(0))
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(self._part, together))
            if together == [1] and self.report["parts"]["1"]["status"] == FAILED and not self.setting["rehearse"]:
                # A GPU that was used before the fork cannot be used after it: processes of their own may work.
                self._context = multiprocessing.get_context("spawn")
                self._part(1)

    def _part(self, number: int) -> None:
        part, left = PARTS[number], self.ends - time.monotonic()
        found: dict[str, Any] = {"status": NOT_MEASURED, "reason": "no time left", "seconds": 0.0, "figures": []}
        if left >= LEAST_S:
            print(f"part {number}: {part.title} ...", file=sys.stderr, flush=True)
            found = self._measure(number, min(part.limit, left), is_cut=left < part.limit)
            said = f"{found['status']} after {found['seconds']:.0f} s {found['reason']}"
            print(f"part {number}: {part.title}: {said}", file=sys.stderr, flush=True)
        self._note(number, found)

    def _measure(self, number: int, limit: float, is_cut: bool) -> dict[str, Any]:
        file, log = (self.setting["folder"] / f"part{number}.{kind}" for kind in ("json", "log"))
        process = self._context.Process(target=start_part, args=(number, self.setting, file, log))
        started = time.monotonic()
        process.start()
        process.join(limit)
        is_late = process.is_alive()
        # The part's process leads a group of its own, with those that it has started.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.join()
        found = {"status": "", "reason": "", "figures": []}
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(file.read_bytes())
        found["seconds"] = round(time.monotonic() - started, 1)
        if not found["status"] and is_late and is_cut:
            found |= {"status": NOT_MEASURED, "reason": "no time left for the rest of it"}
        elif not found["status"] and is_late:
            found |= {"status": FAILED, "reason": f"did not end within {limit:.0f} s"}
        elif not found["status"]:
            found |= {"status": FAILED, "reason": f"its process ended with exit code {process.exitcode}"}
        if found["status"] == FAILED and log.exists():
            found["log"] = log.read_text(errors="replace")[-4000:]
        return found

    def _note(self, number: int, found: dict[str, Any]) -> None:
        with self._lock:
            self.report["parts"][str(number)] = {"title": PARTS[number].title, **found}
            write_json(self.out, self.report)


def numbers(text: str) -> list[int]:
    """The parts that an option such as `1,2,11` names."""
    chosen = [int(number) for number in text.split(",")]
    if unknown := set(chosen) - set(PARTS):
        raise ValueError(f"no such part: {unknown}")
    return chosen


def main() -> int:
    """Run the parts, print the tables, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rehearse", action="store_true", help="run every part on the CPU at a tiny size")
    parser.add_argument("--parts", type=numbers, default=list(PARTS), metavar="1,2,11", help="default: all")
    parser.add_argument("--reference", type=Path, metavar="PATH", help="a checkout of the published code")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), metavar="FILE.json", help="default: gpu.json")
    parser.add_argument("--minutes", type=float, default=10, help="time for all parts (default: 10)")
    args = parser.parse_args()
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        parser.error(f"{', '.join(missing)} cannot be imported; install what pyproject.toml names")
    if args.reference and not (args.reference / "models").is_dir():
        parser.error(f"{args.reference} holds no folder models; give a checkout of the published code")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    os.environ |= {"PYTHONPATH": path}
    if args.rehearse:
        os.environ |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    out, reference = args.out.resolve(), args.reference and args.reference.resolve()
    with tempfile.TemporaryDirectory(prefix="artnet-gpu-", ignore_cleanup_errors=True) as scratch:
        # Kernels compiled by one part are found by the next.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(scratch, "inductor"))
        os.chdir(scratch)
        setting = {"rehearse": args.rehearse, "folder": Path(scratch), "reference": reference}
        runner = Runner(setting, out, args.minutes)
        runner.run(args.parts)
        os.chdir(ROOT)
    print(tables(runner.report))
    return int(any(part["status"] == FAILED for part in runner.report["parts"].values()))


if __name__ == "__main__":
    raise SystemExit(main())
