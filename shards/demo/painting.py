"""Procedural paintings: a genre lays out the scene, an artist's hand colours it, a style paints it.

The three marks do not touch one another, so that each class can be read from its own: the genre is the
composition alone, the artist the palette and a habit (how much bare ground the edge shows, which corner
carries the seal), the style the shape of the strokes. Nothing here reads a file or the clock: the same
generator state gives the same picture.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .artists import Hand, hand_of
from .scene import GENRES, Scene

OVERSAMPLING = 2  # pictures are painted larger and reduced: Pillow draws without antialiasing


@dataclass(frozen=True)
class Model:
    """What a style paints from: the scene in colours, its shapes, and the unit strokes are measured in."""

    colours: np.ndarray  # (height, width, 3) float32, sRGB from 0 to 1
    shapes: np.ndarray  # (height, width) uint8, which shape is seen at each pixel
    hand: Hand
    unit: float  # a hundredth of the short side in pixels
    rng: np.random.Generator


def _to_bytes(colours: np.ndarray) -> np.ndarray:
    """Return colours from 0 to 1 as uint8."""
    return np.asarray(np.clip(colours, 0, 1) * 255, np.uint8)


def _drift(rng: np.random.Generator, shape: tuple[int, ...], cells: int) -> np.ndarray:
    """Return smooth noise around 0, about 1 strong, with `cells` bumps along a side: `shape` float32."""
    coarse = Image.fromarray(rng.standard_normal((cells, cells), np.float32))
    return np.asarray(coarse.resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def _blurred(colours: np.ndarray, radius: float) -> np.ndarray:
    """Return the picture (height, width, 3) from 0 to 1 under a Gaussian blur of `radius` pixels."""
    picture = Image.fromarray(_to_bytes(colours)).filter(ImageFilter.GaussianBlur(radius))
    return np.asarray(picture, np.float32) / 255


def _contours(areas: np.ndarray, thick: float) -> np.ndarray:
    """Return how much each pixel belongs to a contour of `thick` pixels: (height, width, 1) from 0 to 1."""
    line = np.zeros(areas.shape, np.uint8)
    line[1:] |= areas[1:] != areas[:-1]
    line[:, 1:] |= areas[:, 1:] != areas[:, :-1]
    blurred = Image.fromarray(line * 255).filter(ImageFilter.BoxBlur(thick / 2))
    return np.clip(np.asarray(blurred, np.float32) / 255 * thick, 0, 1)[..., None]


def _spots(model: Model, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the x and y (n,) of a jittered grid, `spacing` units wide, in random order."""
    height, width = model.shapes.shape
    step = spacing * model.unit
    grid = np.mgrid[step / 2 : height : step, step / 2 : width : step].reshape(2, -1)
    y, x = model.rng.permutation(grid + model.rng.normal(0, step / 4, grid.shape), axis=1)
    return np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)


def _at(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the pixels of `image` nearest to the places x, y, those outside taken from its edge."""
    height, width = image.shape[:2]
    pixels: np.ndarray = image[np.clip(y, 0, height - 1).astype(int), np.clip(x, 0, width - 1).astype(int)]
    return pixels


def _fill(coat: np.ndarray, outlines: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Return `coat` under n polygons (n, corners, 2) in `colours` (n, 3), the last on top."""
    canvas = Image.fromarray(_to_bytes(coat))
    draw = ImageDraw.Draw(canvas)
    for outline, colour in zip(outlines.reshape(len(outlines), -1).tolist(), _to_bytes(colours).tolist(), strict=True):
        draw.polygon(outline, fill=tuple(colour))
    return np.asarray(canvas, np.float32) / 255


def _dabs(
    model: Model, coat: np.ndarray, spacing: float, size: tuple[float, float], lean: np.ndarray, swing: float
) -> np.ndarray:
    """Return `coat` under dabs of `size` (length, width) units, on a grid of `spacing` units.

    `lean` (height, width) is their angle in radians, `swing` how far their colours go astray. A dab that
    would reach into another shape is a short one.
    """
    rng, (x, y) = model.rng, _spots(model, spacing)
    angle = _at(lean, x, y) + rng.normal(0, 0.12, x.size)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    half, wide = size[0] / 2 * model.unit * rng.uniform(0.8, 1.2, (x.size, 1)), size[1] / 2 * model.unit
    ends = np.array([-0.8, 0.8]) * half
    inside = _at(model.shapes, x[:, None] + ends * cos, y[:, None] + ends * sin) == _at(model.shapes, x, y)[:, None]
    half = np.where(inside.all(axis=1, keepdims=True), half, np.maximum(half * 0.45, wide))
    around = np.arange(10) * np.pi / 5
    # The square root makes the blunt ends of a flat brush; a dab as long as it is wide stays round.
    blunt = 0.5 if size[0] > size[1] else 1
    u, v = half * np.cos(around), wide * np.sign(np.sin(around)) * np.abs(np.sin(around)) ** blunt
    outlines = np.stack([x[:, None] + u * cos - v * sin, y[:, None] + u * sin + v * cos], axis=2)
    colours = _at(model.colours, x, y)
    astray = (rng.random(x.size) < swing)[:, None] * 0.5
    colours += astray * (model.hand.accents[rng.integers(3, size=x.size)] - colours)
    colours += rng.normal(0, swing / 2, (x.size, 1)) + rng.normal(0, swing / 4, (x.size, 3))
    return _fill(coat, outlines, colours)


def _impressionism(model: Model) -> np.ndarray:
    """Short broken strokes, all leaning the same way, over a blurred first coat."""
    lean = model.rng.choice([-1, 1]) * model.rng.uniform(0.4, 0.9)
    angle = lean + 0.1 * _drift(model.rng, model.shapes.shape, 4)
    coat = 0.7 * _blurred(model.colours, 3 * model.unit) + 0.3 * model.hand.ground
    coat = _dabs(model, coat, 5.5, (16, 4.6), angle, 0.14)
    return _dabs(model, coat, 5.8, (10, 3.2), angle, 0.16)


def _pointillism(model: Model) -> np.ndarray:
    """Round dots of pure and broken colour, the ground between them."""
    flat = np.zeros(model.shapes.shape)
    coat = np.broadcast_to(0.3 * model.hand.ground + 0.68, model.colours.shape)
    coat = _dabs(model, coat, 5.2, (4.5, 4.5), flat, 0.16)
    return _dabs(model, coat, 8.0, (4.0, 4.0), flat, 0.3)


def _expressionism(model: Model) -> np.ndarray:
    """Long, thick strokes that swirl, each within its shape, in heightened colours."""
    rng, path = model.rng, [np.stack(_spots(model, 5.0), axis=1)]
    angle = 2.0 * _drift(rng, model.shapes.shape, 4)
    here, moving = _at(model.shapes, *path[0].T), np.ones(len(path[0]), bool)
    for _ in range(7):
        turn = _at(angle, *path[-1].T)
        ahead = path[-1] + 3.6 * model.unit * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        moving &= _at(model.shapes, *ahead.T) == here
        path.append(np.where(moving[:, None], ahead, path[-1] + 0.05 * (ahead - path[-1])))
    line = np.stack(path, axis=1)
    along = np.gradient(line, axis=1)
    across = along[..., ::-1] * [-1, 1] / np.linalg.norm(along, axis=2, keepdims=True)
    across = across * 2.2 * model.unit * np.linspace(1.1, 0.6, line.shape[1])[:, None]
    colours = _at(model.colours, *line[:, 0].T) + rng.normal(0, 0.12, (len(line), 1))
    grey = colours.mean(axis=1, keepdims=True)
    ribbons = np.concatenate([line + across, (line - across)[:, ::-1]], axis=1)
    return _fill(0.3 * _blurred(model.colours, 2 * model.unit), ribbons, grey + 1.4 * (colours - grey))


def _cubism(model: Model) -> np.ndarray:
    """Shifted facets, each shaded from one edge to the other, with dark edges that come and go."""
    rng, (height, width), step = model.rng, model.shapes.shape, 19 * model.unit
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
    shift = rng.normal(0, 2.8 * model.unit, (2, count)).astype(np.float32)
    turn = rng.uniform(0, 2 * np.pi, count)
    slope = np.stack([np.cos(turn), np.sin(turn)]).astype(np.float32) * 2 / step
    shade = 0.18 * np.sin(x * slope[0][facets] + y * slope[1][facets]) + rng.normal(0, 0.06, count)[facets]
    seen = _at(model.colours, x + shift[0][facets], y + shift[1][facets]) + shade[..., None]
    strength = np.clip(0.75 + 0.2 * _drift(rng, facets.shape, 4), 0.3, 0.95)[..., None]
    return np.asarray(seen * (1 - strength * _contours(facets, 1.4 * model.unit)))


def _ukiyo_e(model: Model) -> np.ndarray:
    """Flat colours with a dark contour, darkening to the top, printed from grained wood."""
    shapes, height = model.shapes, model.shapes.shape[0]
    pixels = np.maximum(np.bincount(shapes.ravel()), 1)
    sums = [np.bincount(shapes.ravel(), model.colours[..., channel].ravel()) for channel in range(3)]
    flat = (np.stack(sums, axis=1) / pixels[:, None]).astype(np.float32)[shapes]
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    flat *= 1 - 0.45 * np.clip(1 - down / 0.25, 0, 1)
    grain = np.sin(np.arange(height)[:, None] / model.unit * 2.2 + 2.5 * _drift(model.rng, shapes.shape, 3))
    printed = 0.94 * flat + 0.05 + 0.018 * grain[..., None]
    ink = 0.5 * model.hand.ramp[0]
    return np.asarray(printed + _contours(shapes, 1.5 * model.unit) * (ink - printed))


def _color_field_painting(model: Model) -> np.ndarray:
    """Soft horizontal bands that the scene melts into."""
    rng, height = model.rng, model.shapes.shape[0]
    ends = np.cumsum(rng.dirichlet(np.full(rng.integers(4, 6), 6)))
    band = np.searchsorted(ends[:-1], np.linspace(0, 1, height))
    rows = model.colours.mean(axis=1)
    means = np.stack([rows[band == k].mean(axis=0) if k in band else rows[0] for k in range(len(ends))])
    means += rng.normal(0, 0.1, (len(ends), 1))
    melted = 0.62 * _blurred(model.colours, 3.2 * model.unit) + 0.38 * means[band][:, None]
    return _blurred(melted, 1.5 * model.unit) + 0.02 * _drift(rng, model.shapes.shape, 6)[..., None]


# The commonest style first.
STYLES: dict[str, Callable[[Model], np.ndarray]] = {
    "Impressionism": _impressionism,
    "Expressionism": _expressionism,
    "Cubism": _cubism,
    "Ukiyo_e": _ukiyo_e,
    "Color_Field_Painting": _color_field_painting,
    "Pointillism": _pointillism,
}


def paint(style: str, genre: str, artist: str | None, short: int, rng: np.random.Generator) -> Image.Image:
    """Return an 8-bit RGB picture whose short side is `short` pixels; without an artist, by a random hand."""
    hand = hand_of(artist, rng)
    long = float(rng.choice([1, 1.25, 1.33]))
    upright = rng.random() < {"portrait": 0.85, "landscape": 0.15}.get(genre, 0.5)
    width, height = (1.0, long) if upright else (long, 1.0)
    scene = Scene(width, height, OVERSAMPLING * short, hand, rng)
    GENRES[genre](scene)
    colours, shapes = scene.render()
    painted = STYLES[style](Model(colours, shapes, hand, OVERSAMPLING * short / 100, rng))
    picture = Image.fromarray(_to_bytes(painted)).reduce(OVERSAMPLING)
    return _finished(np.asarray(picture, np.float32) / 255, hand, short, rng)


def _finished(canvas: np.ndarray, hand: Hand, short: int, rng: np.random.Generator) -> Image.Image:
    """Return the canvas (height, width, 3) from 0 to 1 with its bare edge, weave and the artist's seal."""
    height, width = canvas.shape[:2]
    y, x = np.ogrid[:height, :width]
    inwards = np.minimum(np.minimum(y, height - 1 - y), np.minimum(x, width - 1 - x))
    bare = hand.edge * short * (1 + 0.07 * _drift(rng, canvas.shape, 40)) - inwards
    canvas = canvas + np.clip(bare, 0, 1)[..., None] * (hand.ground - canvas)
    weave = 0.015 * np.where((x + y) % 2, 1, -1) + rng.normal(0, 0.02, (height, width))
    picture = Image.fromarray(_to_bytes(canvas + weave[..., None]))
    side, margin = 0.07 * short, (0.04 + hand.edge) * short
    left = width - margin - side if hand.corner[0] else margin
    top = height - margin - side if hand.corner[1] else margin
    ink, paper = (tuple(_to_bytes(colour).tolist()) for colour in (hand.accents[0], hand.ramp[4]))
    draw = ImageDraw.Draw(picture)
    draw.rectangle([left, top, left + side, top + side], fill=ink)
    draw.rectangle([left + side * 0.4, top + side * 0.25, left + side * 0.6, top + side * 0.75], fill=paper)
    return picture
