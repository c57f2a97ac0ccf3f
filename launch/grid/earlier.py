"""An earlier sweep by its folder: its runs, which `after` waits for, and the one that `init_from` means."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from artnet import config
from artnet.config.document import Document
from artnet.config.paths import beside, expanded
from artnet.formats import check_format
from artnet.rundir import MAX_MANIFEST, RunDir, read_json
from shards.errors import UserError

_SHOWN = 5  # keys in an error


def runs_of(sweep: Path) -> dict[RunDir, str]:
    """The folders of the runs of a sweep, in the order of its manifest, and their signatures.

    Raises `UserError` unless the folder is that of a sweep.
    """
    manifest = read_json(sweep / "manifest.json", MAX_MANIFEST)
    check_format(sweep / "manifest.json", manifest)
    try:
        return {RunDir(sweep / run["name"]): str(run["signature"]) for run in manifest["runs"]}
    except (KeyError, TypeError):
        raise UserError(f"{sweep} holds no runs; launch its grid first, or give the folder of a sweep") from None


@dataclass(frozen=True)
class RunOf:
    """`{sweep: runs/pretrain, when: {task: style}}`: the run of that sweep with these values."""

    sweep: Path
    when: Mapping[str, Any]

    def __str__(self) -> str:
        return f"a run of {self.sweep} with {self._wanted}" if self.when else f"a run of {self.sweep}"

    @property
    def _wanted(self) -> str:
        return ", ".join(f"{key} {_shown(value)}" for key, value in self.when.items())

    @cached_property
    def _matching(self) -> list[tuple[Path, dict[str, Any]]]:
        """The runs with these values: folder, and flat configuration. One that cannot be read has none."""
        found: list[tuple[Path, dict[str, Any]]] = []
        begun = 0
        for run in runs_of(self.sweep):
            with contextlib.suppress(UserError, OSError):
                if not run.config_file.exists():
                    continue
                flat = config.flatten(run.config())
                begun += 1
                if all(flat[key] == value for key, value in self.when.items()):
                    found.append((run.path, flat))
        if not found:
            raise UserError(f"none of the {begun} runs of {self.sweep} has {self._wanted or 'a folder'}; change `when`")
        return found

    def folder(self, own: Mapping[str, Any]) -> Path:
        """The folder of the run that the run with the flat configuration `own` starts from.

        If several have these values, it is the one with the run's own seed and model, where they differ in these.
        Raises `UserError` unless that is exactly one.
        """
        found = self._matching
        differing = [key for key in own if _decides(key) and any(flat[key] != found[0][1][key] for _, flat in found)]
        shared = [key for key in differing if key == "seed" or key.startswith("model.")]
        same = [folder for folder, flat in found if all(flat[key] == own[key] for key in shared)]
        if len(same) == 1:
            return same[0]
        keys = ", ".join(differing[:_SHOWN]) + (", ..." if len(differing) > _SHOWN else "")
        have = f"have {self._wanted}" if self.when else "could be meant"
        which = f"{len(same)} have" if same else "none has"
        own_keys = f", and {which} this run's own {', '.join(shared[:_SHOWN])}" if shared else ""
        raise UserError(
            f"{len(found)} runs of {self.sweep} {have} and differ in {keys}{own_keys}; say in `when` which one is meant"
        )


def _decides(key: str) -> bool:
    marks = config.fields()[key].json_schema_extra
    return not (isinstance(marks, dict) and marks.get("affects_result") is False)


def _shown(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def sweep_folder(document: Document, position: tuple[str | int, ...], given: Any) -> Path:
    """The folder of a sweep that a grid names. Raises `UserError` with file and line if it is no path."""
    try:
        path = expanded(beside(given, document.file.parent))
    except ValueError as error:
        raise document.error(position, str(error)) from None
    if not isinstance(path, str) or not path.strip():
        written = document.written.get(position, repr(given))
        raise document.error(position, f"the folder of a sweep is wanted, such as runs/pretrain, not {written}")
    return Path(path)


def after(document: Document) -> tuple[Path, ...]:
    """The sweeps of the grid's `after`: one path, or a list. Raises `UserError` with file and line."""
    given = document.values.get("after")
    if isinstance(given, list):
        return tuple(sweep_folder(document, position, entry) for position, entry in document.entries("after"))
    return () if given is None else (sweep_folder(document, ("after",), given),)
