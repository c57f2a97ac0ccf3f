"""One or more runs that answer together: the mean of their calibrated probabilities."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from scipy.special import softmax

from shards.errors import UserError

from ..config import Task
from ..distributed.ranks import Ranks
from ..predictions import Origin
from .answers import Answer, Answered, answer
from .evaluation import stored_or_made
from .pictures import PictureBatch, View
from .predict import adjusted, evaluation_outputs
from .trained import TrainedRun

MOST_ON_GPU, MOST_ON_CPU = 256, 32  # pictures in a batch; on a CPU larger ones are no faster, and show no progress


class Member:
    """A run that answers. `origin` says what is needed beside its network: classes, priors and temperatures."""

    def __init__(self, trained: TrainedRun, ranks: Ranks) -> None:
        """Raises `UserError` if the run has no predictions and they cannot be made, or they do not fit its network."""
        self.trained = trained
        self.origin: Origin = stored_or_made(trained, ranks).origin
        for task, n in trained.classes.items():
            held = len(self.origin.classes.get(task, [])), len(self.origin.log_priors.get(task, []))
            if task not in self.origin.temperatures or held != (n, n):
                raise UserError(
                    f"{trained.run.predictions_file} does not fit the run's {n} classes of {task}; remove it, and "
                    f"`python -m artnet.evaluate {trained.run.path}` makes it again"
                )

    @torch.inference_mode()
    def probabilities(self, images: torch.Tensor) -> dict[Task, np.ndarray]:
        """The calibrated probabilities, float64 (n, classes), of each task for views uint8 (n, size, size, 3)."""
        trained, config = self.trained, self.trained.config
        widths = list(trained.classes.values())
        logits = evaluation_outputs(trained.network, images.to(trained.device), config).split(widths, 1)
        found = {}
        for task, of in zip(trained.classes, logits, strict=True):
            final = adjusted(of, config, torch.tensor(self.origin.log_priors[task])).cpu().numpy()
            found[task] = softmax(final.astype(np.float64) / self.origin.temperatures[task], 1)
        return found


class Ensemble:
    """Runs that answer together. Each task is answered by the runs that were trained for it."""

    def __init__(self, members: Sequence[Member]) -> None:
        """Raises `UserError` if two runs have other classes for the same task."""
        self.members = members
        self.classes: dict[Task, list[str]] = {}
        first: dict[Task, Member] = {}
        for member in members:
            for task in member.trained.config.task:
                held, own = self.classes.setdefault(task, member.origin.classes[task]), member.origin.classes[task]
                other = first.setdefault(task, member).trained.run.path
                if held != own:
                    raise UserError(
                        f"{other} and {member.trained.run.path} know other classes of {task} ({len(held)} and "
                        f"{len(own)}{_first_difference(held, own)}); ask them one by one"
                    )

    @property
    def views(self) -> list[View]:
        """What is needed of each picture: the views of the runs, each once."""
        return list(dict.fromkeys(View.of(member.origin) for member in self.members))

    @property
    def batch_size(self) -> int:
        """Pictures in a batch: as in the runs' own evaluation, which is what is exactly repeated, but not too many."""
        most = MOST_ON_GPU if self.members[0].trained.device.type == "cuda" else MOST_ON_CPU
        return min(most, *(member.trained.config.train.batch_size for member in self.members))

    def answers(self, batch: PictureBatch) -> Iterator[Answered]:
        """Answer for each picture of a batch of these `views`."""
        views = dict(zip(self.views, batch.images, strict=True)) if batch.pictures else {}
        found = [member.probabilities(views[View.of(member.origin)]) for member in self.members] if views else []
        for place, picture in enumerate(batch.pictures):
            answers: dict[Task, Answer] = {}
            for task, classes in self.classes.items():
                rows = [probabilities[task][place] for probabilities in found if task in probabilities]
                answers[task] = answer(np.stack(rows), classes)
            yield Answered(picture.file, answers, thumbnail=picture.thumbnail)


def _first_difference(one: Sequence[str], other: Sequence[str]) -> str:
    pair = next(((a, b) for a, b in zip(one, other, strict=False) if a != b), None)
    return f", {pair[0]} where the other has {pair[1]}" if pair else ""
