"""Procedural paintings: the genre composes the scene, the artist colours it, the style paints it. Pure.

Each class can be recognized independently of the others: the genre is only in the composition, the artist in the
palette, the width of the bare edge and the corner of the seal, the style in the shape of the strokes. The same
generator state gives the same picture.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .artists import Artist, sample_artist
from .scene import GENRES, Scene

OVERSAMPLING = 2  # pictures are painted larger and reduced: Pillow draws without antialiasing


@dataclass(frozen=True)
class Subject:
    """What a style paints: the coloured scene, its shapes, its artist, and the unit in which strokes are measured."""

    colours: np.ndarray  # (height, width, 3) float32, sRGB from 0 to 1
    shapes: np.ndarray  # (height, width) uint8, index of the visible shape at each pixel
    artist: Artist
    unit: float  # a hundredth of the short side in pixels
    rng: np.random.Generator


def _to_bytes(colours: np.ndarray) -> np.ndarray:
    """Return colours from 0 to 1 as uint8."""
    return np.asarray(np.clip(colours, 0, 1) * 255, np.uint8)


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], cells: int) -> np.ndarray:
    """Return smooth noise of mean 0 and amplitude about 1, with `cells` bumps along a side: `shape` float32."""
    coarse = Image.fromarray(rng.standard_normal((cells, cells), np.float32))
    return np.asarray(coarse.resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def _blurred(colours: np.ndarray, radius: float) -> np.ndarray:
    """Return the picture (height, width, 3) from 0 to 1 with a Gaussian blur of `radius` pixels."""
    picture = Image.fromarray(_to_bytes(colours)).filter(ImageFilter.GaussianBlur(radius))
    return np.asarray(picture, np.float32) / 255


def _contours(areas: np.ndarray, thick: float) -> np.ndarray:
    """Return the opacity of contours of `thick` pixels between areas: (height, width, 1) from 0 to 1."""
    line = np.zeros(areas.shape, np.uint8)
    line[1:] |= areas[1:] != areas[:-1]
    line[:, 1:] |= areas[:, 1:] != areas[:, :-1]
    blurred = Image.fromarray(line * 255).filter(ImageFilter.BoxBlur(thick / 2))
    return np.clip(np.asarray(blurred, np.float32) / 255 * thick, 0, 1)[..., None]


def _jittered_grid(subject: Subject, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the x and y (n,) of a jittered grid, `spacing` units wide, in random order."""
    height, width = subject.shapes.shape
    step = spacing * subject.unit
    grid = np.mgrid[step / 2 : height : step, step / 2 : width : step].reshape(2, -1)
    y, x = subject.rng.permutation(grid + subject.rng.normal(0, step / 4, grid.shape), axis=1)
    return np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)


def _pixels_at(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the pixels of `image` nearest to the positions x, y, clamped to its edge."""
    height, width = image.shape[:2]
    pixels: np.ndarray = image[np.clip(y, 0, height - 1).astype(int), np.clip(x, 0, width - 1).astype(int)]
    return pixels


def _draw_polygons(base: np.ndarray, outlines: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Return `base` with n polygons (n, corners, 2) drawn on it in `colours` (n, 3), the last on top."""
    canvas = Image.fromarray(_to_bytes(base))
    draw = ImageDraw.Draw(canvas)
    for outline, colour in zip(outlines.reshape(len(outlines), -1).tolist(), _to_bytes(colours).tolist(), strict=True):
        draw.polygon(outline, fill=tuple(colour))
    return np.asarray(canvas, np.float32) / 255


def _dabs(
    subject: Subject, base: np.ndarray, spacing: float, size: tuple[float, float], angles: np.ndarray, variation: float
) -> np.ndarray:
    """Return `base` with dabs of `size` (length, width) units on it, on a grid of `spacing` units.

    `angles` (height, width) are their angles in radians, `variation` is how much their colours vary. A dab that would
    reach into another shape is shortened.
    """
    rng, (x, y) = subject.rng, _jittered_grid(subject, spacing)
    angle = _pixels_at(angles, x, y) + rng.normal(0, 0.12, x.size)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    half, wide = size[0] / 2 * subject.unit * rng.uniform(0.8, 1.2, (x.size, 1)), size[1] / 2 * subject.unit
    ends = np.array([-0.8, 0.8]) * half
    end_shapes = _pixels_at(subject.shapes, x[:, None] + ends * cos, y[:, None] + ends * sin)
    inside = end_shapes == _pixels_at(subject.shapes, x, y)[:, None]
    half = np.where(inside.all(axis=1, keepdims=True), half, np.maximum(half * 0.45, wide))
    around = np.arange(10) * np.pi / 5
    # The square root gives the blunt ends of a flat brush; a dab that is as long as it is wide stays round.
    exponent = 0.5 if size[0] > size[1] else 1
    u, v = half * np.cos(around), wide * np.sign(np.sin(around)) * np.abs(np.sin(around)) ** exponent
    outlines = np.stack([x[:, None] + u * cos - v * sin, y[:, None] + u * sin + v * cos], axis=2)
    colours = _pixels_at(subject.colours, x, y)
    accented = (rng.random(x.size) < variation)[:, None] * 0.5
    colours += accented * (subject.artist.accents[rng.integers(3, size=x.size)] - colours)
    colours += rng.normal(0, variation / 2, (x.size, 1)) + rng.normal(0, variation / 4, (x.size, 3))
    return _draw_polygons(base, outlines, colours)


def _impressionism(subject: Subject) -> np.ndarray:
    """Short broken strokes, all at about the same angle, over a blurred scene."""
    slant = subject.rng.choice([-1, 1]) * subject.rng.uniform(0.4, 0.9)
    angle = slant + 0.1 * _smooth_noise(subject.rng, subject.shapes.shape, 4)
    base = 0.7 * _blurred(subject.colours, 3 * subject.unit) + 0.3 * subject.artist.ground
    base = _dabs(subject, base, 5.5, (16, 4.6), angle, 0.14)
    return _dabs(subject, base, 5.8, (10, 3.2), angle, 0.16)


def _pointillism(subject: Subject) -> np.ndarray:
    """Round dots of pure and mixed colours, with the ground visible between them."""
    flat = np.zeros(subject.shapes.shape)
    base = np.broadcast_to(0.3 * subject.artist.ground + 0.68, subject.colours.shape)
    base = _dabs(subject, base, 5.2, (4.5, 4.5), flat, 0.16)
    return _dabs(subject, base, 8.0, (4.0, 4.0), flat, 0.3)


def _expressionism(subject: Subject) -> np.ndarray:
    """Long, thick, swirling strokes that stay within their shapes, in saturated colours."""
    rng, path = subject.rng, [np.stack(_jittered_grid(subject, 5.0), axis=1)]
    angle = 2.0 * _smooth_noise(rng, subject.shapes.shape, 4)
    here, moving = _pixels_at(subject.shapes, *path[0].T), np.ones(len(path[0]), bool)
    for _ in range(7):
        turn = _pixels_at(angle, *path[-1].T)
        ahead = path[-1] + 3.6 * subject.unit * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        moving &= _pixels_at(subject.shapes, *ahead.T) == here
        path.append(np.where(moving[:, None], ahead, path[-1] + 0.05 * (ahead - path[-1])))
    line = np.stack(path, axis=1)
    along = np.gradient(line, axis=1)
    across = along[..., ::-1] * [-1, 1] / np.linalg.norm(along, axis=2, keepdims=True)
    across = across * 2.2 * subject.unit * np.linspace(1.1, 0.6, line.shape[1])[:, None]
    colours = _pixels_at(subject.colours, *line[:, 0].T) + rng.normal(0, 0.12, (len(line), 1))
    grey = colours.mean(axis=1, keepdims=True)
    ribbons = np.concatenate([line + across, (line - across)[:, ::-1]], axis=1)
    return _draw_polygons(0.3 * _blurred(subject.colours, 2 * subject.unit), ribbons, grey + 1.4 * (colours - grey))


def _cubism(subject: Subject) -> np.ndarray:
    """Shifted facets, each shaded from one edge to the other, with dark edges of varying strength."""
    rng, (height, width), step = subject.rng, subject.shapes.shape, 19 * subject.unit
    knots = np.stack(np.meshgrid(np.arange(-1, width / step + 1), np.arange(-1, height / step + 1)), axis=2)
    knots = (knots + rng.uniform(0, 0.7, knots.shape)) * step
    quads = np.stack([knots[:-1, :-1], knots[:-1, 1:], knots[1:, 1:], knots[1:, :-1]], axis=2).reshape(-1, 4, 2)
    canvas, count = Image.new("I", (width, height)), 2 * len(quads)
    draw = ImageDraw.Draw(canvas)
    for k, quad in enumerate(quads):
        corners = np.roll(quad, rng.integers(2), axis=0)
        draw.polygon(corners[:3].ravel().tolist(), fill=2 * k)
        draw.polygon(corners[[0, 2, 3]].ravel().tolist(), fill=2 * k + 1)
    facets = np.asarray(canvas)
    y, x = np.ogrid[:height, :width]
    shift = rng.normal(0, 2.8 * subject.unit, (2, count)).astype(np.float32)
    turn = rng.uniform(0, 2 * np.pi, count)
    slope = np.stack([np.cos(turn), np.sin(turn)]).astype(np.float32) * 2 / step
    shade = 0.18 * np.sin(x * slope[0][facets] + y * slope[1][facets]) + rng.normal(0, 0.06, count)[facets]
    facet_colours = _pixels_at(subject.colours, x + shift[0][facets], y + shift[1][facets]) + shade[..., None]
    strength = np.clip(0.75 + 0.2 * _smooth_noise(rng, facets.shape, 4), 0.3, 0.95)[..., None]
    return np.asarray(facet_colours * (1 - strength * _contours(facets, 1.4 * subject.unit)))


def _ukiyo_e(subject: Subject) -> np.ndarray:
    """Flat colours with dark contours, darker at the top, printed from grained wood."""
    shapes, height = subject.shapes, subject.shapes.shape[0]
    pixels = np.maximum(np.bincount(shapes.ravel()), 1)
    sums = [np.bincount(shapes.ravel(), subject.colours[..., channel].ravel()) for channel in range(3)]
    flat = (np.stack(sums, axis=1) / pixels[:, None]).astype(np.float32)[shapes]
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    flat *= 1 - 0.45 * np.clip(1 - down / 0.25, 0, 1)
    grain = np.sin(np.arange(height)[:, None] / subject.unit * 2.2 + 2.5 * _smooth_noise(subject.rng, shapes.shape, 3))
    printed = 0.94 * flat + 0.05 + 0.018 * grain[..., None]
    ink = 0.5 * subject.artist.ramp[0]
    return np.asarray(printed + _contours(shapes, 1.5 * subject.unit) * (ink - printed))


def _color_field_painting(subject: Subject) -> np.ndarray:
    """Soft horizontal bands that the scene blends into."""
    rng, height = subject.rng, subject.shapes.shape[0]
    ends = np.cumsum(rng.dirichlet(np.full(rng.integers(4, 6), 6)))
    band = np.searchsorted(ends[:-1], np.linspace(0, 1, height))
    rows = subject.colours.mean(axis=1)
    means = np.stack([rows[band == k].mean(axis=0) if k in band else rows[0] for k in range(len(ends))])
    means += rng.normal(0, 0.1, (len(ends), 1))
    melted = 0.62 * _blurred(subject.colours, 3.2 * subject.unit) + 0.38 * means[band][:, None]
    return _blurred(melted, 1.5 * subject.unit) + 0.02 * _smooth_noise(rng, subject.shapes.shape, 6)[..., None]


# The most frequent style first.
STYLES: dict[str, Callable[[Subject], np.ndarray]] = {
    "Impressionism": _impressionism,
    "Expressionism": _expressionism,
    "Cubism": _cubism,
    "Ukiyo_e": _ukiyo_e,
    "Color_Field_Painting": _color_field_painting,
    "Pointillism": _pointillism,
}


def paint(style: str, genre: str, artist: str | None, short: int, rng: np.random.Generator) -> Image.Image:
    """Paint an 8-bit RGB picture whose short side is `short` pixels, by a random artist if `artist` is None.

    `style`, `genre` and `artist` are keys of `STYLES`, `GENRES` and `ARTISTS`.
    """
    painter = sample_artist(artist, rng)
    long = float(rng.choice([1, 1.25, 1.33]))
    upright = rng.random() < {"portrait": 0.85, "landscape": 0.15}.get(genre, 0.5)
    width, height = (1.0, long) if upright else (long, 1.0)
    scene = Scene(width, height, OVERSAMPLING * short, painter, rng)
    GENRES[genre](scene)
    colours, shapes = scene.render()
    painted = STYLES[style](Subject(colours, shapes, painter, OVERSAMPLING * short / 100, rng))
    picture = Image.fromarray(_to_bytes(painted)).reduce(OVERSAMPLING)
    return _finish(np.asarray(picture, np.float32) / 255, painter, short, rng)


def _finish(canvas: np.ndarray, artist: Artist, short: int, rng: np.random.Generator) -> Image.Image:
    """Return the canvas (height, width, 3) from 0 to 1 as a picture with a bare edge, a weave and the artist's seal."""
    height, width = canvas.shape[:2]
    y, x = np.ogrid[:height, :width]
    inwards = np.minimum(np.minimum(y, height - 1 - y), np.minimum(x, width - 1 - x))
    bare = artist.edge * short * (1 + 0.07 * _smooth_noise(rng, canvas.shape, 40)) - inwards
    canvas = canvas + np.clip(bare, 0, 1)[..., None] * (artist.ground - canvas)
    weave = 0.015 * np.where((x + y) % 2, 1, -1) + rng.normal(0, 0.02, (height, width))
    picture = Image.fromarray(_to_bytes(canvas + weave[..., None]))
    side, margin = 0.07 * short, (0.04 + artist.edge) * short
    left = width - margin - side if artist.corner[0] else margin
    top = height - margin - side if artist.corner[1] else margin
    ink, paper = (tuple(_to_bytes(colour).tolist()) for colour in (artist.accents[0], artist.ramp[4]))
    draw = ImageDraw.Draw(picture)
    draw.rectangle([left, top, left + side, top + side], fill=ink)
    draw.rectangle([left + side * 0.4, top + side * 0.25, left + side * 0.6, top + side * 0.75], fill=paper)
    return picture
