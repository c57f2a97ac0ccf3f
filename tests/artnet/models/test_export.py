"""The networks keep their function when compiled, exported, spread over processes or run in half precision."""

import copy
import itertools
import warnings
from typing import get_args

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from artnet.config.sections import ModelConfig
from artnet.models.build import BACKBONES, RECURRENCES
from artnet.models.resnet import BasicBlock
from tests.conftest import build_lively

ATTENTIONS = get_args(ModelConfig.model_fields["attention"].annotation)
# A basic block with and without a stride, and one stage of two blocks, which deeper networks only repeat.
BACKBONES["small"] = (BasicBlock, (2, 1, 1, 1))
# Every recurrence and every attention once, as they do not interact in the code.
FEW = list(zip(itertools.cycle(RECURRENCES), ATTENTIONS, strict=False))
# Tracing takes seconds, and the plainest network is traced as a part of the others.
TRACED = [pytest.param(*FEW[0], marks=pytest.mark.slow), *FEW[1:]]


pytestmark = pytest.mark.usefixtures("one_thread")


def build(recurrence, attention, backbone="small"):
    classes = {"artist": 23, "style": 5}
    return build_lively(backbone=backbone, recurrence=recurrence, attention=attention, classes=classes)


@pytest.mark.slow
@pytest.mark.parametrize(("recurrence", "attention"), TRACED)
def test_one_graph_with_the_same_gradients(recurrence, attention):
    """`fullgraph` raises at a break. The backend runs the traced operations as they are, which is quick."""
    model = build(recurrence, attention).double()
    twin = copy.deepcopy(model)
    images = torch.randn(2, 3, 51, 37, dtype=torch.float64)
    compiled = torch.compile(twin, fullgraph=True, backend="aot_eager")
    for forward in (model, compiled):
        sum(logits.square().sum() for logits in forward(images).values()).backward()
    for expected, found in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad)
    torch.compiler.reset()


@pytest.mark.parametrize(("recurrence", "attention"), TRACED)
def test_export_takes_any_batch(recurrence, attention):
    model = build(recurrence, attention).eval()
    batch = {"x": {0: torch.export.Dim("batch")}}
    program = torch.export.export(model, (torch.randn(2, 3, 65, 65),), dynamic_shapes=batch).module()
    images = torch.randn(5, 3, 65, 65)
    torch.testing.assert_close(program(images), model(images))


@pytest.mark.slow
@pytest.mark.parametrize(("recurrence", "attention"), TRACED)
def test_the_onnx_export_gives_the_same_logits(recurrence, attention):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = build(recurrence, attention).eval()
    images = torch.randn(2, 3, 65, 65)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(model, (images,), dynamo=True, verbose=False)
    session = runtime.InferenceSession(program.model_proto.SerializeToString())
    found = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    for array, expected in zip(found, model(images).values(), strict=True):
        torch.testing.assert_close(torch.from_numpy(array), expected.detach(), rtol=1e-4, atol=1e-4)


def _two_steps(rank, store):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    for recurrence, attention in FEW:
        torch.manual_seed(0)
        model = DistributedDataParallel(build(recurrence, attention), find_unused_parameters=False)
        # A parameter without a gradient in the first step stops the second.
        for _ in range(2):
            model.zero_grad()
            images = torch.randn(2, 3, 33, 33) + rank
            sum(logits.square().sum() for logits in model(images).values()).backward()
        ours = torch.stack([parameter.grad.norm() for parameter in model.parameters()])
        theirs = ours.clone()
        dist.broadcast(theirs, src=0)
        assert torch.equal(ours, theirs), (recurrence, attention)
    dist.destroy_process_group()


@pytest.mark.slow
def test_no_parameter_is_unused_in_parallel(tmp_path):
    mp.spawn(_two_steps, args=(tmp_path / "store",), nprocs=2)


@pytest.mark.parametrize(("recurrence", "attention"), FEW)
def test_images_of_any_size(recurrence, attention):
    """33 pixels are the minimum; bottlenecks and basic blocks have their strides in different layers."""
    for backbone in ("small", "resnet50"):
        model = build(recurrence, attention, backbone)
        for sides in ((33, 33), (51, 37)) if backbone == "resnet50" else ((176, 176), (225, 225)):
            with torch.no_grad():
                assert all(logits.isfinite().all() for logits in model(torch.randn(2, 3, *sides)).values())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("recurrence", "attention"), FEW)
def test_half_precision_changes_nothing_but_rounding(recurrence, attention, dtype):
    model = build(recurrence, attention)
    images = torch.randn(4, 3, 65, 65)
    expected = model(images)["style"]
    with torch.autocast("cpu", dtype=dtype):
        rounded = model(images)["style"]
    assert rounded.dtype == dtype
    assert (rounded - expected).norm() < (0.25 if dtype == torch.bfloat16 else 0.05) * expected.norm()
    rounded.float().square().sum().backward()
    assert all(p.grad.isfinite().all() for name, p in model.named_parameters() if not name.startswith("heads.artist"))
