"""Sweeps in every state, as files: what a page is made of."""

import math
import random
from collections.abc import Callable
from pathlib import Path

from artnet.analysis.merge import merged
from artnet.analysis.results import Sweep, read_sweep
from artnet.rundir import RunDir, write_json
from tests.artnet.analysis.page.made import make
from tests.artnet.analysis.test_search import Asked, make_search, stopped

MODELS = [
    ({"model.recurrence": recurrence, "model.attention": attention}, skill)
    for recurrence, attention, skill in (("none", "none", 1), ("none", "se", 1.2), ("lstm", "none", 1.4),
                                         ("lstm", "se", 2.2))
]  # fmt: skip
OOM = "cuda:0 has no memory for 2.0 GiB more; lower train.batch_size, or raise train.accumulate"


def _end(run: RunDir, state: str, reason: str = "") -> None:
    run.result_file.unlink()
    run.predictions_file.unlink()
    write_json(run.state_file, {"state": state, "reason": reason})


def empty(folder: Path) -> Sweep:
    """Nothing has begun."""
    for run in make(folder, MODELS):
        _end(run, "planned")
        run.metrics_file.unlink()
        run.run_file.unlink()
    return read_sweep(folder)


def half(folder: Path) -> Sweep:
    """Some runs are complete, one is at work, others wait."""
    for number, run in enumerate(make(folder, MODELS)):
        if number > 4:
            _end(run, "running" if number == 5 else "pending", "" if number == 5 else "waits for 2 GPUs")
    return read_sweep(folder)


def failed(folder: Path) -> Sweep:
    """No run has a result."""
    for number, run in enumerate(make(folder, MODELS)):
        _end(run, *(("out_of_memory", OOM) if number % 3 else ("failed", "the loss is not finite at step 12")))
        log = run.attempts / "001" / "stderr"
        log.parent.mkdir(parents=True)
        log.write_text("epoch 1\nerror: it has ended\n", encoding="utf-8")
    return read_sweep(folder)


def two(folder: Path) -> Sweep:
    """Two sweeps in one page."""
    folders = [folder / "first", folder / "second"]
    for number, one in enumerate(folders):
        one.mkdir(parents=True)
        make(one, MODELS[2 * number : 2 * number + 2])
    return merged([read_sweep(one) for one in folders])


def one_seed(folder: Path) -> Sweep:
    """A run of each model."""
    make(folder, MODELS, seeds=1)
    return read_sweep(folder)


def search(folder: Path) -> Sweep:
    """A search with three kinds of keys, whose best configuration was confirmed."""
    draw, asked = random.Random(0), []
    for number in range(40):
        values = {"optim.lr": 10 ** draw.uniform(-2.5, 0), "augment.crop_scale": draw.uniform(0.3, 0.9)}
        values |= {"model.attention": draw.choice(["none", "se", "eca"])}
        top = 0.7 - 0.08 * abs(math.log10(values["optim.lr"]) + 1) + draw.gauss(0, 0.01)
        curve = [top * (1 - 0.7**epoch) for epoch in range(1, 10)]
        ends = number % 3 == 1
        one = Asked(values, curve[:4] if ends else curve, None if ends else top - 0.02, stopped(4) if ends else {})
        one.searcher = "random" if number < 10 else "tpe"
        asked.append(one)
    best = max((n for n in range(40) if asked[n].test), key=lambda n: asked[n].curve[-1])
    again = [
        Asked(
            asked[best].values, [x + seed / 100 for x in asked[best].curve], 0.6 + seed / 100, {}, "confirm", best, seed
        )
        for seed in (1, 2, 3)
    ]
    return make_search(folder, [*asked, *again]).sweep


KINDS: dict[str, Callable[[Path], Sweep]] = {
    "empty": empty, "half": half, "failed": failed, "two": two, "one_seed": one_seed, "search": search,
}  # fmt: skip
