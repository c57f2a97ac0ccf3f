"""The sections of a run's configuration: every field with its unit or range. The defaults are the modern recipe's."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

# Marks a field that cannot change the result of a run, and so has no part in its signature.
NO_EFFECT: dict[str, JsonValue] = {"affects_result": False}


def added(as_before: JsonValue) -> dict[str, JsonValue]:
    """Marks a field that the first version did not have: `Field(0.0, json_schema_extra=added(0.0))`.

    `as_before` is the value with which runs result in what they did before there was the field, and so its default.
    It has no part in the signature, any other value has: what is finished is not trained again.
    """
    return {"as_before": as_before}


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
    drop_path: float = Field(
        0, ge=0, lt=1, description="stochastic depth (ECCV 2016): how often the last block is skipped, others less"
    )


class DataConfig(Section):
    """Which paintings, at which size."""

    shards: str | None = Field(
        None, description="folder made by shards.pack, or the URL of one", json_schema_extra=NO_EFFECT
    )
    labelled: Literal["any", "all"] = Field(
        "any", description="with several tasks: paintings labelled for any of them, or for all"
    )
    size: int = Field(224, ge=33, le=1024, description="side of a training crop, pixels")
    start_size: int | None = Field(
        None, ge=33, le=1024, description="progressive resizing: side of the first epoch's crops, pixels; default: size"
    )
    sampler: Literal["shuffle", "class_balanced"] = Field(
        "shuffle", description="an epoch of every painting once, or of as many from each class"
    )
    threads: int | None = Field(
        None, ge=1, le=256, description="decoding threads per rank; default: its share of the cores",
        json_schema_extra=NO_EFFECT,
    )  # fmt: skip

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        if self.start_size and self.start_size > self.size:
            raise ValueError(f"data.start_size {self.start_size} is more than data.size {self.size}; make it smaller")
        return self


class AugmentConfig(Section):
    """What training images go through before the network."""

    policy: Literal["none", "trivial"] = Field(
        "trivial", description="TrivialAugment (ICCV 2021) that keeps hues, on top of crop and flip, or not"
    )
    crop_scale: float = Field(0.25, gt=0, le=1, description="least area of a random crop, as a share of the image")
    flip: float = Field(0.5, ge=0, le=1, description="probability of a horizontal flip")
    erasing: float = Field(0.1, ge=0, le=1, description="probability that a rectangle is erased (AAAI 2020)")
    mixup: float = Field(0, ge=0, le=10, description="alpha of mixup (ICLR 2018), 0 = none; it pays in long runs only")
    cutmix: float = Field(0, ge=0, le=10, description="alpha of CutMix (ICCV 2019), 0 = none; with mixup: either")


class OptimConfig(Section):
    """The optimizer and its learning-rate schedule."""

    name: Literal["sgd", "adamw"] = Field("sgd", description="SGD with momentum, or AdamW (ICLR 2019)")
    lr: float = Field(0.1, gt=0, le=100, description="peak learning rate per 256 samples of global batch")
    momentum: float = Field(0.9, ge=0, lt=1, description="of SGD, and the first beta of AdamW")
    weight_decay: float = Field(5e-5, ge=0, le=1)
    decay_norms: bool = Field(False, description="whether norms and biases decay too")
    schedule: Literal["cosine", "step", "one_cycle", "linear", "constant"] = "cosine"
    step_epochs: int = Field(30, ge=1, description="epochs between the tenfold drops of `schedule: step`")
    warmup: float = Field(0.05, ge=0, description="how long the rate rises to its peak, in `warmup_unit`")
    warmup_unit: Literal["share", "epochs", "steps"] = Field("share", description="share: of all steps, below 1")
    clip_norm: float = Field(5, ge=0, description="the longest gradient, by its L2 norm; 0 = any")
    ema_half_life: float = Field(
        300, ge=0, description="steps until a step's weight in the moving average of weights is halved; 0 = no average"
    )
    backbone_lr: float = Field(1, ge=0, le=1, description="factor on the learning rate of all but the heads")

    @model_validator(mode="after")
    def _check_warmup(self) -> Self:
        if self.warmup_unit == "share" and self.warmup >= 1:
            raise ValueError(
                f"optim.warmup {self.warmup:g} must be below 1, a share of all steps; "
                "or set optim.warmup_unit to epochs or steps"
            )
        return self


class TaskWeights(Section):
    """How much each head counts in the loss."""

    artist: float = Field(1, ge=0, le=1000)
    style: float = Field(1, ge=0, le=1000)
    genre: float = Field(1, ge=0, le=1000)


class LossConfig(Section):
    """Cross-entropy of each head, and how heads are added up."""

    label_smoothing: float = Field(0.1, ge=0, lt=1)
    balance: Literal["none", "balanced_softmax"] = Field(
        "none", description="against rare classes: balanced softmax (NeurIPS 2020) or nothing"
    )
    weighting: Literal["fixed", "uncertainty"] = Field(
        "fixed", description="weights of the heads: those of `weights`, or learnt (Kendall et al., CVPR 2018)"
    )
    weights: TaskWeights = TaskWeights()

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        if self.weighting == "uncertainty" and self.weights != TaskWeights():
            raise ValueError("loss.weights have no effect where loss.weighting: uncertainty learns them; drop one")
        return self


class EvalConfig(Section):
    """How val and test are scored."""

    size: int | None = Field(
        None, ge=33, le=2048, description="side of an evaluated image, pixels; default: data.size times enlarge"
    )
    enlarge: float = Field(1.143, ge=0.5, le=2, description="evaluated side over training side (NeurIPS 2019)")
    flip: bool = Field(True, description="whether logits are the mean over a painting and its mirror image")
    logit_adjustment: float = Field(
        0, ge=0, le=10, description="how strongly rare classes are favoured afterwards (ICLR 2021), 0 = not, 1 = fully"
    )


class TrainConfig(Section):
    """How long, in which batches, in which arithmetic."""

    epochs: int = Field(100, ge=1, le=100_000)
    batch_size: int = Field(256, ge=1, le=65_536, description="global batch size: samples of all ranks together")
    accumulate: int = Field(
        1, ge=1, le=4096, description="parts that each rank computes a batch in, one after the other, to save memory"
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "bf16", description="arithmetic of the forward pass on GPUs (autocast); CPUs compute in fp32"
    )
    compile: bool = Field(False, description="compile the network with torch.compile", json_schema_extra=NO_EFFECT)
    freeze_epochs: int = Field(0, ge=0, description="epochs in which only the heads learn")
    early_stop: int = Field(0, ge=0, description="epochs without a better val after which training ends; 0 = none")
    log_every: int = Field(20, ge=1, description="steps between two log lines", json_schema_extra=NO_EFFECT)
    checkpoint_minutes: float = Field(
        10, gt=0, description="minutes between checkpoints within an epoch; each epoch's end makes one too",
        json_schema_extra=NO_EFFECT,
    )  # fmt: skip

    @model_validator(mode="after")
    def _check_accumulate(self) -> Self:
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"train.batch_size {self.batch_size} cannot be divided into train.accumulate {self.accumulate} parts; "
                "make it a multiple"
            )
        return self
