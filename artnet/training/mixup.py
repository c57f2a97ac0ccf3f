"""Mixup (Zhang et al., ICLR 2018) and CutMix (Yun et al., ICCV 2019): a batch blended with itself, on the device."""

import math

import numpy as np
import torch

from ..config.sections import AugmentConfig
from ..data.batch import Batch
from .losses import MixedLabels


def mix(batch: Batch, augment: AugmentConfig, rng: np.random.Generator) -> tuple[torch.Tensor, MixedLabels]:
    """Mix each image with the preceding one of the batch. Returns images (n, size, size, 3), 0 to 255, and labels.

    The whole batch has one share, drawn from Beta(alpha, alpha). If both mixup and cutmix are configured, one of them
    is chosen at random.
    """
    images, labels = batch.images, batch.labels
    alphas = {kind: alpha for kind, alpha in (("mixup", augment.mixup), ("cutmix", augment.cutmix)) if alpha}
    if not alphas:
        return images, [(labels, 1.0)]
    kind = str(rng.choice(list(alphas)))
    share = float(rng.beta(alphas[kind], alphas[kind]))
    others = images.roll(1, 0)
    if kind == "mixup":
        images = torch.lerp(others.float(), images.float(), share)
    else:
        left, top, right, bottom = _box(images.shape[1], share, rng)
        # Of one dtype in all steps, or a compiled network would have a graph for each.
        images = images.float() if augment.mixup else images.clone()
        images[:, top:bottom, left:right] = others[:, top:bottom, left:right]
        share = 1 - (right - left) * (bottom - top) / images.shape[1] ** 2
    return images, [(labels, share), (labels.roll(1, 0), 1 - share)]


def _box(size: int, share: float, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Draw the box that CutMix replaces, with 1 - `share` of the area, clipped to the image."""
    half = size * math.sqrt(1 - share) / 2
    x, y = rng.uniform(0, size, 2)
    left, top, right, bottom = (min(size, max(0, round(edge))) for edge in (x - half, y - half, x + half, y + half))
    return left, top, right, bottom
