"""The classes of tables and folders: rare ones left out, and what may be an error in them said. Pure."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from .errors import UserError
from .labels import Labels
from .tasks import MAX_CLASSES

FEW = 3  # paintings of a class, for one in each split


def checked(labels: Labels, least: int = 1) -> Labels:
    """Return the labels without classes of fewer than `least` paintings, and with notes about what may be an error.

    Raises `UserError` unless each task has at least two classes, and not more than an index can hold.
    """
    labels = _without_rare(labels, least)
    for task, names in labels.classes.items():
        if not 2 <= len(names) <= MAX_CLASSES:
            so_large = f" of {least:,} paintings or more" if least > 1 else ""
            raise UserError(
                f"{labels.origin}: a task needs 2 to {MAX_CLASSES:,} classes, and {task} has {len(names):,}{so_large}; "
                "label more paintings, or choose another task"
            )
    return replace(labels, notes=(*labels.notes, *(note for task in labels.classes for note in _odd(labels, task))))


def _without_rare(labels: Labels, least: int) -> Labels:
    if least <= 1:
        return labels
    classes: dict[str, list[str]] = {}
    moved: dict[str, dict[int, int]] = {}
    notes = []
    for task, names in labels.classes.items():
        counts = _counts(labels, task)
        kept = [label for label in range(len(names)) if counts[label] >= least]
        classes[task] = [names[label] for label in kept]
        moved[task] = {label: place for place, label in enumerate(kept)}
        if few := len(names) - len(kept):
            notes.append(f"{few:,} of {len(names):,} classes of {task} have fewer than {least:,} paintings: left out")
    paintings = {}
    for path, painting in labels.paintings.items():
        own = {task: moved[task][label] for task, label in painting.labels.items() if label in moved[task]}
        listed = {task: name for task, name in painting.listed.items() if task in own}
        paintings[path] = replace(painting, labels=own, listed=listed)
    digest = hashlib.sha256(f"{labels.digest}, at least {least}".encode()).hexdigest()
    return replace(labels, classes=classes, paintings=paintings, digest=digest, notes=(*labels.notes, *notes))


def _counts(labels: Labels, task: str) -> Counter[int | None]:
    return Counter(painting.labels.get(task) for painting in labels.paintings.values())


def _odd(labels: Labels, task: str) -> Iterator[str]:
    if labels.is_official:
        return
    names, counts = labels.classes[task], _counts(labels, task)
    for name in names:
        if name.lower().replace("_", " ") in ("unknown", f"unknown {task}", "none", "n.a.", "?", "-"):
            yield f"{name!r} is a class of {task} like the others; leave a cell empty if its painting is unlabelled"
    alike = Counter(name.casefold() for name in names)
    if twice := [repr(name) for name in names if alike[name.casefold()] > 1]:
        yield f"classes of {task} differ only in capitals: {', '.join(twice[:4])}; spell them alike if they are one"
    if few := [name for label, name in enumerate(names) if counts[label] < FEW]:
        yield (
            f"{len(few):,} of {len(names):,} classes of {task} have fewer than {FEW} paintings, too few for train, "
            f"val and test, such as {few[0]!r}; --min-paintings leaves out small classes"
        )
