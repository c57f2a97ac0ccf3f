"""What plain torchrun shows of an error: the sentence, once and at the end."""

import json

import pytest

from artnet.distributed import error_file
from tests.artnet import runs
from tests.artnet.training.test_torchrun import TORCHRUN
from tests.conftest import python


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"optim__lr": -1}, "optim.lr: input"), ({"train__batch_size": 51}, "cannot be divided among 2 ranks")],
    ids=["before the ranks join", "after"],
)
def test_torchrun_shows_the_sentence_of_wrong_input_once_and_last(run_yaml, tmp_path, wrong, said):
    program = ("-m", "artnet.train", *runs.arguments(run_yaml(**wrong), tmp_path / "run"))
    ended = python(*TORCHRUN, "--nproc-per-node=2", *program)
    assert ended.returncode
    lines = ended.stderr.splitlines()
    assert ["error: " in line and said in line for line in lines].index(True) == len(lines) - 2, ended.stderr
    assert ended.stderr.count(said) == 1


@pytest.fixture
def torchrun(tmp_path, monkeypatch):
    """The variables that torchrun sets, of the first process on the last try."""
    file = tmp_path / "error.json"
    variables = {"ERROR_FILE": file, "RUN_ID": "x", "RESTART_COUNT": "1", "MAX_RESTARTS": "1"}
    for name, value in variables.items():
        monkeypatch.setenv(f"TORCHELASTIC_{name}", str(value))
    monkeypatch.setenv("LOCAL_RANK", "0")
    return file


def test_the_error_is_written_where_torchrun_reads_it_or_printed(torchrun, monkeypatch, capsys):
    error_file.report("error: a", lambda: False)
    assert json.loads(torchrun.read_text())["message"]["message"] == "error: a"
    assert capsys.readouterr().err == ""
    torchrun.unlink()
    for name, value in {"TORCHELASTIC_RESTART_COUNT": "0", "TORCHELASTIC_ERROR_FILE": "/nowhere/error.json"}.items():
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            error_file.report("error: b", lambda: False)
    assert capsys.readouterr().err == "error: b\n" * 2
    assert not torchrun.exists()


def test_a_process_that_torchrun_does_not_stop_has_an_error_of_its_own(torchrun, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(error_file, "OTHERS_WAIT_S", 0.01)
    error_file.report("error: of rank 1", lambda: False)
    assert "of rank 1" in torchrun.read_text()
