"""`model.json` beside an exported network: what goes in, how pictures are prepared, and what comes out."""

from collections.abc import Mapping
from typing import Any

from ..data.epoch import EVAL_CROP
from ..formats import FORMAT
from .exported import INPUT
from .forward import MEAN, STD
from .trained import TrainedRun


def sidecar(trained: TrainedRun, files: Mapping[str, str], paintings: int, differences: Mapping[str, float]) -> dict:
    """The content as JSON: `files` by format; `differences` are those of `Reference.largest_difference`."""
    origin, size = trained.predictions.origin, trained.config.eval_size
    outputs: dict[str, Any] = {
        task: {
            "shape": ["batch", len(origin.classes[task])],
            "dtype": "float32",
            "temperature": origin.temperatures[task],
            "classes": origin.classes[task],
        }
        for task in trained.config.task
    }
    return {
        "format": FORMAT,
        "run": trained.run.name,
        "signature": trained.config.signature,
        "data": trained.result.data,
        "epoch": trained.result.best_epoch,
        "files": dict(files),
        "input": {
            "name": INPUT,
            "shape": ["batch", size, size, 3],
            "dtype": "uint8",
            "layout": "NHWC",
            "channels": "RGB",
            "range": [0, 255],
        },
        "preprocessing": {
            "packed_short_side": origin.short_side,
            "jpeg_quality": origin.quality,
            "crop_share": EVAL_CROP,
            "size": size,
            "interpolation": "bilinear",
            "antialias": True,
            "steps": _steps(origin.short_side, origin.quality, size),
        },
        "inside": {
            "mean": list(MEAN),
            "std": list(STD),
            "mirror_image": trained.config.eval.flip,
            "logit_adjustment": trained.config.eval.logit_adjustment,
        },
        "outputs": outputs,
        "probabilities": "softmax(logits / temperature), calibrated on val",
        "check": {
            "paintings": paintings,
            "split": "test",
            "precision": "fp32",
            "top1": "equal",
            "largest_difference": dict(differences),
        },
    }


def _steps(short_side: int | None, quality: int | None, size: int) -> list[str]:
    packed = (
        f"reduce larger pictures (Lanczos) so that the shorter side has {short_side} pixels, and save them as JPEG of "
        f"quality {quality}, as the paintings of the training were"
        if short_side
        else "reduce pictures as those of the training were"
    )
    return [
        "upright, 8-bit sRGB",
        packed,
        f"cut out the centre square whose side is {EVAL_CROP:g} of the shorter side, rounded to whole pixels",
        f"resize it to {size} x {size} pixels, bilinear, with antialiasing if that makes it smaller",
        "nothing more: normalisation and mirror image are inside",
    ]
