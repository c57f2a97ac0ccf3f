"""What a sweep does not need any more. Results, metrics, curves, `best.pt` and last logs always stay."""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from shards.errors import UserError

from ..console import ask, say
from ..grid import Run
from ..sweep.backend import Engines
from ..sweep.disk import in_words, size
from ..sweep.folder import SweepDir
from ..sweep.state import LIVE, Found, State
from .session import Session, check_answer


def clean(session: Session, console: Console) -> int:
    """List what no run needs any more with its size, ask, and delete it. Returns 0."""
    options = session.options
    with session.sweep.locked(session.engines.own.name, wait=session.engines.own.draws):
        gone = [] if options.selects else session.sweep.dropped(session.everything.runs)
        runs, observed = session.observe(gone, fresh=True)
        check_answer(observed, "deleted")
        leftovers = find(session.engines, session.sweep, [*runs, *gone], observed.found, whole=not options.selects)
        for kind in leftovers:
            console.print(f"{in_words(kind.size):>9}  {len(kind.paths):>5}  {kind.what}", highlight=False)
            for path in kind.paths if options.dry_run else ():
                console.print(f"           {path}", highlight=False, markup=False, soft_wrap=True)
        total = in_words(sum(kind.size for kind in leftovers))
        if not leftovers:
            console.print("nothing to clean", highlight=False)
        elif options.dry_run:
            console.print(f"dry run: nothing was deleted of {total}", highlight=False)
        elif ask(f"this deletes {total} permanently", options.yes):
            delete(leftovers, session.sweep)
            console.print(f"deleted {total}", highlight=False)
    return 0


@dataclass(frozen=True)
class Leftover:
    """Files and folders that can go for one reason, and their size in bytes."""

    what: str
    paths: list[Path]
    size: int


def find(
    engines: Engines, sweep: SweepDir, runs: Sequence[Run], found: Mapping[str, Found], whole: bool
) -> list[Leftover]:
    """What of these runs, and if they are the `whole` of the sweep, what beside its runs can go.

    Only what has a name as this project gives it, and lies in the sweep itself: folders that are links, such as one to
    another disk, may hold what others need, and are left with a warning.
    """
    folders = {run.config.name: sweep.run(run) for run in runs}
    ended = [folder for name, folder in folders.items() if found[name].state not in {*LIVE, State.UNREADABLE}]
    complete = [folder for folder in ended if found[folder.name].state is State.COMPLETE]
    attempts = [
        sorted(path for path in folder.attempts.glob("[0-9]*") if re.fullmatch("[0-9]{3,}", path.name))[:-1]
        for folder in ended
    ]
    kinds = {
        "checkpoints to go on from, of complete runs": [
            file
            for folder in complete
            for name in ("last.pt", "previous.pt")
            if (file := folder.checkpoints / name).exists()
        ],
        "logs of attempts before the last": [path for paths in attempts for path in paths],
    }
    if whole:
        kinds |= engines.leftovers(sweep, list(folders.values()), found)
        kinds["runs that --force replaced"] = sweep.set_asides()
    for folder in sorted({path.parent for paths in kinds.values() for path in paths if not _is_inside(path, sweep)}):
        say(f"warning: {folder} is reached through a link to {folder.resolve()}; nothing is deleted there")
    inside = {what: [path for path in paths if _is_inside(path, sweep)] for what, paths in kinds.items()}
    return [Leftover(what, paths, sum(map(size, paths))) for what, paths in inside.items() if paths]


def _is_inside(path: Path, sweep: SweepDir) -> bool:
    """Whether no folder between the sweep's and this path is a link. The sweep's own may be reached by one."""
    within = path.relative_to(sweep.folder)
    return path.parent.resolve() == (sweep.folder.resolve() / within).parent


def delete(leftovers: Sequence[Leftover], sweep: SweepDir) -> None:
    """Delete it, except what has become a link's since it was listed. What is gone already is no error.

    Raises `UserError`, after all else is deleted, if something cannot be, such as what belongs to another user.
    """
    failed: list[OSError] = []

    def note(function: object, path: str, caught: tuple[type[BaseException], BaseException, object]) -> None:
        if isinstance(caught[1], OSError) and not isinstance(caught[1], FileNotFoundError):
            failed.append(caught[1])

    for path in (path for kind in leftovers for path in kind.paths):
        if not _is_inside(path, sweep):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, onerror=note)
            continue
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            failed.append(error)
    if failed:
        raise UserError(
            f"{failed[0].filename} could not be deleted ({failed[0].strerror}), nor could {len(failed) - 1} others; "
            "have their owner clean the sweep"
        )
