"""The page of a sweep on a local address: rendered again when the sweep's files have changed."""

import hashlib
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock

from shards.errors import UserError

HOST = "127.0.0.1"
FILES = ("manifest.json", "search.jsonl")
RUN_FILES = ("state.json", "result.json", "metrics.jsonl", "predictions.parquet")


class Server(ThreadingHTTPServer):
    """Serves the page that `render` returns as `/`, and as `/version` a text that changes with the files of `folder`.

    It listens on this machine only and answers only those who call it by a name of this machine, so that no other
    site's page can read it.
    """

    daemon_threads = True

    def __init__(self, folder: Path, render: Callable[[], str], port: int = 0) -> None:
        super().__init__((HOST, port), Handler)
        self.folder = folder
        self._render = render
        self._lock = Lock()
        self._page: tuple[str, str] | None = None

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        return f"http://{HOST}:{self.server_port}/"

    def version(self) -> str:
        """A digest of when the files of the sweep and of its runs were last written."""
        times = [_written(self.folder / name) for name in FILES]
        times += [_written(run / name) for run in sorted(self.folder.iterdir()) if run.is_dir() for name in RUN_FILES]
        return hashlib.sha256(repr(times).encode()).hexdigest()[:16]

    def page(self) -> str:
        """The page of the files as they are now."""
        with self._lock:
            version = self.version()
            if self._page is None or self._page[0] != version:
                self._page = version, self._render()
            return self._page[1]


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Server

    def do_GET(self) -> None:
        """The page or its version; nothing else is served."""
        if self.headers.get("Host", "").rpartition(":")[0] not in (HOST, "localhost"):
            self.send_error(HTTPStatus.FORBIDDEN)
        elif self.path in ("/", "/version"):
            kind = "text/html" if self.path == "/" else "text/plain"
            try:
                self._send(self.server.page() if self.path == "/" else self.server.version(), kind)
            except UserError as error:  # the sweep's manifest was removed or is broken
                self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, explain=str(error))
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _send(self, text: str, kind: str) -> None:
        content = text.encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing of requests."""


def _written(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0
