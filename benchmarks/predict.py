"""Speed of `artnet.predict` over a folder, relative to the forward pass alone on the same batches.

    python benchmarks/predict.py RUN FOLDER [--rounds 3]

Both include flipping, as the run does. Rounds alternate: other work on the machine slows both. Converting, reading and
decoding happen beside the forward pass, on the same cores; writing the answers is not counted.
"""

import argparse
import statistics
import time
from pathlib import Path

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
    ratios = []
    for number in range(args.rounds + 1):  # the first warms up
        images, start = [], time.perf_counter()
        for batch in load_pictures(files, ensemble.views, ensemble.batch_size, threads):
            images.append(batch.images[0])
            list(ensemble.answers(batch))
        whole, start = time.perf_counter() - start, time.perf_counter()
        for one in images:
            member.probabilities(one)
        alone = time.perf_counter() - start
        if number:
            ratios.append(alone / whole)
            n = len(files)
            print(f"{n / whole:,.1f} of {n / alone:,.1f} images/s, {ratios[-1]:.2f}, {threads} threads", flush=True)
    print(f"median {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
