"""TensorBoard events of a finished run: hyperparameters, precision-recall curves and confusion matrices."""

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from shards.files import atomic_write

from ..config import RunConfig, Task, build, flatten
from ..inference.predict import Predictions
from ..result import Result
from ..rundir import TENSORBOARD_BEST, RunDir

FILE_NAME = "events.out.tfevents.final"  # sorts after file names that end in a time, so TensorBoard reads it last
# Columns of the table of hyperparameters: each is also a card with one point among the curves, and result.json has all.
SHOWN = ("top1",)
MAX_NAMED, LETTERS = 60, 40  # the most classes that a confusion matrix names, and the letters of a name


def write_final(
    run: RunDir,
    config: RunConfig,
    result: Result,
    predictions: Mapping[str, Mapping[Task, Predictions]],
    classes: Mapping[str, list[str]],
) -> None:
    """Write the final events of a run. `predictions` are those of its best epoch by split and task.

    `classes` maps tasks to class names. The events are one file, written atomically: a run that is stopped here and
    started again replaces it.
    """
    for leftover in run.tensorboard.glob(f".{FILE_NAME}.*.tmp"):
        leftover.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        with SummaryWriter(folder) as board:
            _add_scores(board, run, config, result)
            for task, answers in predictions["test"].items():
                figure = confusion_figure(answers, classes[task], f"{task}, test, epoch {result.best_epoch}")
                # Closing a figure needs pyplot, which did not create this one.
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)  # of letters that the font does not have
                    board.add_figure(f"confusion/test/{task}", figure, result.steps, close=False)
            for task, answers in predictions["val"].items():
                truth = F.one_hot(answers.labels, answers.classes)
                # Micro-averaged: each class against the rest.
                board.add_pr_curve(
                    f"precision_recall/val/{task}", truth.flatten(), answers.logits.softmax(1).flatten(), result.steps
                )
        (events,) = Path(folder).iterdir()
        atomic_write(run.tensorboard / FILE_NAME, events.read_bytes())


def _add_scores(board: SummaryWriter, run: RunDir, config: RunConfig, result: Result) -> None:
    """Add the scores to the run's row in TensorBoard's table of hyperparameters.

    A launcher has written a row with the keys that vary over its sweep; the row of a run without one has those that are
    not at their default. `SummaryWriter.add_hparams` would write to a separate folder, which TensorBoard shows as
    another run.
    """
    defaults = flatten(build({"task": config.task}))
    settings = {
        key: " + ".join(map(str, value)) if isinstance(value, list) else value
        for key, value in flatten(config).items()
        if key == "task" or defaults[key] != value
    }
    scores = {
        f"{TENSORBOARD_BEST}/{split}/{task}/{name}": getattr(getattr(scored, split), name)
        for task, scored in result.tasks.items()
        for split in ("val", "test")
        for name in SHOWN
    }
    columns, row, end = hparams(settings, scores)
    for summary in [end] if run.hparams_file.exists() else [columns, row, end]:
        board._get_file_writer().add_summary(summary)
    for name, value in scores.items():
        board.add_scalar(name, value, result.steps)


def confusion_figure(answers: Predictions, names: list[str], title: str) -> Figure:
    """Plot the confusion matrix, labels (rows) by predictions (columns): counts, coloured by their share of the row.

    More classes than `MAX_NAMED` have neither names nor numbers, so that the figure has a size that can be drawn.
    """
    counts = answers.confusion().cpu()
    shares = counts / counts.sum(1, keepdim=True).clamp(min=1)
    shown = [name.replace("_", " ")[:LETTERS] for name in names]
    side = 0.6 + 0.08 * max(25, *map(len, shown)) + 0.38 * min(len(names), MAX_NAMED)
    figure = Figure(figsize=(side, side), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_title(title)
    if len(names) > MAX_NAMED:
        return figure
    for row, column in counts.nonzero().tolist():
        ink = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(int(counts[row, column])), ha="center", va="center", color=ink, fontsize=8)
    axes.set_xticks(range(len(names)), shown, rotation=90, parse_math=False)
    axes.set_yticks(range(len(names)), shown, parse_math=False)
    return figure
