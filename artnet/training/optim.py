"""The optimizer: which weights it changes, at which rate, by how much at most."""

from collections.abc import Iterable

import torch
from torch import nn

from ..sections import OptimConfig

ADAM_BETA2 = 0.999  # of AdamW, as in its paper


def make_optimizer(parameters: Iterable[tuple[str, nn.Parameter]], config: OptimConfig) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW (Loshchilov and Hutter, ICLR 2019), for named parameters.

    Norms and biases, all that is no matrix, are spared weight decay unless `decay_norms`. Names that begin with
    `heads.` learn at the full rate, all others at `backbone_lr` times that. Kernels are fused on a GPU and for each
    operation on a CPU.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    on_gpu = False
    for name, parameter in parameters:
        decay = config.weight_decay if parameter.ndim > 1 or config.decay_norms else 0.0
        factor = 1.0 if name.startswith("heads.") else config.backbone_lr
        groups.setdefault((decay, factor), []).append(parameter)
        on_gpu = parameter.is_cuda
    listed = [
        {"params": members, "weight_decay": decay, "lr_factor": factor} for (decay, factor), members in groups.items()
    ]
    if config.name == "adamw":
        betas = (config.momentum, ADAM_BETA2)
        return torch.optim.AdamW(listed, lr=config.lr, betas=betas, foreach=not on_gpu, fused=on_gpu)
    return torch.optim.SGD(listed, lr=config.lr, momentum=config.momentum, foreach=not on_gpu, fused=on_gpu)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Let the heads learn at `lr`, and everything else at its share of it."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"]


def clip_gradients(optimizer: torch.optim.Optimizer, longest: float) -> torch.Tensor:
    """Shorten the gradient of all weights together to an L2 norm of `longest`, 0 = leave it.

    Returns the norm before, a scalar that stays on the device. (Pascanu et al., "On the difficulty of training
    recurrent neural networks", ICML 2013.)
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = nn.utils.get_total_norm(gradients, foreach=True)
    if longest:
        nn.utils.clip_grads_with_norm_(parameters, longest, norm, foreach=True)
    return norm
