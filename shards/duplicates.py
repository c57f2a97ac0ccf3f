"""Near-duplicates: images of one painting, filed under two styles, scanned twice or encoded again. Pure.

The label lists name many paintings twice. A painting that is trained on must not be tested on under another name.
"""

import hashlib
import io

import numpy as np
from PIL import Image

# Among the 12.5 million pairs of 5,000 real paintings, all 24 pairs up to 6 bits apart show the same painting, judged
# by eye; of the 4 pairs 8 bits apart, 3 do not. Saving an image again at half the size and quality 60 changes at most
# 6 bits in 99 % of cases.
MAX_BITS = 6

# Grey levels of 255. The hash of an image with less contrast would only encode its compression noise.
MIN_CONTRAST = 5.0

# The 8 lowest of 32 frequencies: rows of the orthonormal DCT-II. Importing SciPy for it would cost each worker 0.4 s.
_DCT = np.cos(np.pi / 32 * np.outer(np.arange(8), np.arange(32) + 0.5)) * np.sqrt(2 / 32)
_DCT[0] /= np.sqrt(2)


def perceptual_hash(jpeg: bytes) -> int:
    """Return 64 bits that hardly change when an image is resized, encoded again or slightly recoloured.

    Each bit says whether one of the 8 x 8 lowest frequencies of the grey image is above their median (Zauner,
    "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010). An image with very little contrast,
    such as a blank page, gets the first 64 bits of its SHA-256 instead: only identical files match it.
    """
    with Image.open(io.BytesIO(jpeg)) as image:
        grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.LANCZOS), np.float64)
    low = (_DCT @ grey @ _DCT.T).ravel()
    contrast = np.linalg.norm(low[1:]) / 32  # the standard deviation of the image's low frequencies
    if contrast < MIN_CONTRAST:
        return int.from_bytes(hashlib.sha256(jpeg).digest()[:8])
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes())


def near_pairs(hashes: np.ndarray, max_bits: int = MAX_BITS) -> np.ndarray:
    """Return all pairs of positions in `hashes` whose hashes differ in at most `max_bits` bits, int64 (n, 2).

    `hashes` is uint64 (m,), without repetitions. If the hash is cut into `max_bits` + 1 parts, such a pair agrees in
    at least one whole part. So only hashes that agree in a part are compared.
    """
    found = [np.empty((0, 2), np.int64)]
    for part in np.array_split(np.arange(64, dtype=np.uint64), max_bits + 1):
        values = hashes & np.bitwise_or.reduce(np.uint64(1) << part)
        order = np.argsort(values, kind="stable")
        for same in np.split(order, np.flatnonzero(np.diff(values[order])) + 1):
            near = np.bitwise_count(hashes[same, None] ^ hashes[same]) <= max_bits
            found.append(same[np.argwhere(np.triu(near, 1))])
    return np.unique(np.concatenate(found), axis=0)


def duplicate_groups(hashes: np.ndarray) -> list[str]:
    """Return the name of the group of near-duplicates that each hash (uint64, (n,)) belongs to.

    A group is one image and its near-duplicates; images with the most near-duplicates choose first. Groups are not
    joined through common members, as a chain of those could connect different paintings. The result does not depend
    on the order of the hashes.
    """
    distinct, position = np.unique(hashes, return_inverse=True)
    near: list[list[int]] = [[] for _ in distinct]
    for first, second in near_pairs(distinct).tolist():
        near[first].append(second)
        near[second].append(first)
    group = np.full(len(distinct), -1)
    for centre in sorted(range(len(distinct)), key=lambda index: -len(near[index])):
        if group[centre] < 0:
            members = [index for index in (centre, *near[centre]) if group[index] < 0]
            group[members] = centre
    return [f"{name:016x}" for name in distinct[group[position]].tolist()]
