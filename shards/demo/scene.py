"""The scene of a painting: shapes on top of one another, and how each genre composes them."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from .artists import Artist


def _ellipse(x: float, y: float, rx: float, ry: float, start: float = 0, end: float = 2) -> np.ndarray:
    """Return 40 points (40, 2) of an ellipse around (x, y), or of an arc between two angles in half turns."""
    angle = np.linspace(start * np.pi, end * np.pi, 40)
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def _box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """Return the corners (4, 2) of an axis-aligned rectangle."""
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def _band(middle: np.ndarray | float, half: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the outline (2n, 2) of a band that extends `half` (n,) to both sides of `middle` at heights `y` (n,)."""
    return np.concatenate([np.stack([middle - half, y], axis=1), np.stack([middle + half, y], axis=1)[::-1]])


class Scene:
    """A composition of up to 256 shapes on top of one another, each with a light and a shaded colour.

    Coordinates are in short sides of the picture: x from 0 (left) to `width`, y from 0 (top) to `height`, the smaller
    of which is 1.
    """

    def __init__(self, width: float, height: float, pixels: int, artist: Artist, rng: np.random.Generator) -> None:
        """Create an empty scene whose short side has `pixels` pixels."""
        self.width, self.height, self.rng = width, height, rng
        self._pixels, self._artist, self._accents = pixels, artist, rng.permutation(artist.accents)
        self._shapes = Image.new("L", (round(width * pixels), round(height * pixels)))
        angle = rng.uniform(0.25, 0.75) * np.pi
        self._light = np.array([np.cos(angle), np.sin(angle)])
        self._colours: list[tuple[np.ndarray, np.ndarray]] = []
        self._spans: list[tuple[float, float]] = []

    def tone(self, value: float, *shapes: np.ndarray) -> None:
        """Draw polygons (n, 2) as one shape, in the colour of the palette for a value from 0 (dark) to 1 (light)."""
        value += self.rng.normal(0, 0.03)
        ramp, steps = self._artist.ramp, np.linspace(0, 1, 5)
        # A little of an accent varies the hue of large areas without changing their value.
        accent = self._accents[self.rng.integers(3)]
        tint = self.rng.uniform(0, 0.3) * (accent - accent.mean())
        light, shade = (
            np.array([np.interp(at, steps, ramp[:, c]) for c in range(3)]) + tint for at in (value + 0.09, value - 0.11)
        )
        self._draw(light, shade, shapes)

    def accent(self, which: int, *shapes: np.ndarray) -> None:
        """Draw polygons (n, 2) as one shape, in one of the three accents of this picture."""
        self._draw(self._accents[which] * 1.08, self._accents[which] * 0.8, shapes)

    def _draw(self, light: np.ndarray, shade: np.ndarray, shapes: tuple[np.ndarray, ...]) -> None:
        along = np.concatenate(shapes) @ self._light
        draw = ImageDraw.Draw(self._shapes)
        for shape in shapes:
            draw.polygon((shape * self._pixels).ravel().tolist(), fill=len(self._colours))
        self._spans.append((along.min(), np.ptp(along)))
        self._colours.append((light, shade))

    def render(self) -> tuple[np.ndarray, np.ndarray]:
        """Return colours (height, width, 3) float32 from 0 to 1, and the visible shapes (height, width) uint8."""
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
        scene.tone(0.92, _band(middle, width, along))
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
    scene.tone(rng.choice([0.15, 0.9]), _band(x, belly, foot - tall * (1 - down)))
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
    for near, tall, broad in ((False, 0.62, 0.1), (True, 0.5, 0.17)):
        right = -rng.uniform(0, broad)
        while right < w:
            left, right = right, right + broad * rng.uniform(0.7, 1.4)
            top = street - h * tall * rng.uniform(0.45, 1.15)
            middle, rise = (left + right) / 2, (right - left) * 0.6
            third = rise / 3
            crowns: list[list[list[float]]] = [
                [[left, top], [right, top]],
                [[left, top], [middle, top - rise], [right, top]],
                [[left, top], [middle - third, top], [middle, top - 2 * rise], [middle + third, top], [right, top]],
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
    """Two planes with rings, half discs, bars and triangles on them."""
    rng, w, h = scene.rng, scene.width, scene.height
    scene.tone(rng.uniform(0.6, 0.95), _box(0, 0, w, h))
    a, b = rng.random(2)
    upright, level = [[w * a, 0], [w, 0], [w, h], [w * b, h]], [[0, h * a], [w, h * b], [w, h], [0, h]]
    scene.tone(rng.uniform(0.3, 0.9), np.array(upright if rng.random() < 0.5 else level))
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


# The most frequent genre first.
GENRES: dict[str, Callable[[Scene], None]] = {
    "landscape": _landscape,
    "portrait": _portrait,
    "still_life": _still_life,
    "cityscape": _cityscape,
    "abstract_painting": _abstract_painting,
}
