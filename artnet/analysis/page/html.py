"""The data of a report to one self-contained HTML file: styles, scripts and data are part of it, nothing is fetched."""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ...templates import environment

STATIC = Path(__file__).parent / "static"
STYLES = (
    "page.css",
    "tables.css",
    "charts.css",
    "plot.css",
)  # Plot puts plot.css into each chart: so its hash is known
LIBRARIES = ("vendor/d3.min.js", "vendor/plot.min.js")
SHARED = ("core.js", "controls.js", "table.js", "chart.js", "forest.js")
SECTIONS = {
    "answer": "Answer",
    "differences": "Differences",
    "factors": "Factors",
    "search": "Search",
    "cost": "Cost and accuracy",
    "classes": "Classes",
    "calibration": "Calibration",
    "curves": "Curves",
    "runs": "Runs",
    "method": "Method and glossary",
}
SCRIPTS = {  # of a section
    "answer": ("answer.js",),
    "differences": ("differences.js",),
    "factors": ("factors.js",),
    "search": ("answer.js", "search.js", "search_plots.js"),
    "cost": ("cost.js",),
    "classes": ("classes.js", "confusion.js"),
    "calibration": ("calibration.js",),
    "curves": ("curves.js",),
    "runs": ("runs.js", "run.js"),
    "method": (),
}
ALWAYS = ("answer", "runs", "method")


def html(data: Mapping[str, Any], slots: Mapping[str, str] | None = None, served: bool = False) -> str:
    """Render the page. Sections without data are left out.

    `slots` holds trusted HTML of sections by their names, which is shown without scripts too. A `served` page asks
    the server that it came from for newer results. Raises `ValueError` if `data` has a number that is not finite.
    """
    shown = [name for name in SECTIONS if name in ALWAYS or data.get(name)]
    if data.get("kind") == "search":
        shown = [name for name in shown if name not in ("answer", "differences", "factors")]
    files = dict.fromkeys(file for name in shown for file in SCRIPTS[name])
    names = [*SHARED, *files, *(["refresh.js"] if served else []), "start.js"]
    scripts = [_static(name) for name in (*LIBRARIES, *names)]
    styles = [_static(name) for name in STYLES]
    return (
        environment(Path(__file__).parent)
        .get_template("page.html")
        .render(
            data=data,
            sections={name: SECTIONS[name] for name in shown},
            slots={name: Markup(text) for name, text in (slots or {}).items()},  # noqa: S704 - it is made by this package
            policy=_policy(scripts, styles, served),
            scripts=scripts,
            styles=styles,
            embedded=embedded(data),
        )
    )


def embedded(data: Mapping[str, Any]) -> Markup:
    """Data as JSON that can stand in a `<script>`: ASCII, without the characters that could end it."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)  # noqa: S704 - escaped above


def _static(name: str) -> Markup:
    return Markup((STATIC / name).read_text(encoding="utf-8"))  # noqa: S704 - a file of this package


def _policy(scripts: list[Markup], styles: list[Markup], served: bool) -> str:
    """The Content-Security-Policy: only these scripts and styles, pictures that are part of the page, no network."""
    rules = {
        "default-src": "'none'",
        "script-src": " ".join(map(_source, scripts)),
        "style-src": " ".join(map(_source, styles)),
        "img-src": "data:",
        "connect-src": "'self'" if served else "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {sources}" for name, sources in rules.items())


def _source(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
