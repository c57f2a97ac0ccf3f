"""The demo data set: procedural paintings laid out like WikiArt, with label lists like ArtGAN's.

Styles, genres and artists are independent of one another and long-tailed, about 6 to 1. Every painting has a style,
four in five are in the genre lists, and seven in ten in the artist lists. The others have an unlisted genre, or an
artist with no other painting. Three in ten are in the val lists of all tasks.
"""

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..errors import UserError
from ..files import atomic_write, remove_leftovers
from ..locks import locked_patiently
from ..progress import progress
from ..workers import parallel_map
from .artists import ARTISTS
from .painting import STYLES, paint
from .scene import GENRES

MIN_PAINTINGS = 40  # with fewer, a rare class would have no painting at all
SHORT_SIDES = (96, 128)  # pixels, both included
IMBALANCE = 6  # size of the largest class over the size of the smallest
SHEET_WIDTH = 1200  # pixels

_ADJECTIVES = ("amber", "distant", "early", "gilded", "hushed", "last", "northern", "pale", "silver", "windy")
_NOUNS = {
    "landscape": ("valley", "poplars", "river-bend", "hills", "meadow"),
    "portrait": ("sitter", "cousin", "stranger", "musician", "gardener"),
    "still_life": ("table", "quinces", "vase", "breakfast", "bouquet"),
    "cityscape": ("quarter", "towers", "embankment", "avenue", "rooftops"),
    "abstract_painting": ("composition", "interval", "study", "rhythm", "balance"),
}


@dataclass(frozen=True)
class PaintingSpec:
    """What to paint. `artist` is None for an unlisted artist with no other painting."""

    index: int
    style: str
    genre: str
    artist: str | None
    genre_listed: bool  # whether it is in the genre lists
    split: str  # train or val
    title: str

    @property
    def path(self) -> str:
        """The path in the label lists and under `images`: STYLE/artist-name_title.jpg."""
        artist = (self.artist or "anonymous-school").lower().replace("_", "-")
        return f"{self.style}/{artist}_{self.title}.jpg"


def plan(paintings: int, seed: int) -> list[PaintingSpec]:
    """Return what each of `paintings` paintings shows, the same for the same arguments.

    Raises `UserError` for fewer than 40 paintings.
    """
    if paintings < MIN_PAINTINGS:
        raise UserError(
            f"{paintings} paintings are too few for every class to have one; ask for {MIN_PAINTINGS} or more"
        )
    # The generators of single paintings have other seeds, as their indices are below `paintings`.
    rng = np.random.default_rng([seed, paintings])
    with_genre, with_artist = round(0.8 * paintings), round(0.7 * paintings)
    genres = [(name, True) for name in _long_tailed(GENRES, with_genre)]
    genres += [(name, False) for name in _long_tailed(GENRES, paintings - with_genre)]
    artists = [*_long_tailed(ARTISTS, with_artist), *[None] * (paintings - with_artist)]
    styles, orders = _long_tailed(STYLES, paintings), [rng.permutation(paintings) for _ in range(4)]
    specs = []
    for index, (style, genre, artist, rank) in enumerate(zip(*orders, strict=True)):
        name, listed = genres[genre]
        title = f"{rng.choice(_ADJECTIVES)}-{rng.choice(_NOUNS[name])}-{index + 1}"
        split = "val" if rank < round(0.3 * paintings) else "train"
        specs.append(PaintingSpec(index, styles[style], name, artists[artist], listed, split, title))
    return specs


def _long_tailed(names: Iterable[str], count: int) -> list[str]:
    """Return `count` names, each at least once, the first about six times as often as the last."""
    names = list(names)
    weights = IMBALANCE ** -(np.linspace(0, 1, len(names)) ** 2)
    counts = np.maximum(1, (count * weights / weights.sum()).astype(int))
    counts[0] += count - counts.sum()
    return [name for name, times in zip(names, counts, strict=True) for _ in range(times)]


def write(out: Path, paintings: int, seed: int) -> None:
    """Paint the data set into the folder `out`: `images`, `labels`, and its settings in `demo.json`.

    Existing files are kept: run again, it finishes a data set that was interrupted, with the same bytes. The paintings
    are painted on all cores, in processes that import the caller's main module.

    Raises `UserError` for too few paintings, and for an `out` that is a file or holds anything but this data set.
    """
    specs = plan(paintings, seed)
    _write_settings(out, json.dumps({"paintings": paintings, "seed": seed}))
    with locked_patiently(out / ".lock", f"another process is painting into {out}"):
        remove_leftovers(out)
        images = out / "images"
        todo = [spec for spec in specs if not (images / spec.path).exists()]
        if todo:
            work = partial(_paint_file, images, seed)
            with parallel_map(work, todo) as painted, progress("painting", len(todo)) as advance:
                for _ in painted:
                    advance()
        for name, content in _label_lists(specs).items():
            if not (out / "labels" / name).exists():
                atomic_write(out / "labels" / name, content)


def _write_settings(out: Path, settings: str) -> None:
    """Write `demo.json`. Raises `UserError` if `out` is a file or holds something else."""
    file = out / "demo.json"
    if out.is_file():
        raise UserError(f"{out} is a file; give a folder as --out")
    if file.exists():
        if file.read_text(encoding="utf-8") != settings:
            raise UserError(f"{out} holds a demo with other settings; choose another --out or delete it")
    elif (out / "images").exists() or (out / "labels").exists():
        raise UserError(f"{out} holds images or labels that are not a demo; choose another --out")
    else:
        atomic_write(file, settings)


def _paint_file(images: Path, seed: int, spec: PaintingSpec) -> None:
    """Paint one JPEG under `images`, with its own generator, so that the bytes do not depend on the order of work."""
    rng = np.random.default_rng([seed, spec.index])
    short = int(rng.integers(*SHORT_SIDES, endpoint=True))
    jpeg = io.BytesIO()
    paint(spec.style, spec.genre, spec.artist, short, rng).save(jpeg, "JPEG", quality=90, subsampling="4:2:0")
    atomic_write(images / spec.path, jpeg.getvalue())


def _label_lists(specs: Sequence[PaintingSpec]) -> dict[str, str]:
    """Return the content of each file under `labels`, in ArtGAN's format."""
    styles, genres, artists = sorted(STYLES), sorted(GENRES), sorted(ARTISTS)
    classes = {"Style/style_class.txt": styles, "Genre/genre_class": genres, "Artist/artist_class": artists}
    lists = {file: "".join(f"{k} {name}\n" for k, name in enumerate(names)) for file, names in classes.items()}
    for split in ("train", "val"):
        chosen = [spec for spec in specs if spec.split == split]
        style_rows = (f"{s.path},{styles.index(s.style)}\r\n" for s in chosen)
        genre_rows = (f"{s.path},{genres.index(s.genre)}\r\n" for s in chosen if s.genre_listed)
        artist_rows = (f"{s.path},,{artists.index(s.artist)}\n" for s in chosen if s.artist)
        lists[f"Style/style_{split}.csv"] = "".join(style_rows)
        lists[f"Genre/genre_{split}.csv"] = "".join(genre_rows)
        lists[f"Artist/artist_{split}"] = "(Path to image),, (Groundtruth class)\n\n" + "".join(artist_rows)
    return lists


def contact_sheet(seed: int) -> Image.Image:
    """Return a sheet, 1200 pixels wide with 256 colours: one row per style, one column per artist."""
    left, top, gap = 34, 40, 8
    cell = (SHEET_WIDTH - left - gap) // len(ARTISTS)
    sheet = Image.new("RGB", (SHEET_WIDTH, top + cell * len(STYLES) + gap), "#faf8f4")
    font = ImageFont.load_default(size=13)
    for column, artist in enumerate(ARTISTS):
        middle = left + column * cell + cell / 2, top / 2
        ImageDraw.Draw(sheet).text(middle, artist.replace("_", " "), "#444", font, anchor="mm")
    for row, style in enumerate(STYLES):
        label = Image.new("RGB", (cell, left), "#faf8f4")
        text = style.removesuffix("_Painting").replace("_", " ")
        ImageDraw.Draw(label).text((cell / 2, left / 2), text, "#444", font, anchor="mm")
        sheet.paste(label.transpose(Image.Transpose.ROTATE_90), (0, top + row * cell))
        for column, artist in enumerate(ARTISTS):
            # Steps of 2 and 1 through the genres, so that neighbours differ along both rows and columns.
            genre = list(GENRES)[(row + 2 * column) % len(GENRES)]
            picture = paint(style, genre, artist, (cell - gap) * 3 // 4, np.random.default_rng([seed, row, column]))
            x, y = left + column * cell, top + row * cell
            sheet.paste(picture, (x + (cell - picture.width) // 2, y + (cell - picture.height) // 2))
    return sheet.quantize(256)
