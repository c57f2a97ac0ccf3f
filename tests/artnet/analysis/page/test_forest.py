"""The forest plot: every mark is at its number, and labels are text."""

from xml.etree import ElementTree

import pytest

from artnet.analysis.page.forest import forest, slots

ROW = {"model": 1, "mean": 2.0, "low": -1.0, "high": 5.0, "p": 0.2, "method": "Dunnett", "covers": "trainings",
       "seeds": [1.0, 3.0], "published": 4.0}  # fmt: skip
OTHER = {**ROW, "model": 2, "mean": -3.0, "low": None, "high": None, "seeds": [], "published": None}


def test_marks_are_at_their_numbers_on_one_linear_axis():
    text = forest("style", [ROW, OTHER], ["base", "<b>&", "long " * 30])
    root = ElementTree.fromstring(text)  # noqa: S314 - made here
    assert root.attrib["width"] == "100%"
    at = {of.text: float(of.attrib["x"][:-1]) for of in root.iter("text") if of.attrib.get("text-anchor")}
    assert list(at) == ["-2", "0", "+2", "+4"]
    size = (at["+4"] - at["0"]) / 4

    def number(place):
        return (float(place[:-1]) - at["0"]) / size

    zero, *lines = root.iter("line")
    assert number(zero.attrib["x1"]) == pytest.approx(0, abs=0.01)
    (interval,) = [line for line in lines if line.attrib["stroke"] == "var(--c1)"]
    assert [number(interval.attrib[end]) for end in ("x1", "x2")] == pytest.approx([-1, 5], abs=0.01)
    dots = [number(dot.attrib["cx"]) for dot in root.iter("circle")]
    assert dots == pytest.approx([1, 3, 2, -3], abs=0.01)
    (diamond,) = [one for one in root.iter("svg") if one is not root]
    assert number(diamond.attrib["x"]) == pytest.approx(4, abs=0.01)
    titles = [title.text for title in root.iter("title")]
    assert titles[0] == "<b>&: +2.00 (-1.00 to +5.00, Dunnett, over trainings); published +4.00"
    assert max(len(of.text) for of in root.iter("text")) <= 44
    assert "style=" not in text


def test_only_tasks_with_differences_have_a_plot():
    data = {"models": [{"label": "<i>"}, {"label": "b"}], "baseline": 0, "differences": {"style": [ROW], "genre": []}}
    assert slots(data)["differences"].count('<svg class="forest"') == 1
    assert "<i>" not in slots(data)["differences"]
    assert slots({**data, "differences": {}}) == {}
    equal = {**ROW, "mean": 0, "low": None, "high": None, "seeds": [0, 0], "published": None}
    assert 'cx="' in slots({**data, "differences": {"style": [equal]}})["differences"]
