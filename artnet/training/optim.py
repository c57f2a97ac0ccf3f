"""The optimizer: parameter groups, learning rates and gradient clipping."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from ..config.sections import OptimConfig

ADAM_BETA2 = 0.999  # of AdamW, as in its paper


def make_optimizer(
    parameters: Iterable[tuple[str, nn.Parameter]], config: OptimConfig, fused: bool = False
) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW (Loshchilov and Hutter, ICLR 2019), for named parameters.

    Norms and biases (parameters with fewer than two dimensions) have no weight decay unless `decay_norms`. The learning
    rate of parameters whose name does not begin with `heads.` is multiplied by `backbone_lr`. `fused` chooses the
    implementation in one kernel, the fastest on a GPU, instead of the foreach one. Call `complete_state` before the
    first step.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in parameters:
        decay = config.weight_decay if parameter.ndim > 1 or config.decay_norms else 0.0
        factor = 1.0 if name.startswith("heads.") else config.backbone_lr
        groups.setdefault((decay, factor), []).append(parameter)
    listed = [
        {"params": members, "weight_decay": decay, "lr_factor": factor} for (decay, factor), members in groups.items()
    ]
    if config.name == "adamw":
        betas = (config.momentum, ADAM_BETA2)
        return torch.optim.AdamW(listed, lr=config.lr, betas=betas, foreach=not fused, fused=fused)
    return torch.optim.SGD(listed, lr=config.lr, momentum=config.momentum, foreach=not fused, fused=fused)


def complete_state(optimizer: torch.optim.Optimizer) -> None:
    """Give every parameter of an SGD optimizer a momentum, zero if it has none yet.

    By itself torch creates it in a parameter's first step: uninitialised, if fp16 overflows in that step, as the fused
    kernel then writes nothing; and the fused kernel refuses parameters with and without momentum in one group, as after
    unfreezing.
    """
    if not isinstance(optimizer, torch.optim.SGD):
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if group["momentum"] and optimizer.state[parameter].get("momentum_buffer") is None:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def load_state(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Restore the state of an optimizer, which may have been saved on another kind of device.

    A state dict contains the implementation, fused or foreach, which must be the one for this device.
    """
    kinds = [{key: group[key] for key in ("fused", "foreach")} for group in optimizer.param_groups]
    groups = [{**saved, **kind} for saved, kind in zip(state["param_groups"], kinds, strict=True)]
    optimizer.load_state_dict({**state, "param_groups": groups})
    complete_state(optimizer)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of the heads to `lr`, and of other parameters to `lr` times their factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"]


def clip_gradients(optimizer: torch.optim.Optimizer, max_norm: float) -> torch.Tensor:
    """Clip the L2 norm of the gradient over all parameters to `max_norm`; 0 = no clipping.

    Returns the norm before clipping, a scalar on the device. (Pascanu et al., "On the difficulty of training recurrent
    neural networks", ICML 2013.)
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = nn.utils.get_total_norm(gradients, foreach=True)
    if max_norm:
        nn.utils.clip_grads_with_norm_(parameters, max_norm, norm, foreach=True)
    return norm
