"""How long does a training step take, compared with torchvision's ResNet-50 and the published RLANet?

    python benchmarks/models.py [lstm+none lstm+se ...] [--reference PATH]

A step is forward, backward and SGD with momentum, on random images with 1000 classes. The models take turns, so that
other load on the machine affects all of them. For both memory formats, the table has the median step in ms, its ratio
to torchvision's ResNet-50 (the median over rounds, and the ratio of the fastest steps), images/s, memory, parameters
in millions, multiply-adds of one image of 224 pixels in billions, and the norm of the first gradient. Memory is what
autograd keeps for the backward pass on a CPU, and the peak of a step over the memory allocated before it on a GPU.

On a CPU, all models run eagerly in float32. On a GPU, all run in bfloat16 autocast with channels last; the models of
artnet and torchvision are compiled, the published code runs eagerly. PATH is a checkout of https://github.com/fangyanwen1106/RLANet.
"""

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch._dynamo import config as settings
from torch.utils.flop_counter import FlopCounterMode

from artnet.config.attentions import ATTENTIONS
from artnet.models.build import RECURRENCES, build_model

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
FORMATS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
ECA = [5, 5, 5, 7]
GRAPHS = 8  # at most, of one network


def reference(path: Path) -> dict[str, nn.Module]:
    """Build the models of the published code from its classes, as not all have a constructor function."""
    sys.path.insert(0, str(path))
    options = {"none": {}, "se": {"SE": True}, "eca": {"ECA": ECA}}
    models = {}
    for recurrence, (module, name, block) in {
        "none": ("resnet", "ResNet", "Bottleneck"),
        "rla": ("resnet_rla", "RLA_ResNet", "RLA_Bottleneck"),
        "lstm": ("resnet_rla_lstm", "RLAlstm_ResNet", "RLA_Bottleneck"),
        "gru": ("resnet_rla_gru", "RLAgru_ResNet", "RLA_Bottleneck"),
    }.items():
        code = import_module(f"models.{module}")
        for attention, option in options.items():
            model = getattr(code, name)(getattr(code, block), [3, 4, 6, 3], **option)
            model.flops = not GPU  # otherwise its initial state is on a GPU
            models[f"RLANet {recurrence}+{attention}"] = model
    return models


def keep_graphs(networks: int) -> None:
    """Let dynamo keep the graphs of so many compiled networks, and raise an error instead of running one eagerly.

    The networks of one class share one `forward`, whose graphs count together towards a limit of 8. Each network has
    several: one for each memory format, and for training and evaluation.
    """
    settings.recompile_limit = settings.accumulated_recompile_limit = GRAPHS * networks
    settings.fail_on_recompile_limit_hit = True


class Contender:
    """A model with its optimizer. `run()` takes a step and returns its seconds, `loss()` runs only the forward pass."""

    def __init__(self, model: nn.Module, images: Tensor, labels: Tensor, backend: str | Callable | None = None) -> None:
        """`backend` is that of `torch.compile`; without one, the model runs eagerly."""
        self.model, self.images, self.labels = model.to(DEVICE), images, labels
        self.forward: Callable[[Tensor], Tensor | dict[str, Tensor]] = (
            torch.compile(model, backend=backend) if backend else model
        )
        self.optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def use(self, memory_format: torch.memory_format) -> None:
        self.model.to(memory_format=memory_format)
        self.images = self.images.contiguous(memory_format=memory_format)

    def loss(self) -> Tensor:
        with torch.autocast(DEVICE.type, dtype=torch.bfloat16, enabled=GPU):
            logits = self.forward(self.images)
        return F.cross_entropy((logits["imagenet"] if isinstance(logits, dict) else logits).float(), self.labels)

    def run(self) -> float:
        wait()
        started = time.perf_counter()
        self.loss().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        wait()
        return time.perf_counter() - started

    def gradient_norm(self) -> float:
        self.loss().backward()
        norm = torch.nn.utils.get_total_norm([weight.grad for weight in self.model.parameters()])
        self.optimizer.zero_grad()
        return norm.item()

    def memory(self) -> int:
        """Return the memory of a step in bytes, as defined at the top of this file."""
        if GPU:
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            self.run()
            return torch.cuda.max_memory_allocated() - before
        own = {tensor.untyped_storage().data_ptr() for tensor in self.model.state_dict().values()}
        kept: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = self.loss()
        del loss
        return sum(size for pointer, size in kept.items() if pointer not in own)

    def sizes(self) -> tuple[int, int]:
        """Return the number of parameters, and of multiply-adds for one image of 224 pixels."""
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            self.model.eval()(torch.zeros(1, 3, 224, 224, device=DEVICE))
        self.model.train()
        return sum(weight.numel() for weight in self.model.parameters()), counter.get_total_flops() // 2


def wait() -> None:
    """Wait for the GPU, as calls return before it is done."""
    if GPU:
        torch.cuda.synchronize()


def arguments() -> argparse.Namespace:
    """Read the command line; `models` are all by default."""
    grid = [f"{recurrence}+{attention}" for recurrence, attention in itertools.product(RECURRENCES, ATTENTIONS)]
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("models", nargs="*", metavar="RECURRENCE+ATTENTION", help="models to measure (default: all)")
    parser.add_argument("--reference", type=Path, metavar="PATH", help="a checkout of the published code")
    parser.add_argument("--batch", type=int, default=64 if GPU else 8)
    parser.add_argument("--size", type=int, default=224 if GPU else 128)
    parser.add_argument("--repeats", type=int, default=30 if GPU else 7)
    args = parser.parse_args()
    args.models = args.models or grid
    if unknown := set(args.models) - set(grid):
        parser.error(f"no such model: {', '.join(sorted(unknown))}; choose from {', '.join(grid)}")
    return args


def main() -> None:
    """Measure and print a Markdown table for each memory format."""
    args = arguments()
    torch.manual_seed(0)
    images = torch.randn(args.batch, 3, args.size, args.size, device=DEVICE)
    labels = torch.randint(1000, (args.batch,), device=DEVICE)
    models = {"torchvision ResNet-50": torchvision.models.resnet50()}
    for name in args.models:
        names = dict(zip(("recurrence", "attention"), name.split("+"), strict=True))
        models[f"artnet {name}"] = build_model(backbone="resnet50", **names, classes={"imagenet": 1000})
    if args.reference:
        found = reference(args.reference)
        models |= {name: model for name, model in found.items() if name.removeprefix("RLANet ") in args.models}
    contenders = {
        name: Contender(model, images, labels, "inductor" if GPU and not name.startswith("RLANet") else None)
        for name, model in models.items()
    }
    keep_graphs(len(contenders))
    machine = torch.cuda.get_device_name() if GPU else f"{torch.get_num_threads()} CPU threads"
    print(f"{machine}, torch {torch.__version__}, batches of {args.batch} images of {args.size} pixels")
    sizes = {name: contender.sizes() for name, contender in contenders.items()}
    norms = {name: contender.gradient_norm() for name, contender in contenders.items()}
    for layout in ["channels last"] if GPU else FORMATS:
        times: dict[str, list[float]] = {name: [] for name in contenders}
        memory = {}
        for name, contender in contenders.items():
            contender.use(FORMATS[layout])
            contender.run()
            memory[name] = contender.memory()
        for _ in range(args.repeats):
            for name, contender in contenders.items():
                times[name].append(contender.run())
        base = next(iter(times.values()))
        print(f"\n| {layout} | step ms | ratio | of fastest | images/s | MB | params M | mult-adds G | gradient |")
        print("| --- |" + " --: |" * 8)
        for name, found_times in times.items():
            step = statistics.median(found_times)
            ratio = statistics.median(mine / theirs for mine, theirs in zip(found_times, base, strict=True))
            (parameters, operations), fastest = sizes[name], min(found_times) / min(base)
            print(
                f"| {name} | {1e3 * step:,.0f} | {ratio:.2f} | {fastest:.2f} | {args.batch / step:,.1f} "
                f"| {memory[name] / 1e6:,.0f} | {parameters / 1e6:.2f} | {operations / 1e9:.2f} | {norms[name]:.3g} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
