"""The report page of a sweep: its data, and the HTML that shows them."""

from collections.abc import Mapping
from typing import Any

from .document import page_data
from .forest import slots
from .html import html

__all__ = ["page", "page_data"]


def page(data: Mapping[str, Any], served: bool = False) -> str:
    """Render the page of `page_data`. Links are relative to the sweep's folder; a `served` page asks for newer data."""
    return html(data, {} if data["kind"] == "search" else slots(data), served)
