"""The gallery: a self-contained HTML page of pictures and what runs say of them, without scripts."""

from base64 import b64encode
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ..templates import environment
from .answer_table import agreement, percent
from .answers import Answered


def gallery(answered: Sequence[Answered], runs: Sequence[str]) -> bytes:
    """Render the page as HTML. `runs` are the names of the runs that answer."""
    templates = environment(Path(__file__).parent)
    templates.filters["zip"] = partial(zip, strict=True)
    page = templates.get_template("gallery.html").render(
        pictures=[one for one in answered if not one.reason],
        failures=[one for one in answered if one.reason],
        runs=runs,
        percent=percent,
        agreement=agreement,
        data_uri=lambda jpeg: f"data:image/jpeg;base64,{b64encode(jpeg).decode()}",
    )
    return page.encode("utf-8", "backslashreplace")
