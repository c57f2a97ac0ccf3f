"""The configuration of one run: every field with its unit or range, unknown keys refused.

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
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo

from shards.errors import UserError
from shards.files import is_url

TASKS = ("artist", "style", "genre")
Task = Literal["artist", "style", "genre"]

# What a recipe sets; any key given beside it wins. "paper" is the training of the RLA paper (Zhao, Fang and Li,
# NeurIPS 2021, section 4.1); "modern" is the current practice at the same cost per epoch.
RECIPES: dict[str, dict[str, Any]] = {
    "paper": {
        "optim.lr": 0.1,
        "optim.schedule": "step",
        "optim.warmup": 0.0,
        "optim.weight_decay": 1e-4,
        "optim.decay_norms": True,
        "optim.label_smoothing": 0.0,
        "augment.policy": "none",
        "augment.crop_scale": 0.08,
        "train.epochs": 120,
    },
    "modern": {
        "optim.lr": 0.1,
        "optim.schedule": "cosine",
        "optim.warmup": 0.05,
        "optim.weight_decay": 5e-5,
        "optim.decay_norms": False,
        "optim.label_smoothing": 0.1,
        "augment.policy": "trivial",
        "augment.crop_scale": 0.25,
        "train.epochs": 100,
    },
}

# Marks a field that cannot change the result of a run, and so has no part in its signature.
_NO_EFFECT: dict[str, JsonValue] = {"affects_result": False}


class Section(BaseModel):
    """A part of the configuration: frozen, and strict about keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelConfig(Section):
    """The network. Names as in the papers: RLA (NeurIPS 2021), SE (CVPR 2018), ECA (CVPR 2020), CBAM (ECCV 2018)."""

    backbone: Literal["resnet18", "resnet34", "resnet50", "resnet101"] = "resnet50"
    recurrence: Literal["none", "rla", "lstm", "gru"] = "none"
    attention: Literal["none", "se", "eca", "cbam", "cbam_channel"] = "none"
    se_reduction: int = Field(16, ge=1, le=64, description="ratio of the bottleneck in SE and CBAM")
    recurrent_channels: int = Field(32, ge=1, le=512, description="channels of the recurrent state")


class DataConfig(Section):
    """Which paintings, at which size."""

    shards: str | None = Field(
        None, description="folder made by shards.pack, or the URL of one", json_schema_extra=_NO_EFFECT
    )
    labelled: Literal["any", "all"] = Field(
        "any", description="with several tasks: paintings labelled for any of them, or for all"
    )
    size: int = Field(224, ge=33, le=1024, description="side of a training crop, pixels")
    eval_size: int | None = Field(None, ge=33, le=1024, description="side in evaluation, pixels; default: size")
    sampler: Literal["shuffle", "class_balanced"] = Field(
        "shuffle", description="an epoch of every painting once, or of as many from each class"
    )
    threads: int | None = Field(
        None, ge=1, le=256, description="decoding threads per rank; default: its share of the cores",
        json_schema_extra=_NO_EFFECT,
    )  # fmt: skip


class AugmentConfig(Section):
    """What training images go through before the network."""

    policy: Literal["none", "trivial"] = Field(
        "trivial", description="TrivialAugment (ICCV 2021) on top of crop and flip, or not"
    )
    crop_scale: float = Field(0.25, gt=0, le=1, description="least area of a random crop, as a share of the image")
    flip: float = Field(0.5, ge=0, le=1, description="probability of a horizontal flip")
    mixup: float = Field(0, ge=0, le=10, description="alpha of mixup (ICLR 2018), 0 = none; it pays in long runs only")
    cutmix: float = Field(0, ge=0, le=10, description="alpha of CutMix (ICCV 2019), 0 = none; with mixup: either")


class OptimConfig(Section):
    """SGD with momentum and its learning-rate schedule."""

    lr: float = Field(0.1, gt=0, le=100, description="peak learning rate per 256 samples of global batch")
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-5, ge=0, le=1)
    decay_norms: bool = Field(False, description="whether norms and biases decay too")
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    step_epochs: int = Field(30, ge=1, description="epochs between the tenfold drops of `schedule: step`")
    warmup: float = Field(0.05, ge=0, lt=1, description="share of all steps spent warming up linearly from zero")
    label_smoothing: float = Field(0.1, ge=0, lt=1)


class TrainConfig(Section):
    """How long, in which batches, in which arithmetic."""

    epochs: int = Field(100, ge=1, le=100_000)
    batch_size: int = Field(256, ge=1, le=65_536, description="global batch size: samples of all ranks together")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="arithmetic of the forward pass (autocast)")
    log_every: int = Field(20, ge=1, description="steps between two log lines", json_schema_extra=_NO_EFFECT)
    checkpoint_minutes: float = Field(
        10, gt=0, description="minutes between checkpoints within an epoch; each epoch's end makes one too",
        json_schema_extra=_NO_EFFECT,
    )  # fmt: skip


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


Pretrained = Annotated[str | None, AfterValidator(_absolute)]


class RunConfig(Section):
    """Everything a run needs to know, complete: written to `config.yaml`, enough to start the run again."""

    recipe: Literal["paper", "modern"] = Field("modern", json_schema_extra=_NO_EFFECT)  # its values are what counts
    task: Tasks = Field(description="artist, style, genre or a list of them: one head each")
    seed: int = Field(0, ge=0, lt=2**32)
    pretrained: Pretrained = Field(
        None, description="weights to start from: `imagenet` or a checkpoint's file, of torchvision or RLANet"
    )
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    augment: AugmentConfig = AugmentConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()

    @model_validator(mode="before")
    @classmethod
    def _apply_recipe(cls, values: object) -> object:
        if not isinstance(values, Mapping):
            return values
        recipe = RECIPES.get(str(values.get("recipe", "modern")), {})
        return _merge(unflatten(recipe), values)

    @model_validator(mode="after")
    def _check_tasks(self) -> Self:
        if len(set(self.task)) != len(self.task):
            raise ValueError(f"task: {', '.join(self.task)} names a task twice; name each once")
        if self.data.sampler == "class_balanced" and len(self.task) > 1:
            raise ValueError("data.sampler: class_balanced balances the classes of one task; name one as task")
        return self

    def with_shards(self, shards: str) -> Self:
        """The same run on the shards of that URL or folder, made absolute: a run may start in any folder."""
        absolute = shards if is_url(shards) else str(Path(shards).resolve())
        return self.model_copy(update={"data": self.data.model_copy(update={"shards": absolute})})

    @property
    def eval_size(self) -> int:
        """Side of an evaluated image in pixels."""
        return self.data.eval_size or self.data.size

    @property
    def signature(self) -> str:
        """SHA-256, in hex, of the canonical JSON of every field that can change the result."""
        values = {key: value for key, value in flatten(self).items() if affects_result(key)}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

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


def affects_result(key: str) -> bool:
    """Whether the field at this dotted path can change what a run results in."""
    extra = fields()[key].json_schema_extra
    return not (isinstance(extra, dict) and extra.get("affects_result") is False)


def unknown_key(key: str) -> str:
    """Say that a dotted path does not exist, with the nearest that does."""
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
    try:
        return build(values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def dump(config: RunConfig) -> str:
    """The configuration as YAML, complete, in the order of the fields."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
