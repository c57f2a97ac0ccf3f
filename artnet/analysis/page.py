"""The report page: a self-contained HTML file without scripts."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from . import figures, wording
from .origin import origin
from .results import Sweep
from .summary import Summary, value


def page(sweep: Sweep, summary: Summary) -> str:
    """Render the page as HTML. Links to runs are relative to the sweep's folder."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        sweep=sweep,
        summary=summary,
        words=wording,
        value=value,
        look=figures.look,
        dot_plots=figures.pictures(figures.dot_plots(summary)),
        curves=figures.pictures(figures.learning_curves(summary)),
        origin=origin(sweep),
    )
