import csv
import io
from dataclasses import replace

import numpy as np

from artnet.analysis.outliers.neighbours import neighbours
from artnet.analysis.outliers.ranking import rank
from artnet.analysis.outliers.table import outliers_csv

from .made import evidence


def test_a_line_for_each_painting_with_all_digits_and_without_formulas():
    of = evidence(40)
    of = replace(of, classes=["=HYPERLINK(1)", "Bert, the \x1b[2Jelder", "Cleo"], parts=np.tile(["val", "test"], 20))
    of.probabilities[:4] = 0.998 * np.eye(3)[(of.labels[:4] + 1) % 3] + 0.001  # surely another class
    of.probabilities[:4] /= of.probabilities[:4].sum(1, keepdims=True)
    found = neighbours(np.random.default_rng(0).normal(size=(40, 4)), of.parts, of.labels, of.rivals)
    ranking = rank(of, found)
    lines = list(csv.DictReader(io.StringIO(outliers_csv(ranking))))
    assert [int(line["rank"]) for line in lines] == list(range(1, 41))
    assert [line["key"] for line in lines] == of.keys[ranking.order].tolist()
    names = np.array(["'=HYPERLINK(1)", "Bert, the ?[2Jelder", "Cleo"])
    assert 0 < ranking.doubted.sum() < 40
    for line, row in zip(lines, ranking.order.tolist(), strict=True):
        label, rival = of.labels[row], of.rivals[row]
        assert [line[name] for name in ("given", "predicted", "rival")] == names[
            [label, of.predicted[row], rival]
        ].tolist()
        assert (line["split"], int(line["doubted"])) == (of.parts[row], ranking.doubted[row])
        assert float(line["given_probability"]) == of.probabilities[row, label]
        assert float(line["rival_probability"]) == of.probabilities[row, rival]
        assert (float(line["score"]), float(line["label_quality"])) == (ranking.scores[row], ranking.quality[row])
        assert float(line["margin"]) == of.probabilities[row, label] - of.probabilities[row, rival]
        assert (float(line["own_distance"]), float(line["rival_distance"])) == (found.own[row], found.rival[row])
        assert line["nearest_own"].split() == of.keys[found.nearest_own[row, :3]].tolist()
        assert line["nearest_rival"].split() == of.keys[found.nearest_rival[row, :3]].tolist()
        assert row not in found.nearest_own[row]


def test_without_an_embedding_its_columns_are_empty():
    line = next(csv.DictReader(io.StringIO(outliers_csv(rank(evidence(20))))))
    assert line["own_distance"] == line["nearest_own"] == "" and line["label_quality"]
