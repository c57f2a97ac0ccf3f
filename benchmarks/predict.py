"""Speed of `artnet.predict` over a folder, relative to the forward pass alone on the same batches.

    python benchmarks/predict.py RUN FOLDER [--rounds 3]

Both include flipping, as the run does. Rounds alternate: other work on the machine slows both. Converting, reading and
decoding happen beside the forward pass, on the same cores; writing the answers is not counted. The ratio of the CPU
times, which other work disturbs less, is printed too.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

from artnet.inference.pictures import find_pictures, load_pictures
from artnet.predict import _load


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    files, _ = find_pictures([args.folder])
    ensemble, threads = _load([args.run.resolve()])
    (member,) = ensemble.members
    ratios, of_cpu = [], []
    for number in range(args.rounds + 1):  # the first warms up
        images, start = [], _now()
        for batch in load_pictures(files, ensemble.views, ensemble.batch_size, threads):
            images.append(batch.images[0])
            list(ensemble.answers(batch))
        whole, start = _now() - start, _now()
        for one in images:
            member.probabilities(one)
        alone = _now() - start
        if number:
            ratios.append(alone[0] / whole[0])
            of_cpu.append(alone[1] / whole[1])
            n = len(files)
            print(f"{n / whole[0]:,.1f} of {n / alone[0]:,.1f} images/s, {ratios[-1]:.2f}, {threads} threads; "
                  f"{1000 * whole[1] / n:.2f} and {1000 * alone[1] / n:.2f} ms of CPU an image, {of_cpu[-1]:.2f}",
                  flush=True)  # fmt: skip
    print(f"median {statistics.median(ratios):.2f}, of CPU times {statistics.median(of_cpu):.2f}")


def _now() -> np.ndarray:
    """The time that has passed and the CPU time of this process, seconds."""
    return np.array([time.perf_counter(), time.process_time()])


if __name__ == "__main__":
    main()
