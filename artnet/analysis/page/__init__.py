"""The report page of a sweep: its data, and the HTML that shows them."""

from ..results import Sweep
from .document import page_data
from .forest import slots
from .html import html


def page(sweep: Sweep, served: bool = False) -> str:
    """Render the page of a sweep. Links to runs are relative to the sweep's folder; a `served` page asks for newer."""
    data = page_data(sweep)
    return html(data, {} if data["kind"] == "search" else slots(data), served)
