"""Which code a result came from."""

import os
import subprocess
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


def test_the_recorded_changes_hold_no_secret_and_say_so(tmp_path, monkeypatch):
    file = tmp_path / "artnet" / "settings.py"
    file.parent.mkdir()
    git = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b"]
    file.write_text("lr = 0.1\n")
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    file.write_text("lr = 0.2\ntoken = 'hf_abcdefghijklmnopqrstuv'\n")
    monkeypatch.setattr(provenance, "__file__", str(file))
    diff = provenance.git_state()["diff"]
    assert "+lr = 0.2" in diff and "+[left out: it looks like a secret]" in diff and "hf_" not in diff
