"""The configuration of one run: its sections and recipe together, unknown keys refused.

A run is named by dotted paths (`model.attention`, `optim.lr`): grids, `--set` and error messages all use them.
Light to import (no torch), because launchers plan hundreds of runs with it.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo

from shards.errors import UserError
from shards.tasks import is_task, order

from ..formats import FORMAT, check_format
from . import complaint, suggest
from .document import read
from .flat import flatten, is_weight, merge, signature, unflatten
from .numeric import Int
from .paths import absolute, beside, expanded
from .recipes import RECIPES
from .sections import (
    NO_EFFECT,
    AugmentConfig,
    DataConfig,
    EvalConfig,
    LossConfig,
    ModelConfig,
    OptimConfig,
    Section,
    Task,
    TrainConfig,
    added,
)

MAX_TASKS = 32


def _as_tasks(value: object) -> object:
    """`task: artist` is `task: [artist]`; the order is always artist, style, genre, then the alphabet."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple):
        raise ValueError("the name of a task, such as style, or a list of names is wanted")
    if not all(map(is_task, names)):
        return names
    return sorted(names, key=order)


Tasks = Annotated[tuple[Task, ...], BeforeValidator(_as_tasks), Field(min_length=1, max_length=MAX_TASKS)]


def _absolute(source: str | None) -> str | None:
    if source is not None and not source.strip():
        raise ValueError("the path is empty; write none, or the path of a checkpoint")
    return source if source in (None, "imagenet") else absolute(source)


Source = Annotated[str | None, BeforeValidator(expanded), AfterValidator(_absolute)]
MAX_BYTES = 100_000  # of a file, far more than all fields with their comments
PATHS = ("data.shards", "pretrained", "init_from")


class RunConfig(Section):
    """Everything a run needs to know, complete: written to `config.yaml`, enough to start the run again."""

    recipe: Literal["paper", "modern"] = Field(
        "modern",
        json_schema_extra=NO_EFFECT,
        description="values of several keys at once; keys that are given override it",
    )  # its values are what counts
    task: Tasks = Field(description="what to tell apart, or a list: one head each")
    seed: Int = Field(0, ge=0, lt=2**32, description="of the initial weights, the order of the paintings and all draws")
    pretrained: Source = Field(
        None, description="weights to start from: `imagenet` or a checkpoint's file, such as torchvision's"
    )
    init_from: Source = Field(
        None, description="weights to start from: those of another run, its folder or a checkpoint's file"
    )
    weights_sha256: str | None = Field(
        None,
        pattern="^[0-9a-f]{64}$",
        json_schema_extra=added(None),
        description="SHA-256 of the file of `pretrained` or `init_from`; filled in when the run is planned",
    )
    weights_ema: bool = Field(
        False,
        json_schema_extra=added(False),
        description="start from the moving average that the file of `pretrained` or `init_from` holds too",
    )
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    augment: AugmentConfig = AugmentConfig()
    optim: OptimConfig = OptimConfig()
    loss: LossConfig = LossConfig()
    eval: EvalConfig = EvalConfig()
    train: TrainConfig = TrainConfig()

    @model_validator(mode="before")
    @classmethod
    def _apply_recipe(cls, values: object) -> object:
        if not isinstance(values, Mapping):
            return values
        recipe = RECIPES.get(str(values.get("recipe", "modern")), {})
        return merge(unflatten(recipe), values)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.task)) != len(self.task):
            raise ValueError(f"task: {', '.join(self.task)} names a task twice; name each once")
        if other := next((task for task in self.loss.weights.others if task not in self.task), None):
            raise ValueError(f"loss.weights.{other}: the run has no task {other}; name it as task, or drop the weight")
        if self.data.sampler == "class_balanced" and len(self.task) > 1:
            raise ValueError("data.sampler: class_balanced balances the classes of one task; name one as task")
        against_imbalance = {
            "data.sampler: class_balanced": self.data.sampler == "class_balanced",
            "loss.balance: balanced_softmax": self.loss.balance == "balanced_softmax",
            "eval.logit_adjustment": self.eval.logit_adjustment > 0,
        }
        chosen = [key for key, is_on in against_imbalance.items() if is_on]
        if len(chosen) > 1:
            raise ValueError(f"{' and '.join(chosen)} would each compensate for rare classes; choose one")
        if self.pretrained and self.init_from:
            raise ValueError("pretrained and init_from both say where the weights come from; give one")
        if self.weights_sha256 and self.weights_source is None:
            raise ValueError("weights_sha256 is of a file of weights; name that as pretrained or init_from, or drop it")
        if self.weights_ema and self.weights_source is None:
            raise ValueError("weights_ema is of a file of weights; name that as pretrained or init_from, or drop it")
        if self.train.freeze_epochs >= self.train.epochs:
            raise ValueError(
                f"train.freeze_epochs {self.train.freeze_epochs} leaves nothing of train.epochs {self.train.epochs}; "
                "make it smaller"
            )
        return self

    def check_divides(self, ranks: int, accumulate: int | None = None) -> None:
        """Raise `UserError` unless the batch can be divided among so many ranks, each computing it in equal parts.

        `accumulate` is the number of parts, `train.accumulate` by default.
        """
        accumulate = accumulate or self.train.accumulate
        if self.train.batch_size % (ranks * accumulate):
            raise UserError(
                f"train.batch_size {self.train.batch_size} cannot be divided among {ranks} ranks "
                f"with train.accumulate {accumulate}; it is the batch size of all ranks together: "
                f"make it a multiple of {ranks * accumulate}"
            )

    def with_shards(self, shards: str) -> Self:
        """The same run on the shards of that URL or folder, made absolute: a run may start in any folder."""
        path = canonical("data.shards", shards)
        return self.model_copy(
            update={"data": self.data.model_copy(update={"shards": absolute(path) if path else None})}
        )

    @property
    def weights_source(self) -> Path | None:
        """The file or run that `pretrained` or `init_from` names; None for ImageNet's weights and random ones."""
        source = self.init_from or self.pretrained
        return None if source in (None, "imagenet") else Path(str(source))

    @property
    def eval_size(self) -> int:
        """Side of an evaluated image in pixels."""
        return self.eval.size or round(self.data.size * self.eval.enlarge)

    @property
    def signature(self) -> str:
        """SHA-256, in hex, of the canonical JSON of every field that changes the result.

        Where `weights_sha256` says what the weights are, it does not matter where their file is.
        """
        values = flatten(self)
        if self.weights_sha256:
            values["init_from" if self.init_from else "pretrained"] = "a file"
        return signature(values, fields())

    @property
    def name(self) -> str:
        """What people call the run: `resnet50-lstm-se_artist_s0-3f9a1c7b`, unique by the signature's first 8 digits."""
        parts = (self.model.backbone, self.model.recurrence, self.model.attention)
        model = "-".join(part for part in parts if part != "none")
        return f"{model}_{'+'.join(self.task)}_s{self.seed}-{self.signature[:8]}"


class Fields(dict[str, FieldInfo]):
    """Dotted paths and their fields; the path of a weight of any other task is there too, but not iterated over."""

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or is_weight(key)

    def __missing__(self, key: str) -> FieldInfo:
        if is_weight(key):
            return self["loss.weights.style"]
        raise KeyError(key)


@cache
def fields() -> Fields:
    """Every dotted path of a run's configuration, with its pydantic field."""
    found = Fields()

    def walk(section: type[BaseModel], prefix: str) -> None:
        for key, field in section.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                walk(field.annotation, f"{prefix}{key}.")
            else:
                found[f"{prefix}{key}"] = field

    walk(RunConfig, "")
    return found


def unknown_key(key: str) -> str:
    """A message that a dotted path does not exist, with the one that is meant."""
    return suggest.unknown_key(key, list(fields()))


def canonical(key: str, value: object, written: str | None = None) -> Any:
    """The JSON value that the field at `key` would hold for `value`: `1e-1`, `"0.1"` and `0.1` all give `0.1`.

    Raises `UserError` for a key that does not exist and a value that the field refuses, which is shown as `written`.
    """
    if key not in fields():
        raise UserError(unknown_key(key))
    field = fields()[key]
    annotation: Any = Annotated[field.annotation, field]
    adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    try:
        return adapter.dump_python(adapter.validate_python(value), mode="json")
    except ValidationError as error:
        raise UserError(explain(error, key, written)) from None


def explain(error: ValidationError, prefix: str = "", written: str | None = None) -> str:
    """A validation error's first complaint as one sentence: see `complaint.sentence`."""
    key = prefix or complaint.key_of(error)
    if error.errors(include_url=False)[0]["type"] == "extra_forbidden":
        return unknown_key(key)
    return complaint.sentence(error, key, written)


def build(values: Mapping[str, Any]) -> RunConfig:
    """Validate a nested mapping into a run's configuration. Raises `UserError` with one sentence."""
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise UserError(explain(error)) from None


# The blocks that a grid has and a run has not.
_GRID_BLOCKS = (
    "name",
    "metric",
    "env_from",
    "after",
    "on_end",
    "fixed",
    "parameters",
    "zip",
    "conditional",
    "include",
    "exclude",
    "reference",
    "slurm",
    "tune",
    "local",
)


def load(path: Path) -> RunConfig:
    """Read a run's YAML file, its keys nested or dotted. Raises `UserError` with the file and line.

    A relative path that does not exist in the working directory is looked for beside the file.
    """
    document = read(path, "a run's YAML file, with `key: value` lines such as `task: style`", MAX_BYTES)
    check_format(path, document.values)
    if block := next((key for key in _GRID_BLOCKS if key in document.values), None):
        raise document.error((block,), f"this is a grid, with `{block}`; give it to launch/local.py --grid {path}")
    document = document.with_dotted_keys(lambda position: not position, fields())
    values = {key: value for key, value in document.values.items() if key != "format"}
    for key, value in values.items():
        if key not in fields():
            raise document.error((key,), unknown_key(key))
        if key in PATHS:
            values[key] = beside(value, path.parent)
    try:
        return RunConfig.model_validate(unflatten(values))
    except ValidationError as error:
        key = complaint.key_of(error)
        raise document.error((key,), explain(error, written=document.written.get((key,)))) from None


def dump(config: RunConfig) -> str:
    """The configuration as YAML, complete, in the order of the fields, after the format of the file."""
    values = {"format": FORMAT, **config.model_dump(mode="json")}
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
