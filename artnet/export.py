"""`python -m artnet.export RUN`: export a run's network for programs without artnet: ONNX and torch.export.

It writes `model.onnx`, `model.pt2` and `model.json`, which says how pictures are prepared and which classes come out. A
network takes any number of images, uint8 (n, size, size, 3), to the logits of the run's own evaluation: normalisation,
mirror image and logit adjustment are inside. Nothing is written unless they agree on 256 paintings of test.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shards.errors import command
from shards.files import atomic_write

from .heartbeat import shown
from .rundir import RunDir, write_json

if TYPE_CHECKING:
    from .inference.trained import TrainedRun

FILES = {"onnx": "model.onnx", "torch": "model.pt2"}
SIDECAR, WEIGHTS = "model.json", "weights.safetensors"


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    said = (__doc__ or "").split("\n", 1)[0].split(": ", 1)[1]
    parser = argparse.ArgumentParser(prog="python -m artnet.export", description=said)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a complete run")
    parser.add_argument("--shards", help="folder or URL of the run's shards (default: that of its configuration)")
    parser.add_argument("--out", type=Path, help="folder to write to (default: RUN/export)")
    parser.add_argument("--format", choices=[*FILES], help="write one of them alone (default: both)")
    parser.add_argument(
        "--weights",
        nargs="?",
        type=Path,
        const=Path(),
        metavar="FILE",
        help=f"write the weights alone instead, as safetensors (default: {WEIGHTS} in the folder)",
    )
    args = parser.parse_args(argv)
    with shown("loading torch"):
        import torch

        from .inference.plain_weights import weights_bytes
        from .inference.trained import TrainedRun

    run = RunDir(args.run.resolve())
    out = args.out or run.exported
    trained = TrainedRun(run, torch.device("cpu"))
    if args.weights:
        file = out / WEIGHTS if args.weights == Path() else args.weights
        atomic_write(file, weights_bytes(trained))
        print(f"{file} is written")
        return 0
    _export(trained, args.shards, out, [args.format] if args.format else [*FILES])
    return 0


def _export(trained: "TrainedRun", shards: str | None, out: Path, formats: Sequence[str]) -> None:
    """Write the formats and the sidecar, once all are like the run's own network."""
    import torch

    from .distributed.placement import Place, cpus_of
    from .distributed.ranks import Ranks
    from .inference.export_check import Reference, onnx_function, program_function
    from .inference.exported import ExportedNetwork, check_installed, export_program, onnx_bytes, program_bytes
    from .inference.sidecar import sidecar

    if "onnx" in formats:
        check_installed()
    config, origin = trained.config, trained.predictions.origin
    shifts = {task: config.eval.logit_adjustment * torch.tensor(origin.log_priors[task]) for task in config.task}
    ranks = Ranks(0, 1, 1, trained.device, cpus_of([Place.here(trained.device)], 0))
    with shown("evaluating paintings of test"):
        reference = Reference.of(trained, trained.own_index(shards), ranks)
    with shown("tracing the network"):
        network = ExportedNetwork(trained.network.network, config.eval.flip, shifts)
        program = export_program(network, config.eval_size)
    contents, differences = {}, {}
    for name in formats:
        with shown(f"writing and checking {FILES[name]}"):
            content = onnx_bytes(program, config.task) if name == "onnx" else program_bytes(program)
            function = onnx_function(content) if name == "onnx" else program_function(content)
            contents[name], differences[name] = content, reference.largest_difference(FILES[name], function)
    for name, content in contents.items():
        atomic_write(out / FILES[name], content)
        print(
            f"{out / FILES[name]}: top-1 is equal on {len(reference.images)} paintings of test, logits differ by at "
            f"most {differences[name]:.1g}"
        )
    about = sidecar(trained, {name: FILES[name] for name in formats}, len(reference.images), differences)
    write_json(out / SIDECAR, about)
    print(f"{out / SIDECAR} says how pictures are prepared, and the classes")


if __name__ == "__main__":
    sys.exit(main())
