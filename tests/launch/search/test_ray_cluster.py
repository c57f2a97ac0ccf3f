"""Ray's folder, in which the token of its cluster lies."""

import os

from launch.search.ray_cluster import private_folder, token_file
from tests.users import MALLORY, needs_root, run_as


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
