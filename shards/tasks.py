"""The tasks that paintings are labelled for, and which names a task may have. Pure."""

import re
import unicodedata
from collections.abc import Iterable

TASKS = ("artist", "style", "genre")  # those of ArtGAN's lists
COMBINED = "combined"
UNLABELLED = -1
MAX_CLASSES = 2**15 - 1  # of a task, as the index holds them in 16 bits

NAME = re.compile(r"[a-z](?:[a-z0-9_]{0,38}[a-z0-9])?")
NAME_RULE = (
    "the name of a task is up to 40 small letters, digits and '_', such as art_movement, "
    "and not path, split or another column of the index"
)
# What the index, a sample's JSON and a grid's `reference` call something else.
RESERVED = (
    *("key", "path", "shard", "offset", "length", "width", "height", "sha256", "phash", "split", "when", COMBINED),
)


def is_task(name: object) -> bool:
    """Whether a task may have this name: it stands in configurations, file names and columns of tables."""
    return (
        isinstance(name, str)
        and NAME.fullmatch(name) is not None
        and name not in RESERVED
        and not name.startswith("split_")
    )


def plain(text: str) -> str:
    """A header or an option as the name of a task: ` Art Movement ` is `art_movement`. It may still be no name."""
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", letters).strip("_")


def in_order(names: Iterable[str]) -> list[str]:
    """The distinct names, those of ArtGAN first, then by the alphabet."""
    return sorted(set(names), key=order)


def order(name: str) -> tuple[int, str]:
    """The sort key of a task's name."""
    return (TASKS.index(name) if name in TASKS else len(TASKS), name)


def splits_of(tasks: Iterable[str]) -> tuple[str, ...]:
    """The tasks, and `combined` for a model of all of them if there are several: each has its own splits."""
    tasks = tuple(tasks)
    return (*tasks, COMBINED) if len(tasks) > 1 else tasks
