"""A run's network as one function for other programs: from pixels to the run's logits, as `torch.export` and ONNX."""

import io
import warnings
from collections.abc import Mapping
from importlib.util import find_spec

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from shards.errors import UserError

from ..config import Task
from .forward import PixelNetwork

INPUT = "images"
NEEDED = ("onnx", "onnxscript", "onnxruntime")  # by ONNX: the extra `export`


class ExportedNetwork(PixelNetwork):
    """Images, uint8 (n, size, size, 3), to a tuple of the logits, float32 (n, classes), of each task, in order.

    All of an evaluation is inside: the normalisation, with `flip` the mean over each image and its mirror image, and
    the subtraction of `shifts`, (classes,) for each task.
    """

    def __init__(self, network: nn.Module, flip: bool, shifts: Mapping[Task, torch.Tensor]) -> None:
        super().__init__(network)
        self.flip = flip
        for number, shift in enumerate(shifts.values()):
            self.register_buffer(f"shift{number}", shift)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:  # type: ignore[override]
        pixels = self.normalised(images)
        # One pass of twice the images: two passes would make a graph of twice the size.
        both = self.network(torch.cat([pixels, pixels.flip(3)]) if self.flip else pixels).values()
        logits = [of.unflatten(0, (2, -1)).mean(0) if self.flip else of for of in both]
        return tuple(of - getattr(self, f"shift{number}") for number, of in enumerate(logits))


def export_program(network: ExportedNetwork, size: int) -> ExportedProgram:
    """Trace the network, in evaluation mode and on a CPU, for any number of images of `size` pixels a side."""
    images = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    return torch.export.export(network.eval(), (images,), dynamic_shapes=({0: Dim("batch")},))


def program_bytes(program: ExportedProgram) -> bytes:
    """The content of a `.pt2` file, which `torch.export.load` reads."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of views of buffers, which are stored whole
        torch.export.save(program, buffer)
    return buffer.getvalue()


def check_installed() -> None:
    """Raise `UserError` unless what ONNX needs is installed."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise UserError(f"ONNX needs {', '.join(missing)}: pip install 'artnet[export]', or give --format torch")


def onnx_bytes(program: ExportedProgram, tasks: tuple[Task, ...]) -> bytes:
    """The content of an `.onnx` file with the input `images` and an output for each task, named as it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = torch.onnx.export(
            program,
            dynamo=True,
            verbose=False,
            input_names=[INPUT],
            output_names=list(tasks),
            dynamic_shapes=({0: "batch"},),
        )
    if found is None:
        raise RuntimeError("torch.onnx.export has returned nothing")
    content: bytes = found.model_proto.SerializeToString()
    return content
