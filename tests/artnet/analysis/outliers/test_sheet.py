import io
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from artnet.analysis.outliers.neighbours import neighbours
from artnet.analysis.outliers.ranking import rank
from artnet.analysis.outliers.sheet import contact_sheet
from shards.index import read_index
from shards.reader import Reader

from .made import evidence

N = 40


def test_a_row_has_the_painting_its_labels_and_the_nearest_of_both_classes(shards, monkeypatch):
    index = read_index(shards)
    reader, of = Reader(index), evidence(N)
    row_of = dict(zip(of.keys.tolist(), np.random.default_rng(1).permutation(len(index.table))[:N], strict=True))
    keys = index.table["key"].to_pylist()
    of = replace(of, keys=np.array([keys[row_of[key]] for key in of.keys]))
    found = neighbours(np.random.default_rng(0).normal(size=(N, 4)), of.parts, of.labels, of.rivals)
    ranking, said = rank(of, found), []
    monkeypatch.setattr(ImageDraw.ImageDraw, "multiline_text", lambda self, place, text, *_, **__: said.append(text))
    sheet = Image.open(io.BytesIO(contact_sheet(ranking, index)))

    def painting(position: int) -> np.ndarray:
        with Image.open(io.BytesIO(reader[keys.index(of.keys[position])])) as image:
            return np.asarray(ImageOps.pad(image.convert("RGB"), (120, 120), color="white"))

    for place, row in enumerate(ranking.order[:30].tolist()):
        shown = [row, *found.nearest_own[row, :3], *found.nearest_rival[row, :3]]
        for column, position in enumerate(shown):
            left = 8 + 128 * column + 258 * (column > 0) + 8 * (column > 3)
            top = 44 + 128 * place
            assert (np.asarray(sheet.crop((left, top, left + 120, top + 120))) == painting(position)).all()
        share, given, predicted = of.probabilities[row], of.labels[row], of.predicted[row]
        title = f"{place + 1}. {of.keys[row]}"
        assert said[place].splitlines() == [
            title if len(title) <= 34 else f"{title[:33]}…",
            f"given: class {given}",
            f"  {share[given]:.3f}",
            f"predicted: class {predicted}",
            f"  {share[predicted]:.3f}",
            f"margin: {of.margins[row]:+.3f}",
        ]
