"""What a complete run resulted in, and writing it down."""

from collections.abc import Mapping

from shards.index import Index

from ..config import RunConfig, Task
from ..errors import SavingError
from ..inference.predict import Predictions
from ..rundir import Result, RunDir, Scores, TaskResult, write_json
from .progress import Progress


def make_result(
    config: RunConfig,
    index: Index,
    progress: Progress,
    test: Mapping[Task, Predictions],
    majorities: Mapping[Task, float],
    parameters: int,
    seconds: float,
) -> Result:
    """The result of a run whose best epoch answered `test`; `majorities` are test shares of the commonest classes."""
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
                majority=majorities[task],
                val=Scores.model_validate(progress.best_val[task]),
                test=answers.scores(),
            )
            for task, answers in test.items()
        },
    )


def write_result(run: RunDir, result: Result) -> None:
    """Write `result.json`, which makes the run complete. Raises `SavingError` if the disk refuses."""
    try:
        write_json(run.result_file, result.model_dump(mode="json"))
    except OSError as error:
        raise SavingError(
            f"{run.result_file} could not be written ({error.strerror}); make room and start it again: "
            "only the test will be done again"
        ) from None
