"""shards/remote: shards from a URL are downloaded once, completely or not at all, from any faulty server."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from artnet import train
from artnet.config import build, dump, load, unflatten
from launch import local, slurm
from shards import remote
from shards.errors import UserError
from shards.index import read_index
from shards.locks import locked
from shards.reader import Reader
from shards.remote import local_folder
from shards.urls import check_url
from tests.conftest import ROOT, TINY

TAR = "wikiart-000000.tar"


class Server:
    """A folder over HTTP. `faults[NAME]` says what goes wrong in the next requests for a file."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.faults, self.served = folder, dict[str, list[str]](), Counter[str]()
        self.asked, self.released, self.outwaited = threading.Event(), threading.Event(), False
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rpartition("/")[2]
                server.served[name] += 1
                faults = server.faults.get(name, [])
                fault = faults.pop(0) if faults else ""
                if not (server.folder / name).is_file() or fault == "500":
                    self.send_error(500 if fault else 404)
                    return
                content = (server.folder / name).read_bytes()
                if fault == "flip":
                    content = content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]
                self.send_response(200)
                if fault != "unsized":  # otherwise cut short unnoticed but for its checksum
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if fault == "hold":
                    server.asked.set()
                    server.released.wait(60)
                self.wfile.write(content[: len(content) // 2] if fault in ("cut", "unsized", "stall") else content)
                if fault == "stall" and not server.released.wait(25):
                    server.outwaited = True

            def log_message(self, *arguments: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/data/wikiart"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        self.released.set()
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The packed demo paintings over HTTP, an empty cache, and two tries for each file."""
    shutil.copytree(shards, tmp_path / "served")
    monkeypatch.setenv("ARTNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(remote, "RETRY_WAITS_S", (0.01,))
    server = Server(tmp_path / "served")
    yield server
    server.stop()


def tars(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.tar"))


def edit_index(folder: Path, edit: Callable[[dict], None]) -> None:
    """Change the metadata of a folder's index."""
    table = pq.read_table(folder / "index.parquet")
    about = json.loads(table.schema.metadata[b"artnet"])
    edit(about)
    pq.write_table(table.replace_schema_metadata({"artnet": json.dumps(about)}), folder / "index.parquet")


def test_a_url_becomes_a_folder_of_the_same_paintings_once(server: Server, shards: Path):
    folder = local_folder(server.url)
    there, here = read_index(shards), read_index(folder)
    assert here.fingerprint == there.fingerprint
    rows = range(here.table.num_rows)
    assert [Reader(here)[row] for row in rows[:5]] == [Reader(there)[row] for row in rows[:5]]
    assert local_folder(server.url + "/") == folder
    assert server.served == {"index.parquet": 2, TAR: 1}
    for harm in (Path.unlink, lambda tar: os.truncate(tar, 5000), lambda tar: tar.write_bytes(bytes(100_000))):
        harm(folder / TAR)
        assert (local_folder(server.url) / TAR).read_bytes() == (shards / TAR).read_bytes()
    assert local_folder(shards) == shards
    assert read_index(local_folder(f"file://{shards}")).fingerprint == there.fingerprint


@pytest.mark.parametrize("fault", ["500", "cut", "unsized", "stall", "flip"])
def test_a_bad_transfer_is_retried_and_never_used(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
):
    if fault == "stall":
        monkeypatch.setattr(remote, "STALL_TIMEOUT_S", 1.0)
    server.faults = {TAR: [fault] * 2, "index.parquet": [fault]}
    with pytest.raises(UserError, match=f"{server.url}/{TAR} cannot be downloaded"):
        local_folder(server.url)
    assert not tars(tmp_path / "cache") and not list((tmp_path / "cache").rglob("*.tmp"))
    assert server.served[TAR] == 2
    server.faults = {TAR: [fault]}
    folder = local_folder(server.url)
    assert hashlib.sha256((folder / TAR).read_bytes()).hexdigest() == read_index(folder).checksums[TAR]
    assert server.served[TAR] == 4
    assert not server.outwaited


def test_finished_shards_are_kept_when_a_later_one_fails(server: Server, tmp_path: Path):
    shutil.copy(server.folder / TAR, server.folder / "second.tar")
    edit_index(server.folder, lambda about: about["checksums"].update({"second.tar": about["checksums"][TAR]}))
    server.faults = {"second.tar": ["cut"] * 2}
    with pytest.raises(UserError, match=r"second\.tar"):
        local_folder(server.url)
    assert [file.name for file in tars(tmp_path / "cache")] == [TAR]
    assert len(tars(local_folder(server.url))) == 2
    assert server.served[TAR] == 1


def test_two_processes_download_every_shard_once(server: Server):
    server.faults = {TAR: ["hold"]}
    with ThreadPoolExecutor() as pool:
        first = pool.submit(local_folder, server.url)
        assert server.asked.wait(60)
        code = "import sys; from shards.remote import local_folder; print(local_folder(sys.argv[1]))"
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen([sys.executable, "-c", code, server.url], cwd=ROOT, text=True, **pipes) as second:
            assert second.stderr.readline().startswith("another process is downloading")
            server.released.set()
            assert second.stdout.read() == f"{first.result()}\n"
    assert second.returncode == 0
    assert server.served[TAR] == 1


def test_a_changed_data_set_is_downloaded_next_to_the_old_one_and_the_last_one_is_used_without_a_server(
    server: Server, capsys: pytest.CaptureFixture[str]
):
    original = (server.folder / "index.parquet").read_bytes()
    old = local_folder(server.url)
    edit_index(server.folder, lambda about: about.update(seed=1))
    new = local_folder(server.url)
    assert old != new and tars(old) and tars(new)
    (server.folder / "index.parquet").write_bytes(original)
    assert local_folder(server.url) == old
    assert capsys.readouterr().err == ""
    server.stop()
    assert local_folder(server.url) == old
    warning = capsys.readouterr().err
    assert warning.startswith(f"warning: {server.url} cannot be reached") and warning.count("\n") == 1
    with pytest.raises(UserError, match="cannot be downloaded"):
        local_folder(server.url + "-2")


def test_ranks_that_waited_do_not_ask_a_dead_server_again(server: Server, capsys: pytest.CaptureFixture[str]):
    folder = local_folder(server.url)
    server.stop()
    with ThreadPoolExecutor() as pool:
        with locked(folder.parent / ".lock", wait_s=0):
            ranks = [pool.submit(local_folder, server.url) for _ in range(3)]
            said = ""
            while said.count("another process is downloading") < 3:
                said += capsys.readouterr().err
                time.sleep(0.01)
        assert {rank.result() for rank in ranks} == {folder}
    assert capsys.readouterr().err.count("warning:") == 1


def test_an_incomplete_copy_is_not_used_without_a_server(server: Server):
    server.faults = {TAR: ["500"] * 2}
    with pytest.raises(UserError, match=f"{TAR} cannot be downloaded"):
        local_folder(server.url)
    server.stop()
    with pytest.raises(UserError, match="cannot be downloaded"):
        local_folder(server.url)


@pytest.mark.parametrize("name", ["../x.tar", "/x.tar", ".lock", "index.parquet", "a/b.tar", "x.tar\n", ".x.tar"])
def test_a_hostile_shard_name_is_refused(server: Server, tmp_path: Path, name: str):
    edit_index(server.folder, lambda about: about["checksums"].update({name: "0" * 64}))
    with pytest.raises(UserError, match="unsafe shard"):
        local_folder(server.url)
    assert not tars(tmp_path) or tars(tmp_path) == [server.folder / TAR]


SECRETS = [
    "http://me:secret@host/x", "https://host/x?token=secret", "https://host/x#secret", "https://secret@host/x",
    "https://secret%40host/x", "https://me:secret/x@host/y", "s3://KEY:secret/b@bucket", "gs://secret@bucket",
    "a::s3://me:secret@b/x", "https://host/x::s3://me:secret@b/y",
]  # fmt: skip


@pytest.mark.parametrize("url", SECRETS)
def test_a_secret_in_a_url_is_refused_and_not_repeated(url: str):
    with pytest.raises(UserError, match="holds a password") as caught:
        local_folder(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", SECRETS[3:7])
def test_a_secret_in_a_url_reaches_no_file(tmp_path: Path, capfd: pytest.CaptureFixture[str], url: str):
    (tmp_path / "grid.yaml").write_text("name: x\nfixed: {task: style}\n")
    for door in (local, slurm):
        assert door.main(["--grid", str(tmp_path / "grid.yaml"), "--runs", str(tmp_path / "runs"), "--data", url]) == 2
    output = "".join(capfd.readouterr())
    assert output.count("holds a password") == 2 and "secret" not in output
    assert not any(b"secret" in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


@pytest.mark.parametrize(
    "url", ["https://h/a@b", "http://127.0.0.1:80/x", "https://[::1]:80/x", "s3://b/a/c@d", "gs://b", "file:///a/b"]
)
def test_other_urls_are_allowed(url: str):
    check_url(url)


@pytest.mark.parametrize(
    "url", ["reference://x", "simplecache::https://h/x", "zip://a.zip::s3://b", "memory://x", "github://a:b@c/d",
     "https://host/x::memory://y", "file:///x::reference://y"],
)  # fmt: skip
def test_urls_that_fsspec_would_interpret_are_refused(url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(remote, "url_to_fs", lambda *arguments, **options: pytest.fail("fsspec was asked"))
    with pytest.raises(UserError, match=r"cannot be read; give a folder, or a URL that|holds a password"):
        local_folder(url)


def test_no_clock_makes_a_planted_copy_current(server: Server, shards: Path):
    folder = local_folder(server.url)
    planted = folder.with_name("f" * 64)
    shutil.copytree(folder, planted)
    (planted / TAR).write_bytes(b"another")
    later = time.time() + 1e6
    os.utime(planted / "index.parquet", (later, later))
    assert local_folder(server.url) == folder
    server.stop()
    assert local_folder(server.url) == folder  # the one that was used last


def test_a_folder_is_named_by_its_index_and_a_forged_index_is_replaced(server: Server, shards: Path):
    folder = local_folder(server.url)
    wanted = (shards / "index.parquet").read_bytes()
    assert folder.name == hashlib.sha256(wanted).hexdigest()
    edit_index(folder, lambda about: about["checksums"].update({TAR: "0" * 64}))
    assert (local_folder(server.url) / "index.parquet").read_bytes() == wanted
    old = folder.rename(folder.with_name(folder.name[:16]))  # as the first versions named it
    server.served.clear()
    assert local_folder(server.url) == old and server.served == {"index.parquet": 1}


def test_a_cache_that_cannot_be_written_is_used_if_it_is_right(server: Server, monkeypatch: pytest.MonkeyPatch):
    folder = local_folder(server.url)
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and access(path, mode))  # root may write
    monkeypatch.setattr(remote, "locked_patiently", lambda *arguments: pytest.fail("the lock was taken"))
    before = {file: file.stat().st_mtime_ns for file in folder.parent.rglob("*")}
    assert local_folder(server.url) == folder
    assert before == {file: file.stat().st_mtime_ns for file in folder.parent.rglob("*")}
    whole = (folder / TAR).read_bytes()
    (folder / TAR).write_bytes(whole[:-1] + b"x")
    with pytest.raises(UserError, match="holds other shards"):
        local_folder(server.url)
    (folder / TAR).write_bytes(whole)
    server.stop()
    assert local_folder(server.url) == folder


def test_a_cache_that_any_user_may_write_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch):
    folder = local_folder(server.url)
    folder.chmod(0o777)
    with pytest.raises(UserError, match="any user of this machine"):
        local_folder(server.url)
    folder.chmod(0o775)
    assert local_folder(server.url) == folder
    folder.parents[1].chmod(0o1777)
    assert local_folder(server.url) == folder
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)  # another user made the folder there first
    if folder.stat().st_uid == 0:
        os.chown(folder.parent, 12345, -1)
    with pytest.raises(UserError, match="any user of this machine"):
        local_folder(server.url)


def test_a_run_keeps_its_url(tmp_path: Path):
    url = "https://host/a//wikiart"
    config = build(unflatten({**TINY, "data.shards": url}))
    (tmp_path / "run.yaml").write_text(dump(config.with_shards(url)))
    again = load(tmp_path / "run.yaml")
    assert again == config and again.data.shards == url
    assert again.signature == build(unflatten(TINY)).signature
    assert again.with_shards("data").data.shards == str(Path("data").resolve())


def test_commands_say_in_one_sentence_what_is_wrong_with_a_url(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)  # a training handles SIGTERM
    (tmp_path / "run.yaml").write_text("task: style\n")
    (tmp_path / "grid.yaml").write_text("name: x\nfixed: {task: style}\n")
    server.folder.joinpath("index.parquet").unlink()
    for url, problem in ((server.url + "/none/", "not found"), ("gopher://host/x", "gopher")):
        for main, *options in (
            (train.main, "--config", tmp_path / "run.yaml", "--run-dir", tmp_path / "run"),
            (local.main, "--grid", tmp_path / "grid.yaml", "--runs", tmp_path / "runs"),
        ):
            assert main([*map(str, options), "--data", url]) == 2
            error = capsys.readouterr().err
            assert error.startswith("error: ") and error.count("\n") == 1
            assert url.rstrip("/") in error and problem in error
            assert not (tmp_path / "run").exists()
    assert server.served["index.parquet"] == 2  # a missing file is not asked for again
