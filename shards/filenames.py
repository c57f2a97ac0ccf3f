"""Matching image files to the paths in the label lists, although one of the two spellings may be garbled.

Zip tools, macOS and the makers of the lists have changed names. The lists spell `joaquín-sorolla` as
`joaquã\xadn-sorolla`: its UTF-8 was read as Latin-1 and then put into lower case. A zip tool may have garbled the name
up to two more times when it wrote the file.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator

from .pictures import without_suffix

# Folders of images that are not named like the class of their style.
FOLDER_CLASSES = {"Art_Nouveau_Modern": "Art_Nouveau"}

_FOLDERS = {folder.lower(): name.lower() for folder, name in FOLDER_CLASSES.items()}
_APOSTROPHES = str.maketrans("", "", "'’‘`´ʼ")
# The code pages that UTF-8 has been mistaken for: the American and the Russian one of DOS, and that of Windows, where
# Latin-1 fills the gaps.
_CODE_PAGES = [
    {bytes([byte]).decode(codec, "ignore"): byte for codec in codecs for byte in range(256)}
    for codecs in (["cp437"], ["cp866"], ["latin-1", "cp1252"])
]
# The first byte of a two-byte character that was put into lower case (Ã to ã), where it would start three bytes.
_LOWERED = re.compile(rb"[\xe2-\xfe](?=[\x80-\xbf](?![\x80-\xbf]))")


def match_files(files: Iterable[str], listed: Iterable[str]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Find the listed path of each image file: the same path, or else the only one that shares a spelling with it, or
    else the only one that does whatever the suffix of the image.

    Returns two mappings. The first maps files to listed paths. The second maps each ambiguous file to the listed paths
    that it may be: it matches several, or one that another file has or matches too. Files that match nothing are in
    neither mapping.
    """
    listed, rest = set(listed), set(files)
    matched = {file: file for file in rest & listed}
    ambiguous: dict[str, list[str]] = {}
    for spellings in (possible_spellings, _without_suffixes):
        rest = rest - matched.keys() - ambiguous.keys()
        if rest:
            found, doubtful = _match_by(spellings, rest, listed, set(matched.values()))
            matched |= found
            ambiguous |= doubtful
    return matched, ambiguous


def _match_by(
    spellings: Callable[[str], set[str]], files: Iterable[str], listed: Iterable[str], taken: Collection[str]
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The same by spellings. The listed paths that are `taken` have a file already."""
    by_spelling: dict[str, set[str]] = defaultdict(set)
    for path in listed:
        for spelling in spellings(path):
            by_spelling[spelling].add(path)
    candidates = {
        file: sorted(set().union(*(by_spelling.get(spelling, ()) for spelling in spellings(file))))
        for file in sorted(files)
    }
    claims = Counter(path for paths in candidates.values() for path in paths)
    matched: dict[str, str] = {}
    ambiguous: dict[str, list[str]] = {}
    for file, paths in candidates.items():
        if len(paths) == 1 and claims[paths[0]] == 1 and paths[0] not in taken:
            matched[file] = paths[0]
        elif paths:
            ambiguous[file] = paths
    return matched, ambiguous


def possible_spellings(path: str) -> set[str]:
    """Return what `path` may have been before it was garbled up to two times, and `path` itself.

    Two paths that share one of these may belong to the same painting. They are normalized: NFC, lower case, without
    apostrophes, with underscores for spaces, and with the class name as the folder.
    """
    names = {unicodedata.normalize("NFC", path)}
    for _ in range(2):
        names |= {unicodedata.normalize("NFC", before) for name in names for before in _ungarbled(name)}
    return {_normalized(name) for name in names}


def _without_suffixes(path: str) -> set[str]:
    return {without_suffix(spelling) for spelling in possible_spellings(path)}


def _ungarbled(name: str) -> Iterator[str]:
    """Yield what `name` was if its UTF-8 was read as one of the code pages."""
    if name.isascii():
        return
    for page in _CODE_PAGES:
        try:
            data = bytes(page[character] for character in name)
            yield _LOWERED.sub(lambda first: bytes([first[0][0] & 0xDF]), data).decode("utf-8")
        except (KeyError, UnicodeDecodeError):
            continue


def _normalized(name: str) -> str:
    folder, slash, rest = "_".join(name.lower().translate(_APOSTROPHES).split()).partition("/")
    return _FOLDERS.get(folder, folder) + slash + rest
