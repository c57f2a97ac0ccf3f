"""One painting under two spellings of its path: which listed path is which image file.

Zip tools, macOS and the lists' own makers have changed names: `joaquín-sorolla` stands in the lists as
`joaquã\xadn-sorolla`, its UTF-8 read as Latin-1 and then put into small letters, and a zip tool may have garbled
that twice more on the way to the disk.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

# The images' folder of a style, where it is not called like the class.
FOLDER_CLASSES = {"Art_Nouveau_Modern": "Art_Nouveau"}

_FOLDERS = {folder.lower(): name.lower() for folder, name in FOLDER_CLASSES.items()}
_APOSTROPHES = str.maketrans("", "", "'’‘`´ʼ")
# The code pages as which UTF-8 has been read: DOS's American and Russian one, and Windows's, which is Latin-1 too
# where Windows has no character.
_PAGES = [
    {bytes([byte]).decode(codec, "ignore"): byte for codec in codecs for byte in range(256)}
    for codecs in (["cp437"], ["cp866"], ["latin-1", "cp1252"])
]
# The first byte of a two-byte character that was put into small letters (Ã to ã): else it would begin three bytes.
_SMALL = re.compile(rb"[\xe2-\xfe](?=[\x80-\xbf](?![\x80-\xbf]))")


def match_files(files: Iterable[str], listed: Iterable[str]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Which listed path each file is: exactly, else the one that has a reading in common with it.

    Also returns the files in doubt with the listed paths that they may be: they fit several, or one that another file
    has or fits too. These get none. Files that fit nothing are in neither answer.
    """
    listed = set(listed)
    files = set(files)
    matched = {file: file for file in files & listed}
    if files <= listed:
        return matched, {}
    by_reading: dict[str, set[str]] = defaultdict(set)
    for path in listed:
        for reading in readings(path):
            by_reading[reading].add(path)
    fits = {
        file: sorted(set().union(*(by_reading.get(reading, ()) for reading in readings(file))))
        for file in sorted(files - listed)
    }
    claims = Counter(path for paths in fits.values() for path in paths)
    doubtful: dict[str, list[str]] = {}
    for file, paths in fits.items():
        if len(paths) == 1 and claims[paths[0]] == 1 and paths[0] not in files:
            matched[file] = paths[0]
        elif paths:
            doubtful[file] = paths
    return matched, doubtful


def readings(path: str) -> set[str]:
    """All that `path` may be: as it is, and before one and two garblings. Paths are one painting's if they share one.

    Readings have one Unicode form, small letters, no apostrophes, and the class for the folder.
    """
    names = {unicodedata.normalize("NFC", path)}
    for _ in range(2):
        names |= {unicodedata.normalize("NFC", before) for name in names for before in _before(name)}
    return {_plain(name) for name in names}


def _before(name: str) -> Iterator[str]:
    """What `name` was if its UTF-8 was read as one of the code pages."""
    if name.isascii():
        return
    for page in _PAGES:
        try:
            data = bytes(page[character] for character in name)
            yield _SMALL.sub(lambda first: bytes([first[0][0] & 0xDF]), data).decode("utf-8")
        except (KeyError, UnicodeDecodeError):
            continue


def _plain(name: str) -> str:
    folder, slash, rest = name.lower().translate(_APOSTROPHES).partition("/")
    return _FOLDERS.get(folder, folder) + slash + rest
