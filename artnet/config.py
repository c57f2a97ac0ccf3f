"""The configuration of one run: its sections and recipe together, unknown keys refused.

A run is named by dotted paths (`model.attention`, `optim.lr`): grids, `--set` and error messages all use them.
Light to import (no torch), because launchers plan hundreds of runs with it.
"""

import difflib
import hashlib
import json
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
from shards.files import is_url

from .formats import FORMAT, check_format
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
    TrainConfig,
)

TASKS = ("artist", "style", "genre")
Task = Literal["artist", "style", "genre"]


def _as_tasks(value: object) -> object:
    """`task: artist` is `task: [artist]`; the order of tasks is always artist, style, genre."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or any(name not in TASKS for name in names):
        return names
    return sorted(names, key=TASKS.index)


Tasks = Annotated[tuple[Task, ...], BeforeValidator(_as_tasks), Field(min_length=1, max_length=3)]


def _absolute(source: str | None) -> str | None:
    """A run may start in any folder."""
    return source if source in (None, "imagenet") else str(Path(source).expanduser().resolve())


Source = Annotated[str | None, AfterValidator(_absolute)]


class RunConfig(Section):
    """Everything a run needs to know, complete: written to `config.yaml`, enough to start the run again."""

    recipe: Literal["paper", "modern"] = Field("modern", json_schema_extra=NO_EFFECT)  # its values are what counts
    task: Tasks = Field(description="artist, style, genre or a list of them: one head each")
    seed: int = Field(0, ge=0, lt=2**32)
    pretrained: Source = Field(
        None, description="weights to start from: `imagenet` or a checkpoint's file, of torchvision or RLANet"
    )
    init_from: Source = Field(
        None, description="weights to start from: those of another run, its folder or a checkpoint's file"
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
        return _merge(unflatten(recipe), values)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.task)) != len(self.task):
            raise ValueError(f"task: {', '.join(self.task)} names a task twice; name each once")
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
        if self.train.freeze_epochs >= self.train.epochs:
            raise ValueError(
                f"train.freeze_epochs {self.train.freeze_epochs} leaves nothing of train.epochs {self.train.epochs}; "
                "make it smaller"
            )
        return self

    def with_shards(self, shards: str) -> Self:
        """The same run on the shards of that URL or folder, made absolute: a run may start in any folder."""
        absolute = shards if is_url(shards) else str(Path(shards).resolve())
        return self.model_copy(update={"data": self.data.model_copy(update={"shards": absolute})})

    @property
    def eval_size(self) -> int:
        """Side of an evaluated image in pixels."""
        return self.eval.size or round(self.data.size * self.eval.enlarge)

    @property
    def signature(self) -> str:
        """SHA-256, in hex, of the canonical JSON of every field that changes the result."""
        return signature(flatten(self), fields())

    @property
    def name(self) -> str:
        """What people call the run: `resnet50-lstm-se_artist_s0-3f9a1c7b`, unique by the signature's first 8 digits."""
        parts = (self.model.backbone, self.model.recurrence, self.model.attention)
        model = "-".join(part for part in parts if part != "none")
        return f"{model}_{'+'.join(self.task)}_s{self.seed}-{self.signature[:8]}"


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = _merge(below, value)
        else:
            merged[key] = value
    return merged


def unflatten(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn `{"optim.lr": 0.1}` into `{"optim": {"lr": 0.1}}`."""
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *parents, leaf = key.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return tree


def flatten(config: BaseModel) -> dict[str, Any]:
    """The configuration as dotted path -> JSON value, in the order of the fields. The inverse of `unflatten`."""
    flat: dict[str, Any] = {}

    def walk(node: Mapping[str, Any], prefix: str) -> None:
        for key, value in node.items():
            if isinstance(value, Mapping):
                walk(value, f"{prefix}{key}.")
            else:
                flat[f"{prefix}{key}"] = value

    walk(config.model_dump(mode="json"), "")
    return flat


@cache
def fields() -> dict[str, FieldInfo]:
    """Every dotted path of a run's configuration, with its pydantic field."""
    found: dict[str, FieldInfo] = {}

    def walk(section: type[BaseModel], prefix: str) -> None:
        for key, field in section.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                walk(field.annotation, f"{prefix}{key}.")
            else:
                found[f"{prefix}{key}"] = field

    walk(RunConfig, "")
    return found


def signature(values: Mapping[str, Any], described: Mapping[str, FieldInfo]) -> str:
    """The signature of a flat configuration, whose fields are `described` under the same dotted paths. Pure.

    Left out are fields that change no result, and fields that a later version added where their value is the one that
    means "as before": see `sections.NO_EFFECT` and `sections.added`.
    """
    counted = {}
    for key, value in values.items():
        extra = described[key].json_schema_extra
        marks = extra if isinstance(extra, dict) else {}
        is_as_before = "as_before" in marks and marks["as_before"] == value
        if marks.get("affects_result", True) and not is_as_before:
            counted[key] = value
    return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()


def unknown_key(key: str) -> str:
    """A message that a dotted path does not exist, with the nearest one that does."""
    known = list(fields())
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6) or [
        name for name in known if name.rpartition(".")[2] == key.rpartition(".")[2]
    ]
    return f"unknown key {key!r}; " + (f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(known)}")


def canonical(key: str, value: object) -> Any:
    """The JSON value that the field at `key` would hold for `value`: `1e-1`, `"0.1"` and `0.1` all give `0.1`.

    Raises `UserError` for a key that does not exist and a value that the field refuses.
    """
    if key not in fields():
        raise UserError(unknown_key(key))
    field = fields()[key]
    annotation: Any = Annotated[field.annotation, field]
    adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    try:
        return adapter.dump_python(adapter.validate_python(value), mode="json")
    except ValidationError as error:
        raise UserError(explain(error, prefix=key)) from None


def explain(error: ValidationError, prefix: str = "") -> str:
    """A validation error's first complaint as one sentence that begins with the key."""
    first = error.errors(include_url=False)[0]
    # Locations inside a list or a union carry indices and type names: keep what is a key.
    keys = [str(part) for part in first["loc"] if isinstance(part, str)]
    key = prefix or ".".join(keys)
    if first["type"] == "extra_forbidden":
        return unknown_key(key)
    if first["type"] == "missing":
        return f"{key} is missing; give it a value"
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if not key:
        return message
    shown = first["input"]
    return f"{key}: {message}" + (f", not {shown!r}" if not isinstance(shown, Mapping) else "")


def build(values: Mapping[str, Any]) -> RunConfig:
    """Validate a nested mapping into a run's configuration. Raises `UserError` with one sentence."""
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise UserError(explain(error)) from None


def load(path: Path) -> RunConfig:
    """Read a run's YAML file. Raises `UserError` naming the file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}); give a run's YAML file") from None
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, Mapping):
        raise UserError(f"{path} must hold `key: value` lines of a run's configuration, such as `task: style`")
    check_format(path, values)
    try:
        return build({key: value for key, value in values.items() if key != "format"})
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def dump(config: RunConfig) -> str:
    """The configuration as YAML, complete, in the order of the fields, after the format of the file."""
    values = {"format": FORMAT, **config.model_dump(mode="json")}
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
