"""`artnet.train --keys`: what a run's configuration can hold."""

import subprocess
import sys

import pytest

from artnet import train
from artnet.config import fields, keys


def test_every_key_is_listed_with_its_meaning_on_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        train.main(["--keys"])
    listed = capsys.readouterr().out.splitlines()
    assert ended.value.code == 0
    assert [line for line in listed if not line.startswith(" ")] == list(fields())
    assert max(map(len, listed)) <= 80
    assert [key for key, field in fields().items() if not field.description] == []


def test_a_key_has_its_default_its_range_and_its_value_in_each_recipe() -> None:
    assert keys.listing("optim.weight_decay").splitlines()[1] == (
        "    recipe paper 0.0001, modern 5e-05; number, at least 0, at most 1"
    )
    assert keys.listing("data.start_size").splitlines()[1] == (
        "    default none; whole number, at least 33, at most 1024"
    )
    assert keys.listing("task").splitlines()[1].endswith("artist | style | genre | another task of the shards")
    assert keys.listing("augment").splitlines()[1].endswith("none | trivial")


def test_an_unknown_section_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(["--keys", "optm"]) == 2
    assert capsys.readouterr().err.startswith("error: --keys optm: there is no such section or key; give one of recipe")


def test_the_list_needs_no_torch() -> None:
    listed = "from artnet.config import keys; keys.listing()"
    program = f"import sys, artnet.train; {listed}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
