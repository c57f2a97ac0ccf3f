"""The report page: a self-contained HTML file without scripts."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from .. import figures, wording
from ..origin import origin
from ..results import Sweep
from ..search.figures import search_figures
from ..search.sections import Section, states
from ..search.trials import Search
from ..summary import Summary, value


def page(sweep: Sweep, summary: Summary) -> str:
    """Render the page as HTML. Links to runs are relative to the sweep's folder."""
    return _template("plain.html").render(
        sweep=sweep,
        summary=summary,
        words=wording,
        value=value,
        look=figures.look,
        dot_plots=figures.pictures(figures.dot_plots(summary)),
        curves=figures.pictures(figures.learning_curves(summary)),
        origin=origin(sweep),
    )


def search_page(search: Search, sections: Iterable[Section], importance: Mapping[str, float]) -> str:
    """Render the page of a search as HTML: its sections and figures."""
    return _template("search.html").render(
        sweep=search.sweep,
        states=states(search),
        sections=list(sections),
        figures=figures.pictures(search_figures(search, importance)),
        origin=origin(search.sweep),
    )


def _template(name: str) -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
