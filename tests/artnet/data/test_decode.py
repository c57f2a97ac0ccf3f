"""JPEGs that were changed at random are decoded or refused: no crash of the process."""

import subprocess
import sys

import numpy as np
import pytest
import simplejpeg

from artnet.data.decode import decode
from tests.conftest import ROOT

MUTANTS = """
import random, sys
import numpy as np, simplejpeg
from artnet.data.decode import decode
rng = random.Random(0)
sound = simplejpeg.encode_jpeg(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))
refused = 0
for _ in range(int(sys.argv[1])):
    jpeg = bytearray(sound[: rng.choice([len(sound), rng.randrange(len(sound))])])
    for _ in range(rng.randrange(1, 9)):
        if jpeg:
            jpeg[rng.randrange(min(len(jpeg), rng.choice([700, len(jpeg)])))] = rng.randrange(256)
    try:
        decode(bytes(jpeg))
    except ValueError:
        refused += 1
assert refused > int(sys.argv[1]) / 4
"""


@pytest.mark.parametrize("count", [300, pytest.param(20_000, marks=pytest.mark.slow)])
def test_no_mutant_crashes_the_decoder(count):
    subprocess.run([sys.executable, "-c", MUTANTS, str(count)], cwd=ROOT, check=True, timeout=60 + count / 20)


def test_a_chroma_subsampling_that_is_not_known_is_refused():
    jpeg = bytearray(simplejpeg.encode_jpeg(np.zeros((40, 60, 3), np.uint8)))
    jpeg[jpeg.index(b"\xff\xc0") + 11] = 0x14
    with pytest.raises(ValueError, match="chroma subsampling, 6"):
        decode(bytes(jpeg))
