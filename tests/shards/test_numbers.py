"""Numbers on command lines are read as they are in files: what is a number only by accident is refused."""

import argparse
import ast
import math

import pytest

from shards.numbers import real, whole
from tests.conftest import ROOT


@pytest.mark.parametrize("text", ["1_0", "010", "1:30", "yes", "", "1.5", "1e1", "nan"])
def test_what_is_no_plain_whole_number_is_refused_as_it_is_written(text):
    with pytest.raises(argparse.ArgumentTypeError, match=f"a whole number is wanted, not {text}$"):
        whole(text)


@pytest.mark.parametrize("text", ["1_0.5", "nan", "-inf", "infinity", "1e999", "010", "true"])
def test_what_is_no_plain_number_is_refused_as_it_is_written(text):
    with pytest.raises(argparse.ArgumentTypeError, match=f"a number is wanted, not {text}$"):
        real(text)


def test_plain_numbers_are_read():
    assert [whole(text) for text in ("0", "-3", "+4", "07", "12")] == [0, -3, 4, 7, 12]
    assert [real(text) for text in ("0.5", "1e-3", "2", ".5")] == [0.5, 1e-3, 2.0, 0.5]
    assert math.isfinite(real("1e300"))


def test_no_command_reads_a_number_as_python_does():
    lenient = [
        f"{file.relative_to(ROOT)}:{node.value.lineno}"
        for package in ("artnet", "launch", "shards")
        for file in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.keyword) and node.arg == "type" and isinstance(node.value, ast.Name)
        if node.value.id in ("int", "float")
    ]
    assert not lenient
