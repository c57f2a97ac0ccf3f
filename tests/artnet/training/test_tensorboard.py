"""The figures of a finished run, whatever its classes are called and however many they are."""

import io

import pytest
import torch
from matplotlib.figure import Figure

from artnet.inference.predict import Predictions
from artnet.training.tensorboard import MAX_NAMED, confusion_figure


def confusion(names: list[str]) -> Figure:
    return confusion_figure(
        Predictions(torch.eye(len(names)), torch.arange(len(names)), torch.arange(len(names))), names, "type, val"
    )


@pytest.mark.parametrize("name", ["$\\frac$", "_hidden", "oil on canvas, " * 30])
def test_class_names_are_drawn_as_they_are(name: str) -> None:
    figure = confusion([name, "other"])
    figure.savefig(io.BytesIO(), format="png")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [name.replace("_", " ")[:40], "other"]
    assert figure.axes[0].get_position().width > 0.15  # the names leave room for the matrix


def test_a_thousand_classes_have_a_figure_of_the_largest_size_that_is_named() -> None:
    sizes = [confusion([str(number) for number in range(count)]).get_size_inches() for count in (MAX_NAMED, 1_000)]
    assert sizes[0].tolist() == sizes[1].tolist()
    assert sizes[0].max() < 30
