"""All networks under CUDA autocast, on fake tensors: they have a dtype, a device and a shape, but no data."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import Node

from artnet.config.attentions import ATTENTIONS
from artnet.models import build_model
from artnet.models.build import BACKBONES, RECURRENCES
from artnet.models.resnet import BasicBlock

CUDA = torch.device("cuda")


@contextmanager
def autocast(dtype: torch.dtype) -> Iterator[None]:
    """`torch.autocast` disables itself without a GPU."""
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", dtype)
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", before[0])
        torch.set_autocast_dtype("cuda", before[1])
        torch.clear_autocast_cache()


def backward(loss: torch.Tensor) -> dict[torch.Tensor, torch.Tensor]:
    """The gradients of the leaves of `loss`: torch's engine asks the CUDA driver for streams, which is not there."""
    order: dict[Node, None] = {}
    entering = [(loss.grad_fn, iter(loss.grad_fn.next_functions))]
    while entering:  # depth first: a node is entered in `order` after all that it hands gradients to
        node, left = entering[-1]
        below = next((below for below, _ in left if below is not None and below not in order), None)
        if below is None:
            entering.pop()
            order[node] = None
        else:
            entering.append((below, iter(below.next_functions)))
    received: dict[Node, dict[int, torch.Tensor]] = {loss.grad_fn: {0: torch.ones_like(loss)}}
    leaves = {}
    for node in reversed(order):
        expected = node._input_metadata
        inputs = [received[node].get(place) for place in range(len(expected))]
        inputs = [  # broadcasting and promotion, undone as torch does between nodes
            None if grad is None else grad.sum_to_size(wanted.shape).to(wanted.dtype)
            for grad, wanted in zip(inputs, expected, strict=True)
        ]
        if hasattr(node, "variable"):
            leaves[node.variable] = inputs[0]
            continue
        grads = node(*inputs)
        grads = grads if isinstance(grads, tuple) else (grads,)
        for (below, place), grad in zip(
            node.next_functions, grads if isinstance(grads, tuple) else [grads], strict=True
        ):
            if below is not None and grad is not None:
                own = received.setdefault(below, {})
                own[place] = own[place] + grad if place in own else grad
    return leaves


@pytest.mark.parametrize("dtype", [torch.bfloat16, pytest.param(torch.float16, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("recurrence", "attention"), list(itertools.product(RECURRENCES, ATTENTIONS)))
def test_a_network_passes_forward_and_backward_under_cuda_autocast(recurrence, attention, dtype, monkeypatch):
    monkeypatch.setitem(BACKBONES, "shallow", (BasicBlock, (1, 1, 1, 1)))  # the state passes from stage to stage
    with FakeTensorMode(), CUDA:
        model = build_model(backbone="shallow", recurrence=recurrence, attention=attention, classes={"style": 27})
        images = torch.randn(2, 3, 64, 64).to(memory_format=torch.channels_last)
        with autocast(dtype):
            logits = model(images)["style"]
        assert (logits.dtype, logits.device.type) == (dtype, "cuda")
        gradients = backward(logits.float().sum())
        for name, parameter in model.named_parameters():
            assert gradients[parameter].shape == parameter.shape, name
            assert gradients[parameter].dtype == torch.float32, name
