"""The network of a complete run, loaded to predict with."""

from functools import cached_property

import torch
from torch import nn

from shards.errors import UserError
from shards.index import Index, read_index
from shards.remote import local_folder

from .. import checkpoint
from .. import predictions as stored
from ..checkpoint import BEST, BrokenError
from ..config import RunConfig, Task
from ..predictions import RunPredictions
from ..result import Result
from ..rundir import RunDir
from .forward import PixelNetwork


def complete(run: RunDir) -> tuple[RunConfig, Result]:
    """The configuration and the result of a run. Raises `UserError` if it is not complete."""
    config = run.config()
    result = run.result(config.signature)
    if result is None:
        raise UserError(f"{run.path} is not complete ({run.lost_result}); train it to its end, or give another run")
    return config, result


class TrainedRun:
    """A complete run: its configuration, its result, and the network of its best epoch in evaluation mode."""

    def __init__(self, run: RunDir, device: torch.device) -> None:
        """Load the run's best weights to `device`. Raises `UserError` if the run is not complete, or its weights."""
        self.run = run
        self.device = device
        self.config, self.result = complete(run)
        self.network = PixelNetwork(self._network()).eval()

    @property
    def classes(self) -> dict[Task, int]:
        """The number of classes of each task, in the order of the configuration's tasks."""
        return {task: self.result.tasks[task].classes for task in self.config.task}

    @cached_property
    def predictions(self) -> RunPredictions:
        """The run's stored predictions. Raises `UserError` if there are none."""
        return stored.read(self.run.predictions_file, self.config.signature)

    def index(self, shards: str | None = None) -> Index:
        """The index of the shards that the run was trained on, or of `shards`. Raises `UserError` without any."""
        where = shards or self.config.data.shards
        if not where:
            raise UserError(f"{self.run.config_file} names no data.shards; give --shards SHARDS")
        return read_index(local_folder(where))

    def own_index(self, shards: str | None = None) -> Index:
        """The same. Raises `UserError` also if these are not the shards that the run was trained on."""
        index = self.index(shards)
        if index.fingerprint != self.result.data:
            raise UserError(
                f"{index.folder} holds other paintings than {self.run.path} was trained on; give its own as --shards"
            )
        return index

    def _network(self) -> nn.Module:
        from ..models import build_model

        file = self.run.checkpoints / BEST
        try:
            state = checkpoint.load(file, self.device)
        except BrokenError as error:
            raise UserError(f"{error}; restore it from a backup, or train the run again") from None
        if state is None:
            raise UserError(f"{file} is missing; restore it from a backup, or train the run again")
        if state.get("signature") != self.config.signature:
            raise UserError(f"{file} is of another run; restore the run's own from a backup, or train it again")
        network = build_model(**self.config.model.model_dump(), classes=self.classes)
        try:
            network.load_state_dict(state["model"])
        except (RuntimeError, KeyError, TypeError) as error:
            raise UserError(f"{file} does not fit the run's network ({str(error).splitlines()[0]})") from None
        return network.to(self.device).to(memory_format=torch.channels_last)
