"""A cache of shards that several users share, and one that cannot be made."""

import contextlib
import errno
import io
import os
import shutil
from pathlib import Path

import pytest

from artnet import train
from artnet.rundir import RunDir
from shards import files, remote
from shards.errors import UserError
from shards.files import file_sha256
from shards.remote import local_folder
from tests.users import UID, as_other, needs_root, public_folder

from .test_remote import edit_index

TAR = "wikiart-000000.tar"
GROUP = 54000


@pytest.fixture
def public(shards, monkeypatch):
    """A folder for all users, with shards in `served`; the cache is to be `cache` beside them."""
    with public_folder() as folder:
        shutil.copytree(shards, folder / "served")
        monkeypatch.setenv("ARTNET_CACHE", str(folder / "cache"))
        monkeypatch.setattr(remote, "RETRY_WAITS_S", ())
        yield folder


def modified(folder):
    return {file: (file.lstat().st_mtime_ns, file.lstat().st_mode) for file in folder.rglob("*")}


@needs_root
def test_another_user_uses_a_cache_that_is_not_theirs_but_only_if_it_is_right(public):
    url = f"file://{public}/served"
    with as_other(lambda: local_folder(url)) as said:
        assert f"holds no complete copy of {url} and cannot be written" in said
    folder = local_folder(url)
    before = modified(public)
    with as_other(lambda: local_folder(url)) as said:
        assert said == str(folder)
    assert modified(public) == before
    os.truncate(folder / TAR, 5000)
    with as_other(lambda: local_folder(url)) as said:
        assert f"{folder} holds other shards than {url} and cannot be written" in said


@needs_root
def test_another_user_takes_no_forged_index_from_a_cache_that_is_not_theirs(public):
    url = f"file://{public}/served"
    folder = local_folder(url)
    edit_index(folder, lambda about: about.update(seed=1))
    with as_other(lambda: local_folder(url)) as said:
        assert f"{folder} holds other shards than {url} and cannot be written" in said
    folder.chmod(0o777)
    with as_other(lambda: local_folder(url)) as said:
        assert f"{folder} can be written, or was made, by any user of this machine" in said
    folder.chmod(0o755)
    edit_index(public / "served", lambda about: about["checksums"].update({"../x.tar": "0" * 64}))
    planted = folder.with_name(file_sha256(public / "served" / "index.parquet"))
    shutil.copytree(public / "served", planted)
    with as_other(lambda: local_folder(url)) as said:
        assert "names an unsafe shard" in said


def test_a_cache_that_is_opened_to_all_during_a_wait_is_refused(public, monkeypatch):
    folder = local_folder(f"file://{public}/served")

    @contextlib.contextmanager
    def waits(file, busy):
        folder.chmod(0o777)
        yield

    monkeypatch.setattr(remote, "locked_patiently", waits)
    with pytest.raises(UserError, match=f"{folder} can be written, or was made, by any user"):
        local_folder(f"file://{public}/served")


@needs_root
@pytest.mark.parametrize("mode", [0o1777, 0o777])
def test_a_copy_that_another_user_made_where_all_can_write_is_refused(public, mode):
    url = f"file://{public}/served"
    cache = public / "cache" / "shards"
    cache.mkdir(parents=True)
    cache.chmod(mode)
    with as_other(lambda: local_folder(url)) as said:
        assert said.startswith(str(cache))
    with pytest.raises(UserError, match="can be written, or was made, by any user of this machine"):
        local_folder(url)


@needs_root
def test_a_group_downloads_into_one_cache_in_turn(public, monkeypatch):
    url = f"file://{public}/served"
    cache = public / "cache"
    cache.mkdir()
    os.chown(cache, 0, GROUP)
    cache.chmod(0o2775)

    def as_colleague():
        os.umask(0o002)
        files._UMASK = 0o002
        return local_folder(url)

    with as_other(as_colleague, GROUP) as said:
        folder = Path(said)
    assert folder.is_dir(), said
    assert (folder.parent / ".lock").stat().st_mode & 0o777 == 0o660
    os.truncate(folder / TAR, 5000)
    with as_other(as_colleague, GROUP, uid=UID + 1) as said:
        assert said == str(folder)
    assert (folder / TAR).stat().st_uid == UID + 1
    with as_other(as_colleague, uid=UID + 2) as said:  # not of the group: reads only
        assert said == str(folder)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("place", ["cache", ".lock", "index"])
def test_a_cache_that_cannot_be_written_is_one_sentence(public, monkeypatch, number, place):
    url = f"file://{public}/served"

    def fails(*arguments, **options):
        raise OSError(number, os.strerror(number), str(public / "cache"))

    if place == "cache":
        monkeypatch.setattr(Path, "mkdir", fails)
    elif place == ".lock":
        opened = os.open
        monkeypatch.setattr(
            os, "open", lambda path, *a, **k: fails() if str(path).endswith(".lock") else opened(path, *a, **k)
        )
    else:
        monkeypatch.setattr(remote, "atomic_write", fails)
    with pytest.raises(UserError, match=r"cannot be (used|downloaded)|holds no complete copy") as caught:
        local_folder(url)
    if number not in (errno.EACCES, errno.EROFS):  # then another user may write it
        assert os.strerror(number) in str(caught.value)
    assert str(public / "cache") in str(caught.value) and "\n" not in str(caught.value)


def test_a_full_disk_does_not_stop_the_use_of_a_complete_copy(public, monkeypatch):
    folder = local_folder(f"file://{public}/served")
    written = remote.atomic_write

    def fails(path, content):
        if path.name == remote.ANSWER:
            raise OSError(errno.ENOSPC, "No space left on device")
        written(path, content)

    monkeypatch.setattr(remote, "atomic_write", fails)
    assert local_folder(f"file://{public}/served") == folder


@pytest.mark.parametrize("kind", ["file", "loop"])
def test_what_is_no_folder_is_no_cache(public, monkeypatch, kind):
    cache = public / "cache"
    cache.touch() if kind == "file" else cache.symlink_to("cache")
    with pytest.raises(UserError, match=f"^{cache}.* cannot be used for the copy of .*set ARTNET_CACHE"):
        local_folder(f"file://{public}/served")


@pytest.mark.parametrize("name", [".answer", "index.parquet"])
def test_pipes_in_a_cache_are_not_waited_for(public, name):
    folder = local_folder(f"file://{public}/served")
    file = folder.parent / name if name == ".answer" else folder / name
    file.unlink()
    os.mkfifo(file)
    assert local_folder(f"file://{public}/served") == folder
    assert file.is_file()


def test_a_user_without_a_home_is_asked_for_a_cache(monkeypatch):
    for name in ("ARTNET_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as of a user without an entry in /etc/passwd
    with pytest.raises(UserError, match="no home folder; set ARTNET_CACHE"):
        local_folder("file:///x")


@needs_root
def test_a_run_that_can_be_read_but_not_written_is_not_trained_by_another_user(public, run_yaml):
    config = public / "run.yaml"
    config.write_text(run_yaml(data__shards=str(public / "served")).read_text())
    run = RunDir(public / "run")
    run.path.mkdir()
    options = ["--config", str(config), "--run-dir", str(run.path)]

    def trained():
        with contextlib.redirect_stderr(io.StringIO()) as error:
            return train.main(options), error.getvalue()

    for _ in range(2):  # without a lock, and with that of another user
        with as_other(trained) as said:
            assert said.startswith(f"(2, 'error: the lock {run.lock_file} cannot be used: Permission denied")
            assert said.count("\\n") == 1
        with run.locked():
            pass
    assert [file.name for file in run.path.iterdir()] == [".lock"]
