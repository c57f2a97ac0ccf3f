"""The command line that the three doors share: what to do, with which runs, and how."""

import difflib
import json
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

from shards.errors import UserError
from shards.numbers import real, whole

from ..sweep.plan import Policy
from ..sweep.state import State

PRUNE = {"--prune": "cancel and forget runs that are no longer in the grid; their folders stay"}
WATCH_S = 10.0  # between two looks at the run directories


class Command(StrEnum):
    """What to do. Without an option that names another command, it is to launch what is missing."""

    LAUNCH = "launch"
    STATUS = "status"
    LOGS = "logs"
    CANCEL = "cancel"
    COLLECT = "collect"
    CLEAN = "clean"
    NEW = "new"


@dataclass(frozen=True)
class Options:
    """The options that every door has."""

    grid: Path
    new: str
    sets: list[str]
    only: list[str]
    ids: list[str]
    states: frozenset[State]
    sweep_root: Path
    command: Command
    policy: Policy
    dry_run: bool
    yes: bool
    watch_s: float | None
    logs: str
    follow: bool

    @property
    def selects(self) -> bool:
        """Whether only a part of the grid is meant."""
        return bool(self.only or self.ids or self.states)


def parser(program: str, description: str, launching: Mapping[str, str] = MappingProxyType({})) -> ArgumentParser:
    """The options that every door has; a door adds its own, those about `launching` as name and help text."""
    options = ArgumentParser(
        prog=f"python launch/{program}", description=description, allow_abbrev=False, usage="%(prog)s --grid FILE ..."
    )
    what = options.add_argument_group("grid")
    which = what.add_mutually_exclusive_group(required=True)
    which.add_argument("--grid", type=Path, metavar="FILE", help="the grid, such as sweeps/demo.yaml")
    which.add_argument("--new", metavar="NAME", help="write an example of a grid, sweeps/NAME.yaml, and exit")
    what.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="set a fixed key, such as train.epochs=5"
    )
    what.add_argument("--data", metavar="SHARDS", help="the same as --set data.shards=SHARDS")
    what.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="FOLDER", help="folder of all sweeps (default: runs)"
    )

    _add_selection(options)
    _add_actions(options)
    _add_launch_options(options, launching)
    return options


def _add_selection(options: ArgumentParser) -> None:
    part = options.add_argument_group("selection")
    part.add_argument(
        "--only", action="append", default=[], metavar="SELECTION",
        help="runs with these values: 'attention=se,seed=[0,1]'; , is and, != is not, a second --only is or",
    )  # fmt: skip
    part.add_argument(
        "--id", action="append", default=[], metavar="PREFIX",
        help="runs whose name or signature begins with this; repeat for more",
    )  # fmt: skip
    part.add_argument(
        "--state",
        action="append",
        default=[],
        metavar="STATE",
        help="runs in this state, such as failed; repeat for more",
    )


def _add_actions(options: ArgumentParser) -> None:
    other = options.add_argument_group("actions (default: launch what is missing)")
    other.add_argument("--status", action="store_true", help="show where each run is; exit code 1 if one ended badly")
    other.add_argument(
        "--watch", nargs="?", type=real, const=WATCH_S, metavar="S",
        help=f"show --status again every S seconds (default: {WATCH_S:g}) until all runs have ended",
    )  # fmt: skip
    other.add_argument(
        "--logs", nargs="?", const="", metavar="ID",
        help="print the log of a run's last attempt; without ID, of the only run selected",
    )  # fmt: skip
    other.add_argument("-f", "--follow", action="store_true", help="with --logs: print new lines until the run ends")
    other.add_argument("--cancel", action="store_true", help="end runs that wait or run; asks first")
    other.add_argument("--collect", action="store_true", help="write results.csv, the table and the page now")
    other.add_argument(
        "--clean",
        action="store_true",
        help="list files that no run needs any more, ask, and delete them",
    )


def _add_launch_options(options: ArgumentParser, launching: Mapping[str, str]) -> None:
    start = options.add_argument_group("launch options")
    start.add_argument(
        "--dry-run", action="store_true", help="print the plan and do nothing; also for --cancel and --clean"
    )
    start.add_argument("--limit", type=whole, metavar="N", help="start at most N runs now")
    start.add_argument("--retry", action="store_true", help="also resume runs that ended badly")
    start.add_argument(
        "--force",
        action="store_true",
        help="start all selected runs from scratch, complete and running ones too; asks first, keeps what they had",
    )
    for name, help_text in launching.items():
        start.add_argument(name, action="store_true", help=help_text)
    start.add_argument("--yes", action="store_true", help="answer yes to all questions")


def parse(args: Namespace) -> Options:
    """The shared options out of the parsed arguments. Raises `UserError` for those that contradict each other."""
    command = _command(args)
    prune = getattr(args, "prune", False)
    launching = {"--limit": args.limit is not None, "--retry": args.retry, "--force": args.force, "--prune": prune}
    if command is not Command.LAUNCH and (given := _given(launching)):
        raise UserError(f"{given[0]} says how to launch, and --{command} launches nothing; leave one out")
    if args.dry_run and command not in (Command.LAUNCH, Command.CANCEL, Command.CLEAN):
        raise UserError(f"--{command} changes no run, so there is nothing for --dry-run to hold back; leave it out")
    if args.retry and args.force:
        raise UserError("--retry resumes runs that ended badly, --force starts them from scratch; give one")
    if prune and (given := _given({"--only": args.only, "--id": args.id, "--state": args.state})):
        raise UserError(f"--prune is about runs that are not in the grid, {given[0]} selects from the grid; give one")
    if args.limit is not None and args.limit < 1:
        raise UserError(f"--limit {args.limit} would start nothing; give 1 or more, or --dry-run")
    if args.watch is not None and not 0.1 <= args.watch <= 86400:
        raise UserError(f"--watch {args.watch:g}: give seconds between 0.1 and 86400")
    if args.follow and command is not Command.LOGS:
        raise UserError("-f follows the log of a run; give --logs ID with it")
    about_runs = {"--set": args.set, "--data": args.data, "--only": args.only, "--id": args.id, "--state": args.state}
    if command is Command.NEW and (given := _given(about_runs)):
        raise UserError(f"{given[0]} is about the runs of a grid, and --new writes one; leave one out")
    return Options(
        grid=args.grid or Path(),
        new=args.new or "",
        sets=[*args.set, *([f"data.shards={json.dumps(args.data, ensure_ascii=False)}"] if args.data else [])],
        only=args.only,
        ids=args.id,
        states=states(args.state),
        sweep_root=args.runs,
        command=command,
        policy=Policy(args.retry, args.force, prune, args.limit),
        dry_run=args.dry_run,
        yes=args.yes,
        watch_s=args.watch,
        logs=args.logs or "",
        follow=args.follow,
    )


def states(words: Sequence[str]) -> frozenset[State]:
    """The states of `--state`, written as the table shows them or with `-` or `_`. Raises `UserError` for another."""
    chosen = set()
    for word in words:
        name = word.strip().lower().replace(" ", "_").replace("-", "_")
        if name not in set(State):
            near = difflib.get_close_matches(name, list(State), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"the states are {', '.join(State)}"
            raise UserError(f"--state {word}: there is no such state; {hint}")
        chosen.add(State(name))
    return frozenset(chosen)


def _command(args: Namespace) -> Command:
    asked = _given(
        {
            "--status": args.status or args.watch is not None,
            "--logs": args.logs is not None,
            "--cancel": args.cancel,
            "--collect": args.collect,
            "--clean": args.clean,
            "--new": args.new is not None,
        }
    )
    if len(asked) > 1:
        raise UserError(f"{' and '.join(asked)} are {len(asked)} things to do; give one")
    return Command(asked[0].removeprefix("--")) if asked else Command.LAUNCH


def _given(options: dict[str, object]) -> Sequence[str]:
    return [name for name, value in options.items() if value]
