"""What a part found, in a file that is complete at any time; and the tables of all parts. Light to import."""

import json
import operator
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PASSED, FAILED, NOT_MEASURED = "passed", "failed", "not measured"
COMPARISONS = {">=": operator.ge, "<=": operator.le, "<": operator.lt, "==": operator.eq}


class CheckError(Exception):
    """A part found something wrong. The message says what."""


class NotMeasuredError(Exception):
    """A part cannot be measured here. The message is the reason."""


class Record:
    """What a part found: its status, the reason, its seconds and figures, written to `file` whenever it changes."""

    def __init__(self, file: Path, judged: bool = True) -> None:
        """Figures are compared with their bars if `judged`."""
        self._file, self._judged, self._started = file, judged, time.monotonic()
        self._figures: dict[str, dict[str, Any]] = {}
        self.content: dict[str, Any] = {"status": "", "reason": "", "seconds": 0.0, "figures": []}

    def figure(self, name: str, value: float | str, unit: str = "", bar: str = "") -> None:
        """Set a figure. `bar` is a comparison, such as ">= 0.97": the part fails if the figure does not meet it."""
        met = meets(value, bar) if bar and self._judged and not isinstance(value, str) else None
        self._figures[name] = {"name": name, "value": value, "unit": unit, "bar": bar, "met": met}
        self.content["figures"] = list(self._figures.values())
        self._write()

    def check(self, is_right: bool, complaint: str) -> None:
        """Raise `CheckError` with the complaint, unless `is_right`."""
        if not is_right:
            raise CheckError(complaint)

    def close(self, status: str, reason: str = "") -> None:
        """Write the final status. A part that passed has failed if a figure does not meet its bar."""
        missed = [figure["name"] for figure in self.content["figures"] if figure["met"] is False]
        if status == PASSED and missed:
            status, reason = FAILED, f"below the bar: {', '.join(missed)}"
        self.content |= {"status": status, "reason": reason}
        self._write()

    def _write(self) -> None:
        self.content["seconds"] = round(time.monotonic() - self._started, 1)
        write_json(self._file, self.content)


def meets(value: float, bar: str) -> bool:
    """Whether `value` meets a bar such as ">= 0.97"."""
    sign, number = bar.split()
    return bool(COMPARISONS[sign](value, float(number)))


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file by renaming, so that it is whole at any time."""
    part = file.with_name(f"{file.name}.part")
    part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    part.replace(file)


def tables(content: Mapping[str, Any]) -> str:
    """The Markdown tables of a report: the parts in the order of their numbers, and all figures."""
    machine = content["machine"]
    said = ", ".join(f"{key} {value}" for key, value in machine.items() if value)
    lines = [f"{said}\n", "| part | | status | s | |", "| --: | --- | --- | --: | --- |"]
    parts = sorted(content["parts"].items(), key=lambda pair: int(pair[0]))
    for number, part in parts:
        reason = part["reason"].replace("|", "\\|")
        lines.append(f"| {number} | {part['title']} | {part['status']} | {part['seconds']:.0f} | {reason} |")
    lines += ["", "| part | figure | value | bar | |", "| --: | --- | --: | --- | --- |"]
    verdicts = {True: "passed", False: "missed", None: ""}
    for number, part in parts:
        for figure in part["figures"]:
            value = figure["value"] if isinstance(figure["value"], str) else f"{figure['value']:,.4g}"
            bar, verdict = figure["bar"].replace("|", "\\|"), verdicts[figure["met"]]
            lines.append(f"| {number} | {figure['name']} | {value} {figure['unit']} | {bar} | {verdict} |")
    return "\n".join(lines)
