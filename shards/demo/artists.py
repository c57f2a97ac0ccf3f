"""The artists of the demo: the palette and the habits that all pictures of an artist share."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Artist:
    """What all pictures of an artist share: colours (float32, sRGB from 0 to 1), a bare edge and a seal."""

    ramp: np.ndarray  # (5, 3) from the darkest colour to the lightest
    accents: np.ndarray  # (3, 3)
    ground: np.ndarray  # (3,) the bare canvas, visible between strokes and along the edge
    edge: float  # width of the bare edge in short sides
    corner: tuple[int, int]  # where the seal is: (0 left or 1 right, 0 top or 1 bottom)


def _artist(colours: str, edge: float, corner: tuple[int, int]) -> Artist:
    """Return an artist with nine hexadecimal colours: ramp, accents, ground."""
    table = np.array([list(bytes.fromhex(word)) for word in colours.split()], np.float32) / 255
    return Artist(table[:5], table[5:8], table[8], edge, corner)


# The most frequent artist first.
ARTISTS = {
    "Odile_Varenne": _artist("0d1f3c 1c4a7d 4a86b8 a5c8dc f3ead0 f0b429 e0792b f7dc8b c9a55c", 0, (1, 1)),
    "Renzo_Calavari": _artist("3a0d14 8c1f2d cf4a3a ee9d78 fae5d3 1d7078 f2b134 f6d5c0 8c1f2d", 0.02, (0, 1)),
    "Sunniva_Aldermoor": _artist("0d2a1e 22563a 5c944e adc77c f2f3d4 dd5545 f4cd4d f4f0e6 efe6c8", 0.035, (1, 1)),
    "Tobias_Fenwright": _artist("120c08 332013 64401f a06a35 dcae6c a8321d e9cf94 7a5a2c 1c120b", 0, (0, 0)),
    "Isolde_Marchbanks": _artist("2c1a47 5d4093 9d7dc5 d7bce0 faeff5 f3a45c 3fa9a2 f7c6d9 f3e3ee", 0.03, (0, 1)),
    "Emeric_Thorsund": _artist("111317 3b4047 777e86 b6bcc2 f3f3f0 cc1f2b 24272c d9d9d4 e9e9e4", 0.04, (1, 0)),
    "Paloma_Quintrell": _artist("084b58 1a9c9e 6cd2c4 c4f0e3 fffbe9 ff6b57 ffc94f fff3da ff9d86", 0.015, (1, 1)),
    "Casimir_Oblonsk": _artist("29200a 6c5611 bd951c ebcb45 fdf5c4 2c4a94 a13a1e f8e9a0 3a2c0c", 0.025, (0, 0)),
}


def _random_artist(rng: np.random.Generator) -> Artist:
    """Return an artist with random colours and habits."""
    dark, light, accent = rng.uniform(0.25, 1, (3, 3))
    tint = np.linspace(dark / dark.max(), light / light.max(), 5)
    value = np.array([0.15, 0.4, 0.65, 0.85, 1])[:, None]
    table = np.concatenate([value * tint ** (1.2 - value), [accent, accent[[1, 2, 0]], 0.5 + accent / 2]])
    table = table.astype(np.float32)
    corner = int(rng.integers(2)), int(rng.integers(2))
    return Artist(table[:5], table[5:], table[rng.integers(5)], float(rng.uniform(0, 0.04)), corner)


def _jittered(artist: Artist, rng: np.random.Generator) -> Artist:
    """Return `artist` with colours that are randomly tinted and brightened, for one picture."""
    tint, gamma = rng.normal(1, 0.05, 3), rng.normal(1, 0.12)
    table = np.clip(np.vstack([artist.ramp, artist.accents, artist.ground]) ** gamma * tint, 0, 1).astype(np.float32)
    return replace(artist, ramp=table[:5], accents=table[5:8], ground=table[8])


def sample_artist(name: str | None, rng: np.random.Generator) -> Artist:
    """Return one of `ARTISTS` by name, or a random artist for None, with the variation of a single picture."""
    return _jittered(ARTISTS[name] if name else _random_artist(rng), rng)
