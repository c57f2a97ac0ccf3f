"""A command does its work whatever its standard streams are connected to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shards import errors
from tests.conftest import ROOT, environment

# Says more than a pipe holds, in characters that ASCII lacks, and then does its work.
PROGRAM = """
import pathlib, sys
from shards.errors import UserError, command
@command
def main(argv=None):
    for number in range(int(sys.argv[1])):
        print(f"91.2 \\u00b1 0.3 of Mus\\u00e9e", number)
    print("progress", file=sys.stderr)
    pathlib.Path("done").write_text(repr([sys.stdin.read(1) if sys.argv[2] else "", sys.stdin.isatty()]))
    if sys.argv[2] == "wrong":
        raise UserError("the sentence")
    return 7
raise SystemExit(main())
"""


def command(lines: int, how: str = "read") -> list[str]:
    return [sys.executable, "-c", PROGRAM, str(lines), how]


def shell(folder: Path, redirections: str, lines: int = 1, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f'exec "$@" {redirections}', "bash", *command(lines)],
        cwd=folder, env=environment(**variables), capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.parametrize("redirections", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_closed_streams_are_as_empty_and_unread_ones(tmp_path, redirections):
    ended = shell(tmp_path, redirections)
    assert ended.returncode == 7
    assert (tmp_path / "done").read_text() == "['', False]"
    assert ended.stderr == ("" if "2>" in redirections else "progress\n")
    assert ("91.2" in ended.stdout) == (">&-" not in redirections.replace("2>&-", ""))


@pytest.mark.parametrize("both", [False, True])
def test_a_pipe_that_nobody_reads_stops_no_work(tmp_path, both):
    reader, writer = os.pipe()
    os.close(reader)
    errors = writer if both else subprocess.PIPE
    ended = subprocess.run(command(9999), cwd=tmp_path, env=environment(), stdout=writer, stderr=errors, timeout=60)
    os.close(writer)
    assert ended.returncode == 7
    assert (tmp_path / "done").exists()
    assert both or ended.stderr == b"progress\n"


def test_a_full_disk_under_standard_output_is_one_sentence(tmp_path):
    ended = shell(tmp_path, ">/dev/full")
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith("error: standard output: No space left on device")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("variables", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_a_terminal_without_unicode_shows_ascii(tmp_path, variables):
    ended = shell(tmp_path, "", **variables)
    assert ended.returncode == 7, ended.stderr
    assert ended.stdout == "91.2 +- 0.3 of Mus\\xe9e 0\n"


@pytest.mark.parametrize("variables", [{}, {"PYTHONUNBUFFERED": "1"}])
def test_an_error_is_written_as_one_line_at_once(tmp_path, variables):
    reader, writer = os.pipe2(os.O_DIRECT)  # a read returns what one write has written
    subprocess.run(
        command(0, "wrong"), cwd=tmp_path, env=environment(**variables), stdin=subprocess.DEVNULL, stderr=writer
    )
    os.close(writer)
    assert [os.read(reader, 4096) for _ in range(3)] == [b"progress\n", b"error: the sentence\n", b""]
    os.close(reader)


def test_a_name_that_the_locale_cannot_write_is_one_sentence(tmp_path):
    program = 'from shards.errors import command; command(lambda argv=None: open("Mus\\u00e9e") and 0)()'
    ended = subprocess.run(
        [sys.executable, "-c", program + " == 2 or exit(1)"], cwd=ROOT, capture_output=True, text=True,
        env=environment(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"), timeout=60,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr == "error: 'Mus\\xe9e' is no file name in the ascii of this locale; set PYTHONUTF8=1\n"


def test_an_error_about_a_hostile_name_cannot_steer_the_terminal(capsys):
    @errors.command
    def main(argv=None):
        raise errors.UserError("\x1b]52;c;x\x07\x9b2J is no file")

    assert main([]) == 2
    assert capsys.readouterr().err == "error: ?]52;c;x??2J is no file\n"
