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

OVERSAMPLING = 2  # pictures are painted larger and reduced: Pillow draws without antialiasing


@dataclass(frozen=True)
class Hand:
    """What an artist brings to every picture: colours (float32, sRGB from 0 to 1) and a habit."""

    ramp: np.ndarray  # (5, 3) from the darkest colour to the lightest
    accents: np.ndarray  # (3, 3)
    ground: np.ndarray  # (3,) the prepared canvas, seen between strokes and along a bare edge
    edge: float  # width of the bare edge in short sides
    corner: tuple[int, int]  # where the seal stands: (0 left or 1 right, 0 top or 1 bottom)


def _hand(colours: str, edge: float, corner: tuple[int, int]) -> Hand:
    """Return the hand of nine hexadecimal colours: ramp, accents, ground."""
    table = np.array([list(bytes.fromhex(word)) for word in colours.split()], np.float32) / 255
    return Hand(table[:5], table[5:8], table[8], edge, corner)


# The commonest artist first.
ARTISTS = {
    "Odile_Varenne": _hand("0d1f3c 1c4a7d 4a86b8 a5c8dc f3ead0 f0b429 e0792b f7dc8b c9a55c", 0, (1, 1)),
    "Renzo_Calavari": _hand("3a0d14 8c1f2d cf4a3a ee9d78 fae5d3 1d7078 f2b134 f6d5c0 8c1f2d", 0.02, (0, 1)),
    "Sunniva_Aldermoor": _hand("0d2a1e 22563a 5c944e adc77c f2f3d4 dd5545 f4cd4d f4f0e6 efe6c8", 0.035, (1, 1)),
    "Tobias_Fenwright": _hand("120c08 332013 64401f a06a35 dcae6c a8321d e9cf94 7a5a2c 1c120b", 0, (0, 0)),
    "Isolde_Marchbanks": _hand("2c1a47 5d4093 9d7dc5 d7bce0 faeff5 f3a45c 3fa9a2 f7c6d9 f3e3ee", 0.03, (0, 1)),
    "Emeric_Thorsund": _hand("111317 3b4047 777e86 b6bcc2 f3f3f0 cc1f2b 24272c d9d9d4 e9e9e4", 0.04, (1, 0)),
    "Paloma_Quintrell": _hand("084b58 1a9c9e 6cd2c4 c4f0e3 fffbe9 ff6b57 ffc94f fff3da ff9d86", 0.015, (1, 1)),
    "Casimir_Oblonsk": _hand("29200a 6c5611 bd951c ebcb45 fdf5c4 2c4a94 a13a1e f8e9a0 3a2c0c", 0.025, (0, 0)),
}


def _stranger(rng: np.random.Generator) -> Hand:
    """Return a hand nobody has: random hues, a random habit."""
    dark, light, accent = rng.uniform(0.25, 1, (3, 3))
    tint = np.linspace(dark / dark.max(), light / light.max(), 5)
    value = np.array([0.15, 0.4, 0.65, 0.85, 1])[:, None]
    table = np.concatenate([value * tint ** (1.2 - value), [accent, accent[[1, 2, 0]], 0.5 + accent / 2]])
    table = table.astype(np.float32)
    corner = int(rng.integers(2)), int(rng.integers(2))
    return Hand(table[:5], table[5:], table[rng.integers(5)], float(rng.uniform(0, 0.04)), corner)


def _varied(hand: Hand, rng: np.random.Generator) -> Hand:
    """Return `hand` on another day: a tint and a brightness of its own."""
    tint, gamma = rng.normal(1, 0.05, 3), rng.normal(1, 0.12)
    table = np.clip(np.vstack([hand.ramp, hand.accents, hand.ground]) ** gamma * tint, 0, 1).astype(np.float32)
    return Hand(table[:5], table[5:8], table[8], hand.edge, hand.corner)


def _ellipse(x: float, y: float, rx: float, ry: float, start: float = 0, end: float = 2) -> np.ndarray:
    """Return 40 points of an ellipse around (x, y), or of its part between two angles in half turns."""
    angle = np.linspace(start * np.pi, end * np.pi, 40)
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def _box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """Return the corners of an upright rectangle."""
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


class Scene:
    """The composition: shapes laid over one another, each with a colour in the light and one in the shade.

    Points are in short sides of the picture: x from 0 (left) to `width`, y from 0 (top) to `height`, the
    smaller of the two being 1. It has room for 256 shapes.
    """

    def __init__(self, width: float, height: float, pixels: int, hand: Hand, rng: np.random.Generator) -> None:
        """Begin an empty scene whose short side is `pixels` long."""
        self.width, self.height, self.rng = width, height, rng
        self._pixels, self._hand, self._accents = pixels, hand, rng.permutation(hand.accents)
        self._shapes = Image.new("L", (round(width * pixels), round(height * pixels)))
        angle = rng.uniform(0.25, 0.75) * np.pi
        self._light = np.array([np.cos(angle), np.sin(angle)])
        self._colours: list[tuple[np.ndarray, np.ndarray]] = []
        self._spans: list[tuple[float, float]] = []

    def tone(self, value: float, *shapes: np.ndarray) -> None:
        """Lay polygons (n, 2) as one shape in the palette's colour of a value from 0 (dark) to 1 (light)."""
        value += self.rng.normal(0, 0.03)
        ramp, steps = self._hand.ramp, np.linspace(0, 1, 5)
        # A breath of an accent keeps large areas from being of one hue; it leaves their value alone.
        accent = self._accents[self.rng.integers(3)]
        breath = self.rng.uniform(0, 0.3) * (accent - accent.mean())
        light, shade = (
            np.array([np.interp(at, steps, ramp[:, c]) for c in range(3)]) + breath
            for at in (value + 0.09, value - 0.11)
        )
        self._lay(light, shade, shapes)

    def accent(self, which: int, *shapes: np.ndarray) -> None:
        """Lay polygons (n, 2) as one shape in one of this picture's three accents."""
        self._lay(self._accents[which] * 1.08, self._accents[which] * 0.8, shapes)

    def _lay(self, light: np.ndarray, shade: np.ndarray, shapes: tuple[np.ndarray, ...]) -> None:
        along = np.concatenate(shapes) @ self._light
        draw = ImageDraw.Draw(self._shapes)
        for shape in shapes:
            draw.polygon((shape * self._pixels).ravel().tolist(), fill=len(self._colours))
        self._spans.append((along.min(), np.ptp(along)))
        self._colours.append((light, shade))

    def render(self) -> tuple[np.ndarray, np.ndarray]:
        """Return colours (height, width, 3) float32 from 0 to 1, and the shape seen (height, width) uint8."""
        shapes = np.asarray(self._shapes)
        y, x = np.ogrid[: shapes.shape[0], : shapes.shape[1]]
        along = ((x * self._light[0] + y * self._light[1]) / self._pixels).astype(np.float32)
        start, length = np.array(self._spans, np.float32).T
        part = np.clip((along - start[shapes]) / length[shapes], 0, 1)[..., None]
        light, shade = np.array(self._colours, np.float32).transpose(1, 0, 2)
        return light.take(shapes, axis=0) + part * (shade - light).take(shapes, axis=0), shapes


def _landscape(scene: Scene) -> None:
    """Sky with a sun and clouds, ranges of hills, a river, poplars in front."""
    rng, w, h = scene.rng, scene.width, scene.height
    horizon, night = h * rng.uniform(0.38, 0.58), rng.random() < 0.25
    scene.tone(0.12 if night else 0.86, _box(0, 0, w, h))
    r = rng.uniform(0.08, 0.14)
    scene.accent(0, _ellipse(w * rng.uniform(0.15, 0.85), horizon * rng.uniform(0.3, 0.8), r, r))
    for _ in range(rng.integers(4)):
        x, y, r = w * rng.random(), horizon * rng.uniform(0.1, 0.6), rng.uniform(0.12, 0.25)
        cloud = _ellipse(x, y, r, r / 4), _ellipse(x + r / 2, y - r / 6, r * 0.6, r / 4)
        scene.tone(0.3 if night else 0.99, *cloud)
    ranges = int(rng.integers(3, 5))
    across, down = np.linspace(0, w, 60), np.linspace(0, 1, 24)
    for depth in np.arange(ranges) / ranges:
        waves = sum(np.sin(across * rng.uniform(2, 5) * k + rng.uniform(0, 7)) / k for k in (1, 2, 3))
        outline = horizon + (h - horizon) * depth - (0.06 - 0.03 * depth) * waves
        hills = np.concatenate([np.stack([across, outline], axis=1), [[w, h], [0, h]]])
        if depth > 0 and rng.random() < 0.3:
            scene.accent(1, hills)
        else:
            scene.tone(0.3 + 0.4 * depth if night else 0.55 - 0.45 * depth, hills)
    if rng.random() < 0.6:
        width, along = 0.01 + 0.17 * down**1.5, horizon + 0.1 + (h - horizon - 0.1) * down
        middle = w * rng.uniform(0.3, 0.7) + rng.uniform(0.05, 0.14) * np.sin(down * 6 + rng.uniform(0, 6)) * down
        banks = np.stack([middle - width, along], axis=1), np.stack([middle + width, along], axis=1)[::-1]
        scene.tone(0.92, np.concatenate(banks))
    for _ in range(rng.integers(6)):
        x, foot, tall = w * rng.random(), h * rng.uniform(0.7, 0.98), rng.uniform(0.2, 0.4)
        scene.tone(0.05, _ellipse(x, foot - tall / 2, tall / rng.uniform(4, 7), tall / 2))


def _portrait(scene: Scene) -> None:
    """Head and shoulders before a wall, with long hair, beads or a hat."""
    rng, w, h = scene.rng, scene.width, scene.height
    scene.tone(rng.uniform(0.3, 0.65), _box(0, 0, w, h))
    if rng.random() < 0.5:
        side = rng.uniform(0.2, 0.45) * w
        scene.tone(rng.uniform(0.2, 0.75), _box(0, 0, side, h) if rng.random() < 0.5 else _box(w - side, 0, w, h))
    x, y, r = w * rng.uniform(0.43, 0.57), h * rng.uniform(0.37, 0.43), rng.uniform(0.2, 0.25)
    if rng.random() < 0.5:
        scene.tone(0.08, _ellipse(x, y + r * 0.35, r * 1.15, r * rng.uniform(1.3, 1.8)))
    coat = _ellipse(x, h + 0.05, r * rng.uniform(1.9, 2.5), h - y - r * 1.25)
    if rng.random() < 0.6:
        scene.accent(1, coat)
    else:
        scene.tone(rng.uniform(0.05, 0.3), coat)
    scene.tone(0.74, _ellipse(x, y + r, r * 0.45, r))
    if rng.random() < 0.5:
        beads = ((x + r * 0.62 * np.cos(a), y + r * (1.6 + 0.35 * np.sin(a))) for a in np.linspace(0.1, 3, 7))
        scene.accent(0, *(_ellipse(*bead, r * 0.12, r * 0.12) for bead in beads))
    scene.tone(0.92, _ellipse(x, y, r * 0.82, r * 1.12))
    scene.tone(0.06, _ellipse(x, y - r * 0.1, r * 0.9, r * 1.12, rng.uniform(0.95, 1.1), rng.uniform(1.9, 2.05)))
    turn = x + rng.uniform(-0.18, 0.18) * r
    scene.tone(0, *(_ellipse(turn + side * r * 0.34, y + r * 0.05, r * 0.14, r * 0.09) for side in (-1, 1)))
    scene.tone(0.62, np.array([[turn, y], [turn + r * 0.14, y + r * 0.42], [turn - r * 0.06, y + r * 0.44]]))
    scene.accent(0, _ellipse(turn, y + r * 0.68, r * 0.24, r * 0.09))
    if rng.random() < 0.4:
        hat = y - r * 0.62
        crown = _ellipse(x, hat, r * 0.9, r * rng.uniform(0.7, 1.1), 1, 2)
        scene.accent(2, crown, _ellipse(x, hat, r * rng.uniform(1.3, 1.8), r * 0.2))


def _still_life(scene: Scene) -> None:
    """A table with a cloth, a vase of flowers and fruit."""
    rng, w, h = scene.rng, scene.width, scene.height
    edge, left = h * rng.uniform(0.56, 0.68), w * rng.uniform(0, 0.5)
    scene.tone(rng.uniform(0.35, 0.75), _box(0, 0, w, h))
    scene.tone(rng.uniform(0.1, 0.25), _box(0, edge, w, h))
    scene.tone(0.95, np.array([[left, edge], [left + w * 0.45, edge], [left + w * 0.55, h], [left - w * 0.1, h]]))
    x, foot, tall = w * rng.uniform(0.3, 0.7), edge + 0.12, rng.uniform(0.34, 0.44)
    flowers = [(x + rng.normal(0, 0.15), foot - tall - rng.uniform(0.02, 0.2)) for _ in range(rng.integers(4, 10))]
    for flower in flowers:
        scene.tone(0.2, np.array([[x - 0.02, foot - tall], flower, [x + 0.02, foot - tall]]))
    for flower in flowers:
        r = rng.uniform(0.055, 0.09)
        scene.accent(int(rng.integers(3)), _ellipse(*flower, r, r))
        scene.tone(0.15, _ellipse(*flower, r / 3, r / 3))
    down = np.linspace(0, 1, 24)
    belly = 0.05 + rng.uniform(0.07, 0.11) * np.sin(np.pi * down ** rng.uniform(0.8, 1.6))
    level = foot - tall * (1 - down)
    sides = np.stack([x - belly, level], axis=1), np.stack([x + belly, level], axis=1)[::-1]
    scene.tone(rng.choice([0.15, 0.9]), np.concatenate(sides))
    for _ in range(rng.integers(3, 7)):
        x, y, r = w * rng.uniform(0.1, 0.9), rng.uniform(edge + 0.1, h - 0.08), rng.uniform(0.07, 0.11)
        scene.tone(0.03, _ellipse(x + 0.02, y + r * 0.8, r * 1.2, r * 0.35))
        scene.accent(int(rng.integers(2)), _ellipse(x, y, r, r))
        scene.tone(1, _ellipse(x - r * 0.35, y - r * 0.4, r * 0.28, r * 0.2))


def _cityscape(scene: Scene) -> None:
    """Two rows of towers, the near one with lit windows, over a street or a river."""
    rng, w, h = scene.rng, scene.width, scene.height
    street, night, r = h * rng.uniform(0.8, 0.92), rng.random() < 0.3, rng.uniform(0.06, 0.1)
    scene.tone(0.25 if night else 0.88, _box(0, 0, w, h))
    scene.accent(2, _ellipse(w * rng.uniform(0.15, 0.85), h * rng.uniform(0.1, 0.3), r, r))
    for near, tall, broad in ((0, 0.62, 0.1), (1, 0.5, 0.17)):
        right = -rng.uniform(0, broad)
        while right < w:
            left, right = right, right + broad * rng.uniform(0.7, 1.4)
            top, middle, rise = (
                street - h * tall * rng.uniform(0.45, 1.15),
                (left + right) / 2,
                (right - left) * 0.6,
            )
            crowns: list[list[list[float]]] = [
                [[left, top], [right, top]],
                [[left, top], [middle, top - rise], [right, top]],
                [
                    [left, top],
                    [middle - rise / 3, top],
                    [middle, top - 2 * rise],
                    [middle + rise / 3, top],
                    [right, top],
                ],
                _ellipse(middle, top, (right - left) / 2, rise * 0.7, 1, 2).tolist(),
            ]
            tower = np.array([[left, street], *crowns[rng.integers(4)], [right, street]])
            scene.tone((0.12 if near else 0.55) + rng.uniform(-0.1, 0.1), tower)
            corners = (
                (x, y)
                for x in np.arange(left + 0.03, right - 0.04, 0.06)
                for y in np.arange(top + 0.05, street - 0.06, 0.08)
            )
            windows = [_box(x, y, x + 0.03, y + 0.045) for x, y in corners if near and rng.random() < 0.75]
            if windows:
                scene.accent(int(rng.integers(2)), *windows)
            if near and rng.random() < 0.4:
                right += rng.uniform(0.02, 0.12)
    scene.tone(rng.uniform(0.4, 0.75), _box(0, street, w, h))


def _abstract_painting(scene: Scene) -> None:
    """Planes cut by a straight line, strewn with rings, half discs, bars and triangles."""
    rng, w, h = scene.rng, scene.width, scene.height
    scene.tone(rng.uniform(0.6, 0.95), _box(0, 0, w, h))
    a, b = rng.random(2)
    upright = np.array([[w * a, 0], [w, 0], [w, h], [w * b, h]])
    scene.tone(
        rng.uniform(0.3, 0.9),
        upright if rng.random() < 0.5 else np.array([[0, h * a], [w, h * b], [w, h], [0, h]]),
    )
    for _ in range(rng.integers(8, 15)):
        x, y, r, turn = w * rng.random(), h * rng.random(), rng.uniform(0.08, 0.22), rng.uniform(0, 2)
        bar = r * np.array([[-1.6, -0.2], [1.6, -0.2], [1.6, 0.2], [-1.6, 0.2]])
        cos, sin = np.cos(turn * np.pi), np.sin(turn * np.pi)
        kind = rng.integers(4)
        shape = (
            _ellipse(x, y, r, r),
            _ellipse(x, y, r, r, turn, turn + 1),
            np.array([x, y]) + bar @ np.array([[cos, sin], [-sin, cos]]),
            _ellipse(x, y, 1.3 * r, 1.3 * r, turn, turn + 2)[[0, 13, 26]],
        )[kind]
        if rng.random() < 0.55:
            scene.accent(int(rng.integers(3)), shape)
        else:
            scene.tone(rng.random(), shape)
        if kind == 0:
            scene.tone(rng.random(), _ellipse(x, y, r * 0.55, r * 0.55))


# The commonest genre first.
GENRES: dict[str, Callable[[Scene], None]] = {
    "landscape": _landscape,
    "portrait": _portrait,
    "still_life": _still_life,
    "cityscape": _cityscape,
    "abstract_painting": _abstract_painting,
}


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
    rng, (x, y) = model.rng, _spots(model, 5.0)
    angle = 2.0 * _drift(rng, model.shapes.shape, 4)
    path, here, moving = [np.stack([x, y], axis=1)], _at(model.shapes, x, y), np.ones(x.size)
    for _ in range(7):
        x, y = path[-1].T
        turn = _at(angle, x, y)
        ahead = path[-1] + 3.6 * model.unit * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        moving = moving * (_at(model.shapes, *ahead.T) == here)
        path.append(np.where(moving[:, None] > 0, ahead, path[-1] + 0.05 * (ahead - path[-1])))
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
    shift, turn = (
        rng.normal(0, 2.8 * model.unit, (2, count)).astype(np.float32),
        rng.uniform(0, 2 * np.pi, count),
    )
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
    hand = _varied(ARTISTS[artist] if artist else _stranger(rng), rng)
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
