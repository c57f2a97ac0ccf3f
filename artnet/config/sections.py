"""The sections of a run's configuration: all fields with units and ranges. The defaults are the modern recipe's."""

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

from shards.tasks import NAME_RULE, is_task

from .attentions import ATTENTIONS
from .numeric import Float, Int, OptionalInt
from .paths import expanded

if TYPE_CHECKING:  # type checkers want the names themselves
    AttentionName = str
else:
    AttentionName = Literal[tuple(ATTENTIONS)]

# Marks a field that cannot change the result of a run, and so is not part of its signature.
NO_EFFECT: dict[str, JsonValue] = {"affects_result": False}


def added(as_before: JsonValue) -> dict[str, JsonValue]:
    """Mark a field that was added after the first version: `Field(0.0, json_schema_extra=added(0.0))`.

    `as_before`, the field's default, is the value that gives the same results as before the field was added. Only
    other values are part of the signature, so that finished runs are not trained again.
    """
    return {"as_before": as_before}


class Section(BaseModel):
    """A section of the configuration: frozen, and without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelConfig(Section):
    """The network. Names as in the papers: RLA (NeurIPS 2021), SE (CVPR 2018), ECA (CVPR 2020), CBAM (ECCV 2018)."""

    backbone: Literal["resnet18", "resnet34", "resnet50", "resnet101"] = Field(
        "resnet50", description="the network that recurrence and attention are added to"
    )
    recurrence: Literal["none", "rla", "lstm", "gru"] = Field(
        "none", description="recurrence between the layers of a stage: Recurrent Layer Aggregation, LSTM or GRU"
    )
    attention: AttentionName = Field(
        "none", description="attention in each residual block; cbam_channel is CBAM without its spatial half"
    )
    se_reduction: Int = Field(16, ge=1, le=64, description="ratio of the bottleneck in SE and CBAM")
    recurrent_channels: Int = Field(32, ge=1, le=512, description="channels of the recurrent state")
    drop_path: Float = Field(
        0, ge=0, lt=1, description="stochastic depth (ECCV 2016): skip probability of the last block, others less"
    )


class DataConfig(Section):
    """The paintings to use, and their size."""

    shards: Annotated[str | None, BeforeValidator(expanded)] = Field(
        None, description="folder written by shards.pack, or its URL", json_schema_extra=NO_EFFECT
    )
    labelled: Literal["any", "all"] = Field(
        "any", description="with several tasks: use paintings labelled for any of them, or for all"
    )
    size: Int = Field(224, ge=33, le=1024, description="side of the training crops, pixels")
    start_size: OptionalInt = Field(
        None, ge=33, le=1024, description="progressive resizing: side of the first epoch's crops, pixels; default: size"
    )
    sampler: Literal["shuffle", "class_balanced"] = Field(
        "shuffle", description="an epoch has every painting once, or equally many of each class"
    )
    folds: Int = Field(
        0, ge=0, le=100, json_schema_extra=added(0),
        description="cross-validation over all labelled paintings, in so many folds; 0 = the splits of the shards",
    )  # fmt: skip
    fold: Int = Field(
        0, ge=0, lt=100, json_schema_extra=added(0), description="the fold that is tested on, 0 to data.folds - 1"
    )
    threads: OptionalInt = Field(
        None, ge=1, le=256, description="decoding threads per rank; default: the rank's share of the cores",
        json_schema_extra=NO_EFFECT,
    )  # fmt: skip

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        if self.start_size and self.start_size > self.size:
            raise ValueError(f"data.start_size {self.start_size} is more than data.size {self.size}; make it smaller")
        return self

    @model_validator(mode="after")
    def _check_fold(self) -> Self:
        if self.folds == 1:
            raise ValueError(
                "data.folds 1 leaves nothing to train on; give 2 or more, or 0 for the splits of the shards"
            )
        if self.fold >= max(1, self.folds):
            raise ValueError(f"data.fold {self.fold} is none of data.folds {self.folds}; they are counted from 0")
        return self


class AugmentConfig(Section):
    """Augmentation of the training images."""

    policy: Literal["none", "trivial"] = Field(
        "trivial", description="TrivialAugment (ICCV 2021) that preserves hues, in addition to crop and flip, or none"
    )
    crop_scale: Float = Field(0.25, gt=0, le=1, description="minimum area of a random crop, as a share of the image")
    flip: Float = Field(0.5, ge=0, le=1, description="probability of a horizontal flip")
    erasing: Float = Field(0.1, ge=0, le=1, description="probability that a rectangle is erased (AAAI 2020)")
    mixup: Float = Field(0, ge=0, le=10, description="alpha of mixup (ICLR 2018), 0 = off; helps only in long runs")
    cutmix: Float = Field(
        0, ge=0, le=10, description="alpha of CutMix (ICCV 2019), 0 = off; with mixup, each batch gets one of them"
    )


class OptimConfig(Section):
    """The optimizer and its learning-rate schedule."""

    name: Literal["sgd", "adamw"] = Field("sgd", description="SGD with momentum, or AdamW (ICLR 2019)")
    lr: Float = Field(0.1, gt=0, le=100, description="peak learning rate per 256 samples of global batch")
    momentum: Float = Field(0.9, ge=0, lt=1, description="of SGD, and the first beta of AdamW")
    weight_decay: Float = Field(5e-5, ge=0, le=1, description="L2 penalty on the weights (SGD), or decoupled (AdamW)")
    decay_norms: bool = Field(False, description="whether weight decay applies to norms and biases too")
    schedule: Literal["cosine", "step", "one_cycle", "linear", "constant"] = Field(
        "cosine", description="course of the learning rate after the warm-up"
    )
    step_epochs: Int = Field(30, ge=1, description="epochs between the tenfold drops of `schedule: step`")
    warmup: Float = Field(0.05, ge=0, description="length of the rise to the peak learning rate, in `warmup_unit`")
    warmup_unit: Literal["share", "epochs", "steps"] = Field("share", description="share: of all steps, below 1")
    clip_norm: Float = Field(5, ge=0, description="maximum L2 norm of the gradient; 0 = no clipping")
    ema_half_life: Float = Field(
        300, ge=0, description="half-life of the exponential moving average of the weights, steps; 0 = no average"
    )
    backbone_lr: Float = Field(1, ge=0, le=1, description="factor on the learning rate of all but the heads")

    @model_validator(mode="after")
    def _check_warmup(self) -> Self:
        if self.warmup_unit == "share" and self.warmup >= 1:
            raise ValueError(
                f"optim.warmup {self.warmup:g} must be below 1, as a share of all steps; "
                "or set optim.warmup_unit to epochs or steps"
            )
        return self


def _task(name: str) -> str:
    if not is_task(name):
        raise ValueError(NAME_RULE)
    return name


Task = Annotated[str, AfterValidator(_task)]
Weight = Annotated[Float, Field(ge=0, le=1000)]


class TaskWeights(Section):
    """The weight of each head in the loss; one of another task than these is 1 unless it is given."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[Task, Weight]

    artist: Float = Field(1, ge=0, le=1000, description="weight of the artist head in the loss")
    style: Float = Field(1, ge=0, le=1000, description="weight of the style head in the loss")
    genre: Float = Field(1, ge=0, le=1000, description="weight of the genre head in the loss")

    @model_validator(mode="after")
    def _drop_ones(self) -> Self:
        """A weight of 1 is the same as none, so that a run has one signature."""
        for task in [task for task, weight in self.others.items() if weight == 1]:
            del self.others[task]
        return self

    @property
    def others(self) -> dict[str, float]:
        """The weights of other tasks than artist, style and genre that are not 1."""
        return self.__pydantic_extra__

    def of(self, task: str) -> float:
        """The weight of a task."""
        return float(self.model_dump().get(task, 1))


class LossConfig(Section):
    """The cross-entropy of each head, and how the heads' losses are summed."""

    label_smoothing: Float = Field(0.1, ge=0, lt=1, description="share of the target spread over all classes")
    balance: Literal["none", "balanced_softmax"] = Field(
        "none", description="compensation for class imbalance: balanced softmax (NeurIPS 2020) or none"
    )
    weighting: Literal["fixed", "uncertainty"] = Field(
        "fixed", description="weights of the heads: those of `weights`, or learned (Kendall et al., CVPR 2018)"
    )
    weights: TaskWeights = TaskWeights()

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        if self.weighting == "uncertainty" and self.weights != TaskWeights():
            raise ValueError("loss.weights have no effect with loss.weighting: uncertainty; drop one of them")
        return self


class EvalConfig(Section):
    """Evaluation on val and test."""

    size: OptionalInt = Field(
        None, ge=33, le=2048, description="side of evaluation images, pixels; default: data.size times enlarge"
    )
    enlarge: Float = Field(1.143, ge=0.5, le=2, description="evaluation size over training size (NeurIPS 2019)")
    flip: bool = Field(True, description="whether logits are averaged over a painting and its mirror image")
    logit_adjustment: Float = Field(
        0, ge=0, le=10, description="tau of post-hoc logit adjustment for rare classes (ICLR 2021), 0 = off, 1 = full"
    )


class TrainConfig(Section):
    """Epochs, batches, precision and checkpoints."""

    epochs: Int = Field(100, ge=1, le=100_000, description="passes over the training paintings")
    batch_size: Int = Field(256, ge=1, le=65_536, description="global batch size: samples of all ranks together")
    accumulate: Int = Field(
        1, ge=1, le=4096, description="gradient accumulation: parts into which each rank divides a batch to save memory"
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "bf16",
        description="precision of the forward pass on GPUs (autocast); fp32 is with TF32 kernels; CPUs have none",
    )
    compile: bool = Field(False, description="compile the network with torch.compile", json_schema_extra=NO_EFFECT)
    freeze_epochs: Int = Field(0, ge=0, description="initial epochs in which only the heads are trained")
    early_stop: Int = Field(0, ge=0, description="epochs without a better val top-1 after which training ends; 0 = off")
    log_every: Int = Field(20, ge=1, description="steps between two log lines", json_schema_extra=NO_EFFECT)
    checkpoint_minutes: Float = Field(
        10, gt=0, description="minutes between checkpoints within an epoch; one is saved at the end of each epoch too",
        json_schema_extra=NO_EFFECT,
    )  # fmt: skip
    keep: Literal["best", "all"] = Field(
        "best",
        description="checkpoints that stay when the run is complete: best.pt alone, or last.pt and the one before too",
        json_schema_extra=NO_EFFECT,
    )

    @model_validator(mode="after")
    def _check_accumulate(self) -> Self:
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"train.batch_size {self.batch_size} cannot be divided into train.accumulate {self.accumulate} parts; "
                "make it a multiple"
            )
        return self
