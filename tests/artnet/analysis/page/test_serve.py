"""The served page: on this machine only, rendered again when the sweep has changed."""

import http.client
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from artnet.analysis.page.serve import HOST, Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "run").mkdir()
    state = tmp_path / "run" / "state.json"
    state.write_text("first")
    served = Server(tmp_path, state.read_text)
    thread = Thread(target=served.serve_forever)
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


def ask(server: Server, path: str, host: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection(HOST, server.server_port, timeout=60)
    connection.request("GET", path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    content = answer.read().decode()
    connection.close()
    return answer.status, content


def test_the_page_is_rendered_again_when_a_run_has_changed(server: Server) -> None:
    (status, version), first = ask(server, "/version"), ask(server, "/")
    assert (status, first, ask(server, "/version")[1]) == (200, (200, "first"), version)
    (server.folder / "run" / "result.json").write_text("{}")
    (server.folder / "run" / "state.json").write_text("second")
    assert ask(server, "/version")[1] != version
    assert ask(server, "/") == (200, "second")


def test_nothing_else_is_served_and_to_nobody_else(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert ask(server, "/run/state.json")[0] == 404
    assert ask(server, "/../run/state.json")[0] == 404
    assert ask(server, "/", host="attacker.example:80")[0] == 403
    assert ask(server, "/", host=f"localhost:{server.server_port}")[0] == 200
