"""Ray's folder, in which the token of its cluster lies."""

import os
import tempfile

from launch.search import ray_cluster
from launch.search.ray_cluster import private_folder, token_file
from tests.users import MALLORY, needs_root, run_as


def test_what_killed_launchers_have_left_is_removed_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(ray_cluster, "LONGEST", 1000)
    (tmp_path / "artnet-ray-killed").mkdir()
    (tmp_path / "artnet-ray-killed" / "lock").touch()
    (tmp_path / "artnet-ray-halfgone").mkdir()
    os.utime(tmp_path / "artnet-ray-halfgone", (0, 0))
    (tmp_path / "artnet-ray-new").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "artnet-ray-link").symlink_to(tmp_path / "mine")
    with private_folder() as first, private_folder() as second:
        kept = {"artnet-ray-new", "artnet-ray-link", "mine"}
        assert {path.name for path in tmp_path.iterdir()} == kept | {first.name, second.name}
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_another_cluster_is_joined_with_its_own_variables_only_where_it_is_asked_for(tmp_path):
    around = {"RAY_ADDRESS": "203.0.113.1:6379", "RAY_AUTH_TOKEN_PATH": "/theirs", "RAY_TMPDIR": "/long", "HOME": "/h"}
    own = ray_cluster.environment(tmp_path, around, joins=False)
    assert not {"RAY_ADDRESS", "RAY_TMPDIR"} & own.keys() and own["HOME"] == "/h"
    theirs = ray_cluster.environment(tmp_path, around, joins=True)
    where = [variables["RAY_AUTH_TOKEN_PATH"] for variables in (own, theirs)]
    assert where == [str(tmp_path / "token"), "/theirs"]
    assert own["RAY_AUTH_MODE"] == "token" and "RAY_AUTH_MODE" not in theirs
    assert own["RAY_worker_niceness"] == theirs["RAY_worker_niceness"] == "0"


@needs_root
def test_nobody_else_can_read_the_folder_of_ray(monkeypatch):
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"):  # restored at the end
        monkeypatch.setenv(name, "")
    before = os.umask(0)
    try:
        with private_folder() as folder:
            (folder / "other").touch()
            reads = (lambda: [*folder.iterdir()], lambda: token_file(folder).open(), lambda: (folder / "other").open())
            for read in reads:
                code, said = run_as(MALLORY, read)
                assert (code, "PermissionError" in said) == (99, True)
    finally:
        os.umask(before)
