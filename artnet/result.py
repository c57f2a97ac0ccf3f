"""The result of a complete run: its scores of each task, on val and on test."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from .config import Task
from .formats import FORMAT


class Scores(BaseModel):
    """Scores of one head on one split: shares between 0 and 1 of its `n` labelled images, `correct` of them right.

    `nll` is the negative log-likelihood in nats, `ece` the expected calibration error over 15 equal bins of
    confidence (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017).
    """

    model_config = ConfigDict(allow_inf_nan=False)

    top1: float = Field(ge=0, le=1)
    top5: float = Field(ge=0, le=1)
    macro_f1: float = Field(ge=0, le=1)
    nll: float = Field(ge=0)
    ece: float = Field(ge=0, le=1)
    recall: list[Annotated[float, Field(ge=0, le=1)] | None] = Field(
        description="of each class, in the order of the index; null for a class without an image"
    )
    n: int = Field(ge=1)
    correct: int | None = Field(None, ge=0, description="top-1 as a number of images; null in earlier versions")


class TaskResult(BaseModel):
    """Scores of one head with the best checkpoint. `majority` is the test share of the most common test class.

    `majority_class` is its name; empty in results of earlier versions.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    classes: int = Field(ge=1)
    majority: float = Field(ge=0, le=1)
    majority_class: str = ""
    val: Scores
    test: Scores


class Result(BaseModel):
    """`result.json`: the result of a complete run. The test split was evaluated once, to make it.

    A field that a later version adds has a default: results without it stay valid, as do those with a field more.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    format: int = FORMAT
    signature: str
    data: str = Field(description="fingerprint of the shards' index")
    best_epoch: int = Field(
        ge=1, description="the epoch, from 1, of the best mean top-1 on val; the lower nll breaks ties"
    )
    epochs: int = Field(ge=1, description="how many were trained: fewer than planned if training ended early")
    steps: int = Field(ge=1)
    parameters: int = Field(ge=1)
    seconds: float = Field(ge=0, description="wall-clock time of training and evaluation, all attempts together")
    tasks: dict[Task, TaskResult] = Field(min_length=1)
