"""Made-up sweeps with predictions, metrics and results that fit one another."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from artnet import predictions
from artnet.config import RunConfig
from artnet.predictions import Origin, Predicted, Protocol, RunPredictions
from artnet.result import Result, Scores, TaskResult
from artnet.rundir import RunDir, write_json
from tests.artnet.analysis.test_report import plan, write_manifest

CLASSES = ["Cubism", "Pop_Art", "</script>", "Ukiyo-e"]
TESTED = 120  # paintings


def logits_of(labels: np.ndarray, skill: float, seed: int, classes: int = len(CLASSES)) -> np.ndarray:
    """Logits of a model that is the more often right the larger its skill."""
    rng = np.random.default_rng(seed)
    found = rng.normal(size=(len(labels), classes))
    found[np.arange(len(labels)), labels] += skill
    return found.astype(np.float16).astype(np.float32)


def predicted(
    task: str, split: str, skill: float, seed: int, n: int = TESTED, classes: int = len(CLASSES)
) -> Predicted:
    """Predictions of the same paintings, in groups of up to two, for any skill and seed."""
    n, rng = TESTED, np.random.default_rng([len(task), len(split)])
    labels = rng.integers(classes, size=n)
    keys = np.asarray([f"{split}-{number:05d}" for number in rng.permutation(n)])
    return Predicted(keys, np.arange(n) // 2, labels, logits_of(labels, skill, seed, classes))


def scores(one: Predicted) -> Scores:
    correct = one.logits.argmax(1) == one.labels
    return Scores(
        top1=correct.mean(), top5=1, macro_f1=0.5, nll=1, ece=0.1, recall=[0.5] * one.logits.shape[1],
        n=len(one.labels), correct=int(correct.sum()),
    )  # fmt: skip


def complete(folder: Path, config: RunConfig, skill: float, number: int, classes: Sequence[str] = CLASSES) -> RunDir:
    """Write a complete run."""
    run = RunDir(folder / config.name)
    run.write_config(config)
    splits = {
        split: {
            task: predicted(task, split, skill, 100 * number + len(task), classes=len(classes)) for task in config.task
        }
        for split in ("val", "test")
    }
    origin = Origin(
        signature=config.signature, data="d0", epoch=2,
        protocol=Protocol(size=64, flip=False, logit_adjustment=0, precision="fp32"),
        classes={task: list(classes) for task in config.task},
        log_priors={task: [0.0] * len(classes) for task in config.task},
        temperatures=dict.fromkeys(config.task, 1.25 + number / 8),
    )  # fmt: skip
    predictions.write(run.predictions_file, RunPredictions(origin, splits))
    tasks = {
        task: TaskResult(
            classes=len(classes), majority=0.3, val=scores(splits["val"][task]), test=scores(splits["test"][task])
        )
        for task in config.task
    }
    result = Result(
        signature=config.signature, data="d0", best_epoch=2, epochs=3, steps=90, parameters=1000 * (number // 3 + 1),
        seconds=1800 + number, tasks=tasks,
    )  # fmt: skip
    write_json(run.result_file, result.model_dump(mode="json"))
    write_json(run.state_file, {"state": "complete", "reason": ""})
    attempt = {"host": "host1", "device": "NVIDIA A100", "world_size": 2}
    write_json(run.run_file, {"format": 1, "git": {"sha": "0123456789abcdef", "diff": ""}, "attempts": [attempt]})
    lines = [{"kind": "step", "step": 1, "epoch": 1, "memory_gib": 3.25}]
    lines += [
        {"kind": "epoch", "step": 30 * n, "epoch": n, "train/loss": 2 / n, "images_per_s": 100.0 * n + number}
        | {f"val/{task}/top1": n / 7 for task in config.task}
        for n in (1, 2, 3)
    ]
    run.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return run


def make(folder: Path, models: Sequence[tuple[Mapping[str, Any], float]], seeds: int = 3, **more: Any) -> list[RunDir]:
    """A sweep of models, by their values and skills, with so many seeds each."""
    planned, runs = [], []
    for values, skill in models:
        for seed in range(seeds):
            given = {**values, "seed": seed}
            config = plan(given)
            planned.append((config.name, config, given))
            runs.append(complete(folder, config, skill, len(runs)))
    write_manifest(folder, planned, **more)
    return runs
