"""A run's weights alone as safetensors, under torchvision's names where torchvision has such a network."""

import json

import torch
from safetensors.torch import save
from torch import nn

from ..config import Task
from ..config.sections import ModelConfig
from .forward import MEAN, STD
from .trained import TrainedRun


def plain_state(network: nn.Module, model: ModelConfig, tasks: tuple[Task, ...]) -> dict[str, torch.Tensor]:
    """The state of a network. Without recurrence and attention, and with one task, it is one of torchvision's ResNets.

    Then its head is called `fc`. Otherwise the heads keep their names, `heads.TASK`, as torchvision knows one at most;
    the trunk's names are torchvision's wherever it has such a layer.
    """
    state = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    if (model.recurrence, model.attention) != ("none", "none") or len(tasks) > 1:
        return state
    return {name if not name.startswith("heads.") else f"fc.{name.split('.')[-1]}": of for name, of in state.items()}


def weights_bytes(trained: TrainedRun) -> bytes:
    """The content of a safetensors file. Its metadata says what the weights are of; values other than text are JSON."""
    origin, config = trained.predictions.origin, trained.config
    about = {
        "signature": config.signature,
        "epoch": json.dumps(trained.result.best_epoch),
        "model": config.model.model_dump_json(),
        "classes": json.dumps(origin.classes, ensure_ascii=False),
        "size": json.dumps(config.eval_size),
        "mean": json.dumps([value / 255 for value in MEAN]),
        "std": json.dumps([value / 255 for value in STD]),
        "logit_adjustment": json.dumps(config.eval.logit_adjustment),
    }
    content: bytes = save(plain_state(trained.network.network, config.model, config.task), about)
    return content
