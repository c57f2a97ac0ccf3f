"""`python -m artnet.report SWEEP`: the results of a sweep, or of several together, as a table, as files and as a page.

Reads run directories only and may be run at any time: runs without a result are shown with their state.
Leaves `results.csv`, `results.md` and `report.html` in SWEEP, the folder `runs/NAME`; of several, `runs/A` and
`runs/B`, in `runs/A+B`.
"""

import argparse
import contextlib
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from shards.errors import UserError, command
from shards.files import atomic_write
from shards.numbers import whole

from .analysis import wording
from .analysis.merge import merged
from .analysis.results import Sweep, read_sweep
from .analysis.search.importance import importance
from .analysis.search.sections import sections
from .analysis.search.trials import Search, read_search
from .analysis.summary import summarise
from .analysis.table import markdown, print_summary, results_csv

PAGE_NAME = "report.html"
THUMBNAILS = "show the paintings of the commonest confusions, which are read from the shards and stored in the page"
SERVE = "show the page on this machine, at PORT or any free one, and keep it up to date while the sweep runs"


def write(folder: Path, console: Console | None = None, has_thumbnails: bool = False) -> None:
    """Print a sweep's table, write it as files to its folder and print where the page is.

    With `has_thumbnails` the page shows paintings that were confused. Raises `UserError` if the folder or its manifest
    is missing or broken.
    """
    _write(read_sweep(folder), console or Console(), has_thumbnails)


def write_together(folders: Sequence[Path], has_thumbnails: bool = False) -> None:
    """The same of several sweeps, in a folder beside the first. Raises `UserError` if they cannot be compared."""
    sweep = merged([read_sweep(folder) for folder in folders])
    sweep.folder.mkdir(exist_ok=True)
    _write(sweep, Console(), has_thumbnails)


def _write(sweep: Sweep, console: Console, has_thumbnails: bool) -> None:
    folder = sweep.folder
    search = read_search(sweep)
    if search and has_thumbnails:
        raise UserError(f"{folder} is a search, whose page has no confusions; leave --thumbnails out")
    table, text, page = _search_report(search, console) if search else _grid_report(sweep, console, has_thumbnails)
    atomic_write(folder / "results.csv", table)
    atomic_write(folder / "results.md", text)
    atomic_write(folder / PAGE_NAME, page)
    console.print(Text(f"report page: {folder / PAGE_NAME}"), soft_wrap=True)


def _grid_report(sweep: Sweep, console: Console, has_thumbnails: bool) -> tuple[str, str, str]:
    """Print the table of a grid. Returns the CSV, the Markdown and the page."""
    from .analysis.page import page, page_data  # jinja2 takes a while to import: report wrong input before

    summary, data = summarise(sweep), page_data(sweep, has_thumbnails)
    answers = [f"{task}: {sentence}" for task, sentence in data["answer"]["sentences"].items()]
    notes = [*wording.notes(sweep, summary), *data["missing"]]
    print_summary(sweep, summary, answers, notes, console)
    return results_csv(sweep), markdown(sweep, summary, answers, notes), page(data)


def _search_report(search: Search, console: Console) -> tuple[str, str, str]:
    """The same of a search."""
    from .analysis.page import page, page_data
    from .analysis.search import text

    parts = sections(search, importance(search))
    text.print_search(search, parts, console)
    return text.results_csv(search), text.markdown(search, parts), page(page_data(search.sweep))


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m artnet.report", description=(__doc__ or "").split(": ", 1)[1])
    parser.add_argument("sweeps", nargs="+", type=Path, metavar="SWEEP", help="folder of a sweep, runs/NAME")
    parser.add_argument("--thumbnails", action="store_true", help=THUMBNAILS)
    parser.add_argument("--serve", type=whole, nargs="?", const=0, metavar="PORT", help=SERVE)
    options = parser.parse_args(argv)
    folders = list(dict.fromkeys(options.sweeps))
    if len(folders) == 1:
        write(folders[0], has_thumbnails=options.thumbnails)
        if options.serve is not None:
            serve(folders[0], options.serve, options.thumbnails)
    elif options.serve is not None:
        raise UserError("--serve shows the page of one sweep; give one, or leave --serve out")
    else:
        write_together(folders, options.thumbnails)
    return 0


def serve(folder: Path, port: int, has_thumbnails: bool) -> None:
    """Serve the page of a sweep on this machine until interrupted; port 0 is any free one.

    Raises `UserError` if the port is taken.
    """
    from .analysis.page import page, page_data
    from .analysis.page.serve import Server

    def render() -> str:
        return page(page_data(read_sweep(folder), has_thumbnails), served=True)

    try:
        server = Server(folder, render, port)
    except (OSError, OverflowError) as error:
        raise UserError(f"port {port} cannot be used ({error}); give another one to --serve, or none") from None
    print(f"the page, kept up to date: {server.address} (Ctrl-C ends it)", flush=True)
    with contextlib.suppress(KeyboardInterrupt), server:
        server.serve_forever()


if __name__ == "__main__":
    raise SystemExit(main())
