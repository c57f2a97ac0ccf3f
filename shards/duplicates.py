"""Which images show the same painting: in two style folders, scanned twice or saved again. Pure.

Lists of paintings name many twice, and a painting that is trained on must not be tested on under another name.
"""

import hashlib
import io

import numpy as np
from PIL import Image

# Of 12.5 million pairs of 5,000 real paintings, all 24 up to 6 bits apart are copies, as far as an eye can tell. Of
# the 4 pairs 8 bits apart 3 are not. Saving a copy at half the size and quality 60 changes 6 bits or fewer of 99 %.
MAX_BITS = 6

# Grey levels, of 255. What a picture with less contrast hashes to is the noise of its encoding.
MIN_CONTRAST = 5.0

# The 8 lowest of 32 frequencies: rows of the orthonormal DCT-II. Importing SciPy for it would cost each worker 0.4 s.
_DCT = np.cos(np.pi / 32 * np.outer(np.arange(8), np.arange(32) + 0.5)) * np.sqrt(2 / 32)
_DCT[0] /= np.sqrt(2)


def perceptual_hash(jpeg: bytes) -> int:
    """64 bits that stay nearly the same when an image is resized, encoded again or changes its colours a little.

    They say which of the 8 x 8 lowest frequencies of the grey image are above their median (Zauner, "Implementation
    and Benchmarking of Perceptual Image Hash Functions", 2010). An image with hardly any contrast, a blank page for
    one, gets 64 bits of its SHA-256 instead: it is a copy only of what is the same byte for byte.
    """
    with Image.open(io.BytesIO(jpeg)) as image:
        grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.LANCZOS), np.float64)
    low = (_DCT @ grey @ _DCT.T).ravel()
    contrast = np.linalg.norm(low[1:]) / 32  # the standard deviation of what the low frequencies show
    if contrast < MIN_CONTRAST:
        return int.from_bytes(hashlib.sha256(jpeg).digest()[:8])
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes())


def near_pairs(hashes: np.ndarray, max_bits: int = MAX_BITS) -> np.ndarray:
    """All pairs of places (n, 2) in `hashes`, uint64 and distinct, that differ in at most `max_bits` bits.

    Such a pair agrees wholly in one of `max_bits` + 1 parts of the hash: only what agrees there is compared.
    """
    found = [np.empty((0, 2), np.int64)]
    for part in np.array_split(np.arange(64, dtype=np.uint64), max_bits + 1):
        values = hashes & np.bitwise_or.reduce(np.uint64(1) << part)
        order = np.argsort(values, kind="stable")
        for same in np.split(order, np.flatnonzero(np.diff(values[order])) + 1):
            near = np.bitwise_count(hashes[same, None] ^ hashes[same]) <= max_bits
            found.append(same[np.argwhere(np.triu(near, 1))])
    return np.unique(np.concatenate(found), axis=0)


def copy_groups(hashes: np.ndarray) -> list[str]:
    """A group's name for each hash (uint64): images with the same name are copies of one another.

    A group is one image and those near to it; the image with most of them comes first. Joining on, to what is near
    to those, could string different paintings together. The order of the hashes changes nothing.
    """
    distinct, place = np.unique(hashes, return_inverse=True)
    near: list[list[int]] = [[] for _ in distinct]
    for one, other in near_pairs(distinct).tolist():
        near[one].append(other)
        near[other].append(one)
    group = np.full(len(distinct), -1)
    for middle in sorted(range(len(distinct)), key=lambda one: -len(near[one])):
        if group[middle] < 0:
            members = [one for one in (middle, *near[middle]) if group[one] < 0]
            group[members] = middle
    return [f"{name:016x}" for name in distinct[group[place]].tolist()]
