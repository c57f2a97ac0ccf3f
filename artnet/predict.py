"""`python -m artnet.predict RUN [RUN ...] PATH ...`: what complete runs say of any pictures.

A folder that holds a `config.yaml` is a run; what else is given are pictures: files, folders of them, and `-` for one
on standard input. Each picture is converted as the packer converts it and evaluated as the run was. Several runs answer
together, with the mean of their probabilities. Exit code 1 if a picture could not be read.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from shards.errors import UserError, command
from shards.files import atomic_write
from shards.progress import progress
from shards.workers import cores

from .heartbeat import shown
from .rundir import RunDir

if TYPE_CHECKING:
    from .inference.answers import Answered
    from .inference.ensemble import Ensemble
    from .inference.pictures import PictureBatch

MOST_THREADS = 24  # that read pictures
THUMBNAIL = 360  # pixels, the longer side


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    args = _parser().parse_args(argv)
    runs, paths = _split(args.given)
    if args.explain:
        from .inference.grad_cam import check_captum

        check_captum()
    with shown("loading torch", sys.stderr):
        from .inference.pictures import find_pictures, load_pictures
    files, others = find_pictures(paths)
    if others:
        names = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(5))
        print(
            f"{others.total()} files are left out, as their names are not those of pictures: {names}", file=sys.stderr
        )
    ensemble, threads = _load(runs)
    thumbnail = THUMBNAIL if args.html else 0
    answered: list[Answered] = []
    with progress("predicting", len(files)) as advance:
        for batch in load_pictures(files, ensemble.views, ensemble.batch_size, threads, thumbnail):
            new = _answered(ensemble, batch)
            if args.explain and batch.pictures:
                _explain(args.explain, ensemble, batch, new, files)
            answered += new
            for _ in new:
                advance()
    order = {file: number for number, file in enumerate(files)}
    answered.sort(key=lambda one: order[one.file])
    _write(args, answered, ensemble)
    return 1 if any(one.reason for one in answered) else 0


def _parser() -> argparse.ArgumentParser:
    said = (__doc__ or "").split("\n", 1)[0].split(": ", 1)[1]
    parser = argparse.ArgumentParser(prog="python -m artnet.predict", description=said)
    parser.add_argument(
        "given", nargs="+", type=Path, metavar="RUN|PATH",
        help="folders of complete runs; then files, folders of pictures, or - for a picture on standard input",
    )  # fmt: skip
    for name, what in (("csv", "a line for each picture and task"), ("jsonl", "a JSON object for each picture")):
        parser.add_argument(f"--{name}", metavar="FILE", type=Path, help=f"write {what}; - prints them, and no table")
    parser.add_argument("--html", metavar="FILE", type=Path, help="write a gallery, a page that needs no other file")
    parser.add_argument("--explain", metavar="DIR", type=Path, help="write Grad-CAM pictures of the likeliest classes")
    return parser


def _split(given: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Runs and paths of pictures."""
    is_run = {path: os.path.lexists(path / "config.yaml") for path in given}
    runs = list(dict.fromkeys(path.resolve() for path in given if is_run[path]))
    paths = [path for path in given if not is_run[path]]
    if not runs:
        raise UserError(f"{given[0]} is no run: it holds no config.yaml; give the folder of a complete run")
    if not paths:
        raise UserError("there are only runs; give the pictures too: files, folders, or - for standard input")
    return runs, paths


def _load(runs: Sequence[Path]) -> tuple["Ensemble", int]:
    """The runs, and how many threads read pictures."""
    from .distributed.device import choose_device
    from .distributed.ranks import Ranks
    from .inference.ensemble import Ensemble, Member
    from .inference.trained import TrainedRun

    device = choose_device(0)
    threads = min(MOST_THREADS, cores())
    ranks = Ranks(0, 1, 1, device, threads)
    members = []
    for folder in runs:
        run = RunDir(folder)
        with shown(f"loading {run.name}", sys.stderr):
            trained = TrainedRun(run, device)
        with shown(
            f"{'reading' if run.predictions_file.exists() else 'making'} the predictions of {run.name}", sys.stderr
        ):
            members.append(Member(trained, ranks))
    return Ensemble(members), threads


def _answered(ensemble: "Ensemble", batch: "PictureBatch") -> list["Answered"]:
    """The answers for a batch. Names what could not be read."""
    from .inference.answers import Answered

    failed = [Answered(failure.file, {}, failure.reason) for failure in batch.failures]
    for one in failed:
        print(f"{one.shown}: {one.reason}", file=sys.stderr, flush=True)
    return [*failed, *ensemble.answers(batch)]


def _explain(
    folder: Path, ensemble: "Ensemble", batch: "PictureBatch", answered: Sequence["Answered"], files: Sequence[Path]
) -> None:
    from .inference.grad_cam import encoded, explanations, overlay_name

    good = [one for one in answered if not one.reason]
    for task in ensemble.classes:
        overlays = explanations(ensemble, batch, task, [one.answers[task].classes[0] for one in good])
        for one, overlay in zip(good, overlays, strict=True):
            atomic_write(folder / overlay_name(files.index(one.file) + 1, one.file, task), encoded(overlay))


def _write(args: argparse.Namespace, answered: Sequence["Answered"], ensemble: "Ensemble") -> None:
    from .inference.answer_table import as_csv, as_jsonl, print_answers

    is_printed = False
    for file, text in ((args.csv, as_csv), (args.jsonl, as_jsonl)):
        if file == Path("-"):
            is_printed = True
            sys.stdout.write(text(answered).decode())
        elif file:
            atomic_write(file, text(answered))
    if args.html:
        from .inference.gallery import gallery

        atomic_write(args.html, gallery(answered, [member.trained.run.name for member in ensemble.members]))
    if not is_printed:
        print_answers(answered, Console())


if __name__ == "__main__":
    sys.exit(main())
