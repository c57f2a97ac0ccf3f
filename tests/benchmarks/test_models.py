"""The benchmark of training steps: what it calls compiled is compiled."""

import itertools

import pytest
import torch
from torch import nn

from artnet.models.resnet import BasicBlock, ResNet
from benchmarks.models import Contender, keep_graphs

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.slow
def test_every_network_runs_a_graph_of_its_own():
    calls: list[int] = []
    numbers = itertools.count()

    def backend(graph, inputs):
        number = next(numbers)

        def run(*arguments):
            calls.append(number)
            return graph.forward(*arguments)

        return run

    images, labels = torch.randn(2, 3, 33, 33), torch.tensor([0, 1])
    networks = [
        ResNet(BasicBlock, depths, lambda channels: nn.Identity(), {"imagenet": 2})
        for depths in ((1, 1, 1, 1), (2, 1, 1, 1), (1, 2, 1, 1), (1, 1, 2, 1))
    ]
    unlike = {"recompile_limit": 2, "accumulated_recompile_limit": 4, "fail_on_recompile_limit_hit": False}
    with torch._dynamo.config.patch(unlike):  # which also restores them
        contenders = [Contender(network, images, labels, backend) for network in networks]
        keep_graphs(len(contenders))
        used = []
        for contender in [*contenders, *contenders]:  # in turns: a graph is kept for the next turn
            calls.clear()
            contender.run()
            used.append(tuple(calls))
    torch._dynamo.reset()
    assert used[:4] == used[4:] == [(0,), (1,), (2,), (3,)]
