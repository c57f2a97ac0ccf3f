"""Labels from folders: each folder of pictures is a class, as for torchvision's `ImageFolder`."""

import hashlib
import unicodedata
from pathlib import Path

from .errors import UserError
from .labels import Labels, Painting
from .pictures import find_files, is_picture
from .table import ROLES

TASK = "class"


def read_folders(folder: Path, task: str = TASK) -> Labels:
    """Read the class of each picture under `folder`: the name of the first folder that it is in.

    If these are called train, val and test, they are the splits, and the folders in them the classes. Raises
    `UserError` if there are fewer than two classes.
    """
    files = [file for file in find_files(folder) if is_picture(file) and "/" in file]
    tops = {ROLES.get(file.split("/")[0].lower(), "") for file in files}
    has_splits = "train" in tops and "" not in tops
    if has_splits:
        files = [file for file in files if file.count("/") > 1]
    names = {file: unicodedata.normalize("NFC", file.split("/")[int(has_splits)]) for file in files}
    classes = sorted(set(names.values()))
    labels = {name: label for label, name in enumerate(classes)}
    paintings = {
        file: Painting(file, {task: labels[name]}, split=ROLES[file.split("/")[0].lower()] if has_splits else "")
        for file, name in names.items()
    }
    digest = hashlib.sha256(repr((task, classes)).encode()).hexdigest()
    if not classes:
        raise UserError(f"{folder} has no folders with images; each of its folders is a class")
    if len(classes) == 1:
        raise UserError(
            f"{folder} has images in one folder only, {classes[0]!r}, and each of its folders is a class; "
            "give the folder that holds the classes"
        )
    return Labels({task: classes}, paintings, [], digest, f"the folders of {folder}")
