"""What one or more runs say of a picture: for each task the likeliest classes, and how far the runs agree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shards.streams import harmless

from ..config import Task
from .pictures import STDIN

TOP = 5  # classes that are named


@dataclass(frozen=True)
class Answer:
    """The likeliest classes of a task, at most `TOP`, the likeliest first, with their mean probability over `runs`.

    `agreeing` of the runs have the first class as theirs, to which they give probabilities from `lowest` to `highest`.
    """

    classes: list[str]
    probabilities: list[float]
    runs: int
    agreeing: int
    lowest: float
    highest: float


@dataclass(frozen=True)
class Answered:
    """A picture with its answers by task, or with the reason why it could not be read. `thumbnail` is a JPEG."""

    file: Path
    answers: Mapping[Task, Answer]
    reason: str = ""
    thumbnail: bytes = b""

    @property
    def name(self) -> str:
        """The path of the file as it was given."""
        return "standard input" if self.file == STDIN else str(self.file)

    @property
    def shown(self) -> str:
        """The name in one line, without what could steer a terminal."""
        return in_one_line(self.name)


def in_one_line(text: str) -> str:
    """Text from others in one line, without what could steer a terminal."""
    return harmless(text.replace("\n", "\0").replace("\t", "\0"))


def answer(probabilities: np.ndarray, classes: Sequence[str]) -> Answer:
    """The answer of runs that give these probabilities to the classes of a task, (runs, classes)."""
    mean = probabilities.mean(0)
    top = np.argsort(-mean, kind="stable")[:TOP]  # of equal classes the first, as in evaluation
    first = probabilities[:, top[0]]
    return Answer(
        classes=[classes[number] for number in top],
        probabilities=mean[top].tolist(),
        runs=len(probabilities),
        agreeing=int((probabilities.argmax(1) == top[0]).sum()),
        lowest=float(first.min()),
        highest=float(first.max()),
    )
