"""The grid's `tune:` block: how the next configuration is found, when a run is stopped, and when to end."""

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SAMPLES = 10  # at each point of the lists, unless the block says how many


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Budget(_Block):
    """What all runs of a search may take together; runs that have begun go on to their end."""

    epochs: int | None = Field(None, ge=1, description="trained ones, over all runs")
    hours: float | None = Field(None, gt=0, description="of training, over all runs")

    @model_validator(mode="after")
    def _is_one(self) -> "Budget":
        if (self.epochs is None) == (self.hours is None):
            raise ValueError("give either epochs or hours")
        return self


class Confirm(_Block):
    """The best configurations, trained again in full over other seeds: only they are compared on test."""

    top: int = Field(3, ge=1, le=100, description="how many configurations")
    seeds: tuple[int, ...] = Field((1, 2, 3), min_length=1, max_length=100)

    @model_validator(mode="after")
    def _differ(self) -> "Confirm":
        if len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ValueError("seeds must differ and be 0 or more")
        return self


class TuneBlock(_Block):
    """The grid's `tune:` block."""

    searcher: Literal["tpe", "gp", "cmaes", "qmc", "random"] = Field("tpe", description="chooses the configurations")
    scheduler: Literal["asha", "hyperband", "median", "none"] = Field("asha", description="stops runs that fall behind")
    trials: int | None = Field(None, ge=1, le=100_000, description="configurations, over all points of the lists")
    samples: int | None = Field(None, ge=1, le=100_000, description="the same at each point of the lists")
    budget: Budget | None = Field(None, description="instead of trials")
    startup: int = Field(10, ge=0, description="random configurations before the searcher learns from results")
    seed: int = Field(0, ge=0, description="of the search")
    known: tuple[str, ...] = Field((), description="folders of sweeps whose finished runs are learnt from")
    first: tuple[Mapping[str, Any], ...] = Field((), description="values that are tried first")
    max_failures: int = Field(2, ge=0, description="how often a run that fails is started again")
    confirm: Confirm | None = None
    max_parallel: int | None = Field(None, ge=1, description="runs at a time; default: as many as the resources allow")
    cpus_per_run: float | None = Field(None, gt=0, description="default: with GPUs an equal share of the CPUs, else 1")
    gpus_per_run: float | None = Field(
        None, ge=0, description="default: 1 with GPUs, else 0; 0.5: two runs on a GPU; 2: a run on two GPUs; 0: on CPUs"
    )
    grace_epochs: int | None = Field(None, ge=1, description="epochs before a run may be stopped")
    reduction_factor: int = Field(3, ge=2, description="one of so many goes on at each rung")

    @model_validator(mode="after")
    def _ends_once(self) -> "TuneBlock":
        given = [key for key in ("trials", "samples", "budget") if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"give only one of {' and '.join(given)}: each says when the search ends")
        gpus = self.gpus_per_run
        if gpus is not None and gpus > 1 and gpus % 1:
            raise ValueError(f"gpus_per_run {gpus:g}: give a whole number of GPUs, or a part of one")
        return self

    def count(self, points: int) -> int | None:
        """How many configurations are asked for at so many `points` of the grid's lists; None if the budget decides."""
        if self.budget:
            return None
        return self.trials or (self.samples or SAMPLES) * points

    def grace(self, epochs: int) -> int:
        """The epochs before a run of so many `epochs` may be stopped; where it is not given, a tenth, at least 2."""
        return self.grace_epochs or max(2, math.ceil(epochs / 10))
