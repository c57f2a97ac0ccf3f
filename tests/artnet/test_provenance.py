"""Which code a result came from."""

import os
from pathlib import Path

import pytest

from artnet import provenance

pytestmark = pytest.mark.usefixtures("in_time")


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff", b"5", b"{", "pipe", "device", "huge"])
def test_a_note_about_the_code_that_is_none_is_no_note(tmp_path, monkeypatch, content):
    file = tmp_path / "snapshot.json"
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "artnet" / "provenance.py"))
    file.write_text('{"sha": "0123"}')
    assert provenance.git_state() == {"sha": "0123"}
    file.unlink()
    if content == "pipe":
        os.mkfifo(file)
    elif content == "device":
        file.symlink_to("/dev/zero")
    elif content == "huge":
        file.touch()
        os.truncate(file, 10_000_000_000)
    else:
        file.write_bytes(content)
    assert provenance.git_state() == {}
    assert Path(provenance.__file__).parents[1] == tmp_path
