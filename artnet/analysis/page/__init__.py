"""The report page of a sweep: its data, and the HTML that shows them."""

from .plain import page, search_page

__all__ = ["page", "search_page"]
