"""Create and write the result of a complete run."""

from collections.abc import Mapping

from shards.index import Index

from ..config import RunConfig, Task
from ..errors import SavingError
from ..inference.predict import Predictions
from ..result import Result, TaskResult
from ..rundir import RunDir, write_json
from .progress import Progress


def make_result(
    config: RunConfig,
    index: Index,
    progress: Progress,
    predictions: Mapping[str, Mapping[Task, Predictions]],
    majorities: Mapping[Task, tuple[str, float]],
    parameters: int,
    seconds: float,
) -> Result:
    """Create a run's result. `predictions` are those of its best epoch on val and test.

    `majorities` are the most common class on test and its share.
    """
    return Result(
        signature=config.signature,
        data=index.fingerprint,
        best_epoch=progress.best_epoch,
        epochs=progress.epochs,
        steps=progress.step,
        parameters=parameters,
        seconds=round(seconds, 2),
        tasks={
            task: TaskResult(
                classes=len(index.classes[task]),
                majority=majorities[task][1],
                majority_class=majorities[task][0],
                val=predictions["val"][task].scores(),
                test=answers.scores(),
            )
            for task, answers in predictions["test"].items()
        },
    )


def write_result(run: RunDir, result: Result) -> None:
    """Write `result.json`, which marks the run as complete. Raises `SavingError` if it cannot be written."""
    try:
        write_json(run.result_file, result.model_dump(mode="json"))
    except OSError as error:
        raise SavingError(
            f"{run.result_file} could not be written ({error.strerror}); free some space and start the run again: "
            "only the test is repeated"
        ) from None
