"""Grad-CAM: where in a picture the evidence for a class is (Selvaraju et al., ICCV 2017), by captum."""

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
import torch
from torch import nn
from torch.nn import functional as F

from shards.errors import UserError

from ..config import Task
from .ensemble import Ensemble
from .pictures import PictureBatch, View
from .trained import TrainedRun

HEAT = 0.5  # share of the colours of the map in the overlay
SIDE = 224  # pixels; smaller views are enlarged


def check_captum() -> None:
    """Raise `UserError` unless captum is installed."""
    if find_spec("captum") is None:
        raise UserError("--explain needs captum, which is not installed; run `pip install captum`")


def grad_cam(trained: TrainedRun, images: torch.Tensor, task: Task, classes: Sequence[int]) -> np.ndarray:
    """The maps of the last stage for one class of each picture, float32 (n, size, size), from 0 to 1.

    `images` are views, uint8 (n, size, size, 3). Where the run averages a picture and its mirror image, so do the maps.
    A map without any positive evidence is 0 everywhere.
    """
    from captum.attr import LayerGradCam

    network = trained.network
    # A recurrence calls the blocks of a stage one by one, and never the stage.
    last: nn.Module = network.get_submodule("network.layer4")[-1]  # type: ignore[index]
    cam = LayerGradCam(lambda pixels: network(pixels)[task], last)
    pixels, target = images.to(trained.device).float(), torch.tensor(classes, device=trained.device)
    maps = cam.attribute(pixels, target=target, relu_attributions=True)
    if trained.config.eval.flip:
        maps = maps + cam.attribute(pixels.flip(2), target=target, relu_attributions=True).flip(3)
    maps = F.interpolate(maps.detach().float(), images.shape[1:3], mode="bilinear")[:, 0]
    found: np.ndarray = (maps / maps.amax((1, 2), keepdim=True).clamp(min=1e-12)).cpu().numpy()
    return found


def explanations(ensemble: Ensemble, batch: PictureBatch, task: Task, names: Sequence[str]) -> np.ndarray:
    """The overlay of each picture with the mean map of the runs for a class of the task, uint8 (n, side, side, 3)."""
    views = dict(zip(ensemble.views, batch.images, strict=True))
    members = [member for member in ensemble.members if task in member.origin.classes]
    images = views[View.of(members[0].origin)].numpy()
    numbers = [ensemble.classes[task].index(name) for name in names]
    side = max(SIDE, images.shape[1])
    total = np.zeros((len(images), side, side), np.float32)
    for member in members:
        for place, one in enumerate(grad_cam(member.trained, views[View.of(member.origin)], task, numbers)):
            total[place] += cv2.resize(one, (side, side)) / len(members)
    return np.stack([_overlay(image, heat) for image, heat in zip(images, total, strict=True)])


def _overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    coloured = cv2.applyColorMap(np.rint(255 * np.clip(heat, 0, 1)).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    picture = cv2.resize(image, heat.shape[::-1], interpolation=cv2.INTER_CUBIC)
    blended: np.ndarray = np.rint((1 - HEAT) * picture + HEAT * coloured).astype(np.uint8)
    return blended


def overlay_name(number: int, file: Path, task: Task) -> str:
    """The name of an overlay's file: the number of its picture, from 1, what is harmless of its name, and the task."""
    return f"{number:04}-{re.sub(r'[^A-Za-z0-9_.-]', '_', file.stem)[:80]}-{task}.jpg"


def encoded(overlay: np.ndarray) -> bytes:
    """An overlay as a JPEG."""
    jpeg: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(overlay), quality=90)
    return jpeg
