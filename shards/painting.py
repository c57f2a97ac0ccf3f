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

Colour = np.ndarray  # (3,) float32, sRGB from 0 to 1
Points = np.ndarray  # (n, 2) float, x and y in short sides of the picture, y pointing down
Shades = tuple[Colour, Colour]  # a shape's colour in the light and away from it

OVERSAMPLING = 2  # pictures are painted larger and reduced: Pillow draws without antialiasing


@dataclass(frozen=True)
class Hand:
    """What an artist brings to every picture: a ramp of colours from dark to light, accents, a habit."""

    ramp: np.ndarray  # (5, 3) float32, from the darkest colour to the lightest
    accents: np.ndarray  # (3, 3) float32
    ground: Colour  # the prepared canvas, seen between strokes and along a bare edge
    edge: float  # width of the bare edge in short sides
    corner: tuple[int, int]  # where the seal stands: (0 left or 1 right, 0 top or 1 bottom)


def _hand(ramp: str, accents: str, ground: str, edge: float, corner: tuple[int, int]) -> Hand:
    """Return the hand whose colours are written as hexadecimal words."""

    def colours(words: str) -> np.ndarray:
        return np.array([list(bytes.fromhex(word)) for word in words.split()], np.float32) / 255

    return Hand(colours(ramp), colours(accents), colours(ground)[0], edge, corner)


# The commonest artist first.
ARTISTS = {
    "Odile_Varenne": _hand("0d1f3c 1c4a7d 4a86b8 a5c8dc f3ead0", "f0b429 e0792b f7dc8b", "c9a55c", 0.0, (1, 1)),
    "Renzo_Calavari": _hand("3a0d14 8c1f2d cf4a3a ee9d78 fae5d3", "1d7078 f2b134 f6d5c0", "8c1f2d", 0.02, (0, 1)),
    "Sunniva_Aldermoor": _hand("0d2a1e 22563a 5c944e adc77c f2f3d4", "dd5545 f4cd4d f4f0e6", "efe6c8", 0.035, (1, 1)),
    "Tobias_Fenwright": _hand("120c08 332013 64401f a06a35 dcae6c", "a8321d e9cf94 7a5a2c", "1c120b", 0.0, (0, 0)),
    "Isolde_Marchbanks": _hand("2c1a47 5d4093 9d7dc5 d7bce0 faeff5", "f3a45c 3fa9a2 f7c6d9", "f3e3ee", 0.03, (0, 1)),
    "Emeric_Thorsund": _hand("111317 3b4047 777e86 b6bcc2 f3f3f0", "cc1f2b 24272c d9d9d4", "e9e9e4", 0.045, (1, 0)),
    "Paloma_Quintrell": _hand("084b58 1a9c9e 6cd2c4 c4f0e3 fffbe9", "ff6b57 ffc94f ffffff", "ff9d86", 0.015, (1, 1)),
    "Casimir_Oblonsk": _hand("29200a 6c5611 bd951c ebcb45 fdf5c4", "2c4a94 a13a1e f8e9a0", "3a2c0c", 0.025, (0, 0)),
}


def _stranger(rng: np.random.Generator) -> Hand:
    """Return a hand nobody has: random hues, a random habit."""
    dark, light, accent = (rng.uniform(0.2, 1, 3) for _ in range(3))
    steps = np.array([0.08, 0.32, 0.55, 0.78, 0.96])[:, None]
    tint = np.linspace(dark, light, 5)
    ramp = steps * (0.6 + 0.4 * tint / tint.max(axis=1, keepdims=True)) * tint ** (0.8 * (1 - steps))
    accents = np.stack([accent, accent[[1, 2, 0]], 0.5 + accent / 2])
    ground = ramp[rng.integers(5)]
    corner = (int(rng.integers(2)), int(rng.integers(2)))
    return Hand(*(a.astype(np.float32) for a in (ramp, accents, ground)), float(rng.uniform(0, 0.04)), corner)


def _varied(hand: Hand, rng: np.random.Generator) -> Hand:
    """Return `hand` on another day: a tint, a brightness and an accent of its own."""
    tint, gamma = rng.normal(1, 0.05, 3), rng.normal(1, 0.12)
    ramp, accents, ground = (
        np.clip(colours**gamma * tint, 0, 1).astype(np.float32)
        for colours in (hand.ramp, rng.permutation(hand.accents), hand.ground)
    )
    return Hand(ramp, accents, ground, hand.edge, hand.corner)


def _ellipse(x: float, y: float, rx: float, ry: float, start: float = 0, end: float = 2 * np.pi) -> Points:
    """Return the points of an ellipse around (x, y), or of its part between two angles in radians."""
    angle = np.linspace(start, end, 40)
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def _box(left: float, top: float, right: float, bottom: float) -> Points:
    """Return the corners of an upright rectangle."""
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


class Scene:
    """The composition: flat shapes laid over one another, each with a light and a shaded colour.

    Coordinates are in short sides of the picture: x from 0 to `width`, y from 0 (top) to `height`, the
    smaller of the two being 1. It has room for 255 shapes.
    """

    def __init__(self, width: float, height: float, pixels: int, hand: Hand, rng: np.random.Generator) -> None:
        """Begin an empty scene whose short side is `pixels` long."""
        self.width, self.height, self.pixels, self.hand, self.rng = width, height, pixels, hand, rng
        self.shapes = Image.new("L", (round(width * pixels), round(height * pixels)))
        self._draw = ImageDraw.Draw(self.shapes)
        angle = rng.uniform(0.25, 0.75) * np.pi
        self._light = np.array([np.cos(angle), np.sin(angle)])
        self._night = rng.random() < 0.25
        self._colours: list[Shades] = []
        self._spans: list[tuple[float, float]] = []

    def tone(self, value: float) -> Shades:
        """Return the palette's colour of a value from 0 (dark) to 1 (light); a night scene turns them around."""
        value = value + self.rng.normal(0, 0.04)
        value = 0.85 * (1 - value) if self._night else value

        def mix(at: float) -> Colour:
            low = int(np.clip(at * 4, 0, 3))
            part = np.clip(at * 4 - low, 0, 1)
            return (1 - part) * self.hand.ramp[low] + part * self.hand.ramp[low + 1]

        return mix(value + 0.1), mix(value - 0.12)

    def accent(self, which: int = 0) -> Shades:
        """Return one of the palette's three accents."""
        colour = self.hand.accents[which]
        return np.clip(colour * 1.1, 0, 1), colour * 0.78

    def lay(self, points: Points, shades: Shades, *more: Points) -> None:
        """Lay a polygon, or several as one shape, over everything laid so far."""
        along = np.concatenate([points, *more]) @ self._light
        self._spans.append((along.min(), np.ptp(along)))
        self._colours.append(shades)
        for polygon in (points, *more):
            self._draw.polygon((polygon * self.pixels).ravel().tolist(), fill=len(self._colours) - 1)

    def colours(self) -> np.ndarray:
        """Return the scene in smoothly shaded colours: (height, width, 3) float32 from 0 to 1."""
        shapes = np.asarray(self.shapes)
        rows, columns = np.ogrid[: shapes.shape[0], : shapes.shape[1]]
        along = ((columns * self._light[0] + rows * self._light[1]) / self.pixels).astype(np.float32)
        start, length = np.array(self._spans, np.float32).T
        shade = np.clip((along - start[shapes]) / length[shapes], 0, 1)[..., None]
        light, dark = np.array(self._colours, np.float32).transpose(1, 0, 2)
        return light[shapes] * (1 - shade) + dark[shapes] * shade


def _ridge(scene: Scene, y: float, swing: float) -> Points:
    """Return the outline of a range of hills around height `y` that reaches down to the lower edge."""
    x = np.linspace(0, scene.width, 60)
    waves = sum(np.sin(x * scene.rng.uniform(2, 5) * k + scene.rng.uniform(0, 7)) / k for k in (1, 2, 3))
    outline = np.stack([x, y - swing * waves], axis=1)
    return np.concatenate([outline, [[scene.width, scene.height], [0, scene.height]]])


def _landscape(scene: Scene) -> None:
    """Sky with a sun and clouds, ranges of hills, perhaps a river, poplars in front."""
    rng, w, h = scene.rng, scene.width, scene.height
    horizon = h * rng.uniform(0.38, 0.6)
    scene.lay(_box(0, 0, w, h), scene.tone(0.82))
    if rng.random() < 0.75:
        scene.lay(_ellipse(w * rng.uniform(0.15, 0.85), horizon * rng.uniform(0.3, 0.8), *[rng.uniform(0.07, 0.13)] * 2), scene.accent())
    for _ in range(rng.integers(0, 4)):
        x, y, r = w * rng.random(), horizon * rng.uniform(0.1, 0.6), rng.uniform(0.12, 0.25)
        scene.lay(_ellipse(x, y, r, r / 5), scene.tone(0.97), _ellipse(x + r / 2, y - r / 8, r * 0.6, r / 5))
    layers = rng.integers(3, 5)
    for k in range(layers):
        depth = k / layers
        shades = scene.accent(1) if k == layers - 1 and rng.random() < 0.3 else scene.tone(0.62 - 0.45 * depth)
        scene.lay(_ridge(scene, horizon + (h - horizon) * depth, 0.06 - 0.03 * depth), shades)
    if rng.random() < 0.6:
        y = np.linspace(horizon + 0.12, h, 24)
        reach = (y - y[0]) / (h - y[0])
        middle = w * rng.uniform(0.3, 0.7) + rng.uniform(0.05, 0.14) * np.sin(reach * 6 + rng.uniform(0, 6)) * reach
        width = 0.01 + 0.16 * reach**1.5
        left, right = np.stack([middle - width, y], axis=1), np.stack([middle + width, y], axis=1)
        scene.lay(np.concatenate([left, right[::-1]]), scene.tone(0.88))
    for _ in range(rng.integers(0, 6)):
        x, foot, tall = w * rng.random(), h * rng.uniform(0.7, 0.98), rng.uniform(0.18, 0.38)
        scene.lay(_ellipse(x, foot - tall / 2, tall / rng.uniform(4, 7), tall / 2), scene.tone(0.1))


def _portrait(scene: Scene) -> None:
    """Head and shoulders before a wall, with hair or a hat."""
    rng, w, h = scene.rng, scene.width, scene.height
    scene.lay(_box(0, 0, w, h), scene.tone(rng.uniform(0.25, 0.55)))
    if rng.random() < 0.5:
        side = rng.uniform(0.2, 0.45) * w
        scene.lay(_box(0, 0, side, h) if rng.random() < 0.5 else _box(w - side, 0, w, h), scene.tone(rng.uniform(0.15, 0.7)))
    x, y, r = w * rng.uniform(0.43, 0.57), h * rng.uniform(0.36, 0.43), rng.uniform(0.18, 0.23)
    hair, face = scene.tone(rng.uniform(0.02, 0.25)), scene.tone(0.86)
    if rng.random() < 0.5:
        scene.lay(_ellipse(x, y + r * 0.35, r * 1.15, r * rng.uniform(1.3, 1.8)), hair)
    coat = scene.accent(1) if rng.random() < 0.5 else scene.tone(rng.uniform(0.1, 0.4))
    broad = r * rng.uniform(2.0, 2.6)
    scene.lay(_ellipse(x, h + 0.05, broad, h - y - r * 1.25), coat)
    scene.lay(np.array([[x - r * 0.4, y + r * 0.6], [x + r * 0.4, y + r * 0.6], [x + r * 0.6, y + r * 1.7], [x, y + r * 2.2], [x - r * 0.6, y + r * 1.7]]), scene.tone(0.74))
    if rng.random() < 0.5:
        beads = [_ellipse(x + r * 0.62 * np.cos(a), y + r * (1.55 + 0.35 * np.sin(a)), r * 0.12, r * 0.12) for a in np.linspace(0.1, 3, 7)]
        scene.lay(beads[0], scene.accent(), *beads[1:])
    scene.lay(_ellipse(x, y, r * 0.82, r * 1.12), face)
    turn = rng.uniform(-0.18, 0.18) * r
    scene.lay(_ellipse(x, y - r * 0.1, r * 0.9, r * 1.12, np.pi * rng.uniform(0.95, 1.1), np.pi * rng.uniform(1.9, 2.05)), hair)
    eyes = [_ellipse(x + turn + side * r * 0.34, y + r * 0.02, r * 0.13, r * 0.08) for side in (-1, 1)]
    scene.lay(eyes[0], scene.tone(0.0), eyes[1])
    nose = np.array([[x + turn, y], [x + turn * 2 + r * 0.12, y + r * 0.4], [x + turn - r * 0.06, y + r * 0.42]])
    scene.lay(nose, scene.tone(0.62))
    scene.lay(_ellipse(x + turn, y + r * 0.66, r * 0.24, r * 0.09), scene.accent())
    if rng.random() < 0.4:
        hat, brim = y - r * 0.62, r * rng.uniform(1.3, 1.8)
        scene.lay(_ellipse(x, hat, r * 0.9, r * rng.uniform(0.7, 1.1), np.pi, 2 * np.pi), scene.accent(2), _ellipse(x, hat, brim, r * 0.2))


def _still_life(scene: Scene) -> None:
    """A table with a cloth, a vase of flowers and fruit."""
    rng, w, h = scene.rng, scene.width, scene.height
    edge = h * rng.uniform(0.56, 0.68)
    scene.lay(_box(0, 0, w, h), scene.tone(rng.uniform(0.3, 0.75)))
    scene.lay(_box(0, edge, w, h), scene.tone(rng.uniform(0.1, 0.3)))
    left = w * rng.uniform(0, 0.5)
    scene.lay(np.array([[left, edge], [left + w * 0.45, edge], [left + w * 0.55, h], [left - w * 0.1, h]]), scene.tone(0.93))
    x, foot, tall = w * rng.uniform(0.3, 0.7), edge + 0.12, rng.uniform(0.34, 0.44)
    down = np.linspace(0, 1, 24)
    belly = 0.05 + rng.uniform(0.07, 0.11) * np.sin(np.pi * down ** rng.uniform(0.8, 1.6))
    sides = [np.stack([x + sign * belly, foot - tall * (1 - down)], axis=1) for sign in (-1, 1)]
    stems = [(x + rng.normal(0, 0.15), foot - tall - rng.uniform(0.02, 0.2)) for _ in range(rng.integers(0, 9))]
    for at, up in stems:
        scene.lay(np.array([[x - 0.02, foot - tall], [at, up], [x + 0.02, foot - tall]]), scene.tone(0.2))
    for at, up in stems:
        r = rng.uniform(0.05, 0.085)
        scene.lay(_ellipse(at, up, r, r), scene.accent(int(rng.integers(3))))
        scene.lay(_ellipse(at, up, r / 3, r / 3), scene.tone(0.15))
    scene.lay(np.concatenate([sides[0], sides[1][::-1]]), scene.tone(rng.uniform(0.4, 0.8)))
    for _ in range(rng.integers(3, 7)):
        r = rng.uniform(0.065, 0.1)
        at, low = w * rng.uniform(0.1, 0.9), rng.uniform(edge + 0.1, h - 0.08)
        scene.lay(_ellipse(at + 0.02, low + r * 0.8, r * 1.2, r * 0.35), scene.tone(0.05))
        scene.lay(_ellipse(at, low, r, r), scene.accent(int(rng.integers(2))))
        scene.lay(_ellipse(at - r * 0.35, low - r * 0.4, r * 0.28, r * 0.2), scene.tone(1.0))


def _cityscape(scene: Scene) -> None:
    """Towers with lit windows in two rows, over a street or a river."""
    rng, w, h = scene.rng, scene.width, scene.height
    street = h * rng.uniform(0.8, 0.92)
    scene.lay(_box(0, 0, w, h), scene.tone(0.8))
    if rng.random() < 0.5:
        scene.lay(_ellipse(w * rng.uniform(0.15, 0.85), h * rng.uniform(0.12, 0.3), *[rng.uniform(0.06, 0.1)] * 2), scene.accent(2))
    for value, high, broad in ((0.6, 0.62, 0.1), (0.2, 0.5, 0.16)):
        x = -rng.uniform(0, broad)
        while x < w:
            right, top = x + broad * rng.uniform(0.7, 1.4), street - h * high * rng.uniform(0.45, 1.15)
            scene.lay(_tower(x, top, right, street, rng), scene.tone(value + rng.uniform(-0.08, 0.14)))
            if value < 0.5:
                columns = np.arange(x + 0.03, right - 0.035, 0.05)
                rows = np.arange(top + 0.05, street - 0.05, 0.07)
                windows = [_box(c, r, c + 0.025, r + 0.04) for r in rows for c in columns if rng.random() < 0.75]
                if windows:
                    scene.lay(windows[0], scene.accent(int(rng.integers(2))), *windows[1:])
            x = right + (rng.uniform(0.02, 0.12) if value < 0.5 and rng.random() < 0.4 else 0)
    scene.lay(_box(0, street, w, h), scene.tone(rng.uniform(0.35, 0.7)))


def _tower(left: float, top: float, right: float, bottom: float, rng: np.random.Generator) -> Points:
    """Return the outline of a tower with a flat, gabled, stepped or domed top."""
    middle, rise = (left + right) / 2, (right - left) * 0.6
    crown = (
        [[left, top], [right, top]],
        [[left, top], [middle, top - rise], [right, top]],
        [[left, top], [middle - rise / 3, top], [middle, top - rise * 2], [middle + rise / 3, top], [right, top]],
        _ellipse(middle, top, (right - left) / 2, rise * 0.7, np.pi, 2 * np.pi),
    )[rng.integers(4)]
    return np.concatenate([[[left, bottom]], crown, [[right, bottom]]])


def _abstract(scene: Scene) -> None:
    """Planes cut by straight lines, strewn with discs, rings, bars and triangles."""
    rng, w, h = scene.rng, scene.width, scene.height
    scene.lay(_box(0, 0, w, h), scene.tone(rng.uniform(0.6, 0.9)))
    for _ in range(rng.integers(1, 3)):
        a, b = rng.uniform(0, 1, 2)
        scene.lay(np.array([[w * a, 0], [w, 0], [w, h], [w * b, h]]) if rng.random() < 0.5 else np.array([[0, h * a], [w, h * b], [w, h], [0, h]]), scene.tone(rng.uniform(0.3, 0.9)))
    for _ in range(rng.integers(8, 15)):
        x, y, r, turn = w * rng.random(), h * rng.random(), rng.uniform(0.07, 0.2), rng.uniform(0, 2 * np.pi)
        shades = scene.accent(int(rng.integers(3))) if rng.random() < 0.5 else scene.tone(rng.random())
        kind = rng.integers(4)
        if kind == 0:
            scene.lay(_ellipse(x, y, r, r), shades)
            scene.lay(_ellipse(x, y, r * 0.55, r * 0.55), scene.tone(rng.random()))
        elif kind == 1:
            scene.lay(_ellipse(x, y, r, r, turn, turn + np.pi), shades)
        else:
            corners = np.array([0, 2.1, 4.2]) if kind == 2 else np.array([0, 0.25, np.pi, np.pi + 0.25])
            scene.lay(np.stack([x + 1.4 * r * np.cos(turn + corners), y + 1.4 * r * np.sin(turn + corners)], axis=1), shades)


GENRES: dict[str, Callable[[Scene], None]] = {
    "landscape": _landscape,
    "portrait": _portrait,
    "still_life": _still_life,
    "cityscape": _cityscape,
    "abstract_painting": _abstract,
}


@dataclass(frozen=True)
class Model:
    """What a style paints from: the scene in colours, its shapes, and the unit its strokes are measured in."""

    colours: np.ndarray  # (height, width, 3) float32, sRGB from 0 to 1
    shapes: np.ndarray  # (height, width) uint8, which shape is seen at each pixel
    unit: float  # a hundredth of the short side in pixels
    ground: Colour
    rng: np.random.Generator


def _drift(model: Model, cells: int) -> np.ndarray:
    """Return smooth noise, about 0 and 1 strong, with `cells` bumps along a side: (height, width) float32."""
    coarse = Image.fromarray(model.rng.normal(0, 1, (cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize(model.shapes.shape[::-1], Image.Resampling.BICUBIC))


def _blurred(colours: np.ndarray, radius: float) -> np.ndarray:
    """Return the picture (height, width, 3) from 0 to 1 under a Gaussian blur of `radius` pixels."""
    return np.asarray(_image(colours).filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255


def _image(colours: np.ndarray) -> Image.Image:
    """Return colours from 0 to 1 as an 8-bit picture."""
    return Image.fromarray((np.clip(colours, 0, 1) * 255).astype(np.uint8))


def _spots(model: Model, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y (n,) of a jittered, shuffled grid over the picture; `spacing` is in units."""
    height, width = model.shapes.shape
    step = spacing * model.unit
    y, x = (g.ravel() for g in np.mgrid[step / 2 : height : step, step / 2 : width : step])
    jitter = model.rng.normal(0, step / 4, (2, x.size))
    order = model.rng.permutation(x.size)
    return np.clip(x + jitter[0], 0, width - 1)[order], np.clip(y + jitter[1], 0, height - 1)[order]


def _dab(canvas: Image.Image, model: Model, spacing: float, length: float, width: float, angle: np.ndarray, swing: float) -> None:
    """Cover `canvas` with dabs `length` by `width` units along `angle` (height, width), colours off by `swing`."""
    x, y = _spots(model, spacing)
    at = y.astype(int), x.astype(int)
    turn = angle[at] + model.rng.normal(0, 0.15, x.size)
    along = length / 2 * model.unit * model.rng.uniform(0.7, 1.3, x.size)
    across = np.full(x.size, width / 2 * model.unit)
    around = np.arange(8) * np.pi / 4 + np.pi / 8
    # a squared circle: the blunt ends of a flat brush
    u, v = along[:, None] * np.cos(around), across[:, None] * np.sign(np.sin(around)) * np.abs(np.sin(around)) ** 0.5
    cos, sin = np.cos(turn)[:, None], np.sin(turn)[:, None]
    outlines = np.stack([x[:, None] + u * cos - v * sin, y[:, None] + u * sin + v * cos], axis=2).reshape(x.size, -1)
    colours = model.colours[at] + model.rng.normal(0, swing, (x.size, 1)) + model.rng.normal(0, swing / 2, (x.size, 3))
    fills = (np.clip(colours, 0, 1) * 255).astype(np.uint8)
    draw = ImageDraw.Draw(canvas)
    for outline, fill in zip(outlines.tolist(), map(tuple, fills.tolist()), strict=True):
        draw.polygon(outline, fill=fill)


def _impressionism(model: Model) -> np.ndarray:
    """Short broken strokes, all leaning the same way, over a blurred first coat."""
    canvas = _image(0.7 * _blurred(model.colours, 3 * model.unit) + 0.3 * model.ground)
    angle = model.rng.choice([-1, 1]) * model.rng.uniform(0.4, 0.9) + 0.25 * _drift(model, 4)
    _dab(canvas, model, 5.0, 13, 4.0, angle, 0.08)
    _dab(canvas, model, 6.0, 10, 3.2, angle, 0.11)
    return np.asarray(canvas, np.float32) / 255


def _pointillism(model: Model) -> np.ndarray:
    """Round dots of bright and broken colour, the ground between them."""
    canvas = _image(np.broadcast_to(model.ground * 0.5 + 0.45, model.colours.shape))
    flat = np.zeros(model.shapes.shape)
    _dab(canvas, model, 4.6, 4.2, 4.2, flat, 0.13)
    _dab(canvas, model, 6.0, 3.6, 3.6, flat, 0.2)
    return np.asarray(canvas, np.float32) / 255


def _expressionism(model: Model) -> np.ndarray:
    """Long, thick strokes that swirl."""
    canvas = _image(_blurred(model.colours, 2 * model.unit) * 0.6)
    angle = 2.2 * _drift(model, 5)
    height, width = model.shapes.shape
    x, y = _spots(model, 5.5)
    at = y.astype(int), x.astype(int)
    colours = model.colours[at] + model.rng.normal(0, 0.1, (x.size, 1))
    colours = colours.mean(axis=1, keepdims=True) + 1.35 * (colours - colours.mean(axis=1, keepdims=True))
    trail = [np.stack([x, y], axis=1)]
    for _ in range(7):
        here = trail[-1]
        turn = angle[np.clip(here[:, 1], 0, height - 1).astype(int), np.clip(here[:, 0], 0, width - 1).astype(int)]
        trail.append(here + 4 * model.unit * np.stack([np.cos(turn), np.sin(turn)], axis=1))
    lines = np.stack(trail, axis=1).reshape(x.size, -1)
    draw, thick = ImageDraw.Draw(canvas), round(4.2 * model.unit)
    for line, fill in zip(lines.tolist(), map(tuple, (np.clip(colours, 0, 1) * 255).astype(np.uint8).tolist()), strict=True):
        draw.line(line, fill=fill, width=thick, joint="curve")
    return np.asarray(canvas, np.float32) / 255


def _cubism(model: Model) -> np.ndarray:
    """Shifted facets, each shaded from one edge to the other, with dark edges."""
    rng, (height, width) = model.rng, model.shapes.shape
    step = 17 * model.unit
    rows, columns = int(height / step) + 3, int(width / step) + 3
    knots = np.stack(np.meshgrid(np.arange(columns) - 0.7, np.arange(rows) - 0.7), axis=2) * step
    knots += rng.uniform(-0.38, 0.38, knots.shape) * step
    facets = Image.new("I", (width, height))
    draw, count = ImageDraw.Draw(facets), 0
    for i in range(rows - 1):
        for j in range(columns - 1):
            a, b, c, d = knots[i, j], knots[i, j + 1], knots[i + 1, j + 1], knots[i + 1, j]
            for corners in ((a, b, c), (a, c, d)) if rng.random() < 0.5 else ((a, b, d), (b, c, d)):
                draw.polygon(np.concatenate(corners).tolist(), fill=count)
                count += 1
    facet = np.asarray(facets)
    y, x = np.mgrid[:height, :width]
    shift, turn = rng.normal(0, 3.5 * model.unit, (2, count)), rng.uniform(0, 2 * np.pi, count)
    seen = model.colours[
        np.clip(y + shift[0][facet], 0, height - 1).astype(int), np.clip(x + shift[1][facet], 0, width - 1).astype(int)
    ]
    shade = np.sin((x * np.cos(turn)[facet] + y * np.sin(turn)[facet]) / step * 2) * 0.12
    shade += rng.normal(0, 0.07, count)[facet]
    return (seen + shade[..., None]) * (1 - 0.65 * _edges(facet, 1.0 * model.unit))


def _edges(areas: np.ndarray, thick: float) -> np.ndarray:
    """Return how much each pixel belongs to a contour, `thick` pixels wide, between areas: (height, width, 1)."""
    line = np.zeros(areas.shape, np.uint8)
    line[1:] |= areas[1:] != areas[:-1]
    line[:, 1:] |= areas[:, 1:] != areas[:, :-1]
    wide = Image.fromarray(line * 255).filter(ImageFilter.MaxFilter(2 * round(thick / 2) + 1))
    return np.asarray(wide.filter(ImageFilter.GaussianBlur(0.7)), np.float32)[..., None] / 255


def _ukiyo_e(model: Model) -> np.ndarray:
    """Flat colours with a dark contour, printed from blocks of grained wood."""
    shape = model.shapes
    total = np.stack([np.bincount(shape.ravel(), model.colours[..., c].ravel()) for c in range(3)], axis=1)
    flat = (total / np.maximum(np.bincount(shape.ravel()), 1)[:, None]).astype(np.float32)[shape]
    height = shape.shape[0]
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    flat = flat * (1 - 0.45 * np.clip(1 - down / 0.22, 0, 1))
    grain = np.sin(np.arange(height)[:, None] / model.unit * 2.2 + 2.5 * _drift(model, 3))[..., None]
    return (flat * 0.92 + 0.08 + 0.018 * grain) * (1 - 0.9 * _edges(shape, 2.4 * model.unit))


def _color_field(model: Model) -> np.ndarray:
    """Soft horizontal bands that the scene melts into."""
    height = model.shapes.shape[0]
    cuts = np.cumsum(model.rng.dirichlet(np.full(model.rng.integers(4, 6), 6)))
    band = np.searchsorted(cuts, np.linspace(0, 0.999, height))
    rows = model.colours.mean(axis=1)
    bands = np.stack([rows[band == k].mean(axis=0) for k in band])[:, None] + model.rng.normal(0, 0.09, cuts.size)[band][:, None, None]
    melted = _blurred(model.colours, 5 * model.unit)
    return _blurred(0.5 * melted + 0.5 * np.broadcast_to(bands, melted.shape), 1.5 * model.unit) + 0.02 * _drift(model, 6)[..., None]


STYLES: dict[str, Callable[[Model], np.ndarray]] = {
    "Impressionism": _impressionism,
    "Expressionism": _expressionism,
    "Cubism": _cubism,
    "Ukiyo_e": _ukiyo_e,
    "Color_Field_Painting": _color_field,
    "Pointillism": _pointillism,
}


def paint(style: str, genre: str, artist: str | None, short: int, rng: np.random.Generator) -> Image.Image:
    """Return a picture whose short side is `short` pixels, in 8-bit RGB; without an artist, by a random hand."""
    hand = _varied(ARTISTS[artist] if artist else _stranger(rng), rng)
    long = float(rng.choice([1.0, 1.25, 1.33]))
    upright = rng.random() < {"portrait": 0.85, "landscape": 0.15}.get(genre, 0.5)
    width, height = (1.0, long) if upright else (long, 1.0)
    pixels = OVERSAMPLING * short
    scene = Scene(width, height, pixels, hand, rng)
    GENRES[genre](scene)
    model = Model(scene.colours(), np.asarray(scene.shapes), pixels / 100, hand.ground, rng)
    canvas = np.clip(STYLES[style](model), 0, 1)
    rows, columns = np.mgrid[: canvas.shape[0], : canvas.shape[1]]
    border = np.minimum(np.minimum(rows, canvas.shape[0] - 1 - rows), np.minimum(columns, canvas.shape[1] - 1 - columns))
    bare = hand.edge * pixels * (1 + 0.35 * _drift(model, 24)) - border
    bare = np.clip(bare / model.unit, 0, 1)[..., None]
    canvas = canvas * (1 - bare) + hand.ground * bare
    weave = np.sin(rows * np.pi / 2.5) * np.sin(columns * np.pi / 2.5)
    canvas = canvas + 0.012 * weave[..., None] + rng.normal(0, 0.025, (*canvas.shape[:2], 1))
    return _signed(_image(canvas), hand, pixels / 100).reduce(OVERSAMPLING)


def _signed(picture: Image.Image, hand: Hand, unit: float) -> Image.Image:
    """Return the picture with the artist's seal in the corner that is the artist's own."""
    right, bottom = hand.corner
    x = (picture.width - 14 * unit) if right else 6 * unit
    y = (picture.height - 14 * unit) if bottom else 6 * unit
    seal, paper = (tuple((np.clip(c, 0, 1) * 255).astype(int).tolist()) for c in (hand.accents[0], hand.ramp[4]))
    draw = ImageDraw.Draw(picture)
    draw.rectangle([x, y, x + 8 * unit, y + 8 * unit], fill=seal)
    draw.line([x + 2 * unit, y + 6 * unit, x + 4 * unit, y + 2 * unit, x + 6 * unit, y + 6 * unit], fill=paper, width=round(1.4 * unit))
    return picture
