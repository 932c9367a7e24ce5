"""`show --serve`: the builds of a recipe over time, for a browser on this machine alone."""

from __future__ import annotations

import json
import os
import shutil
import socketserver
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from builder.digest import digest_bytes
from builder.errors import UsageError
from builder.report.history import Past, render_history
from builder.report.manifest import read_manifest
from builder.show.find import PAGE, builds_in

__all__ = ["LOOPBACK", "Server"]

_SCHEMA = 1  # of the manifests and reports that this version reads
LOOPBACK = "127.0.0.1"
_HTML = "text/html; charset=utf-8"
# Nothing but our own page is HTML to a browser, whatever a model brought along.
_TYPES = {
    ".json": "application/json",
    **dict.fromkeys((".log", ".md", ".xml", ".yaml", ".txt"), "text/plain; charset=utf-8"),
}
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Server(ThreadingHTTPServer):
    """Serves the builds in one recipe's folder, to be read only, on loopback at a port (0: a free one)."""

    daemon_threads = True

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder.resolve()
        self.name = folder.name
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except OSError as error:
            hint = "take another one, or leave --port out for a free one"
            raise UsageError(f"show: cannot listen at port {port}: {error.strerror}", hint) from error

    @property
    def address(self) -> str:
        return f"http://{LOOPBACK}:{self.server_port}/"

    def server_bind(self) -> None:
        """Bind without asking a name server who we are, as the standard library's would."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", int(self.server_address[1])

    def index(self) -> bytes:
        """Return the page of all builds as they are now."""
        return render_history(self.name, [_past(build) for build in builds_in(self.folder)]).encode()

    def file(self, path: str) -> Path | None:
        """Return the file of a build that a path of an address names; None where it leads anywhere else."""
        parts = path.split("/")
        if any(part in ("", ".", "..") or "\0" in part or "\\" in part for part in parts):
            return None
        builds = {build.name for build in builds_in(self.folder)} | {"latest"}
        with suppress(OSError, RuntimeError):  # the latter is Python 3.11's word for links that go in a circle
            file = self.folder.joinpath(*parts).resolve(strict=True)
            if parts[0] in builds and file.is_relative_to(self.folder) and file.is_file():
                return file
        return None


def _past(build: Path) -> Past:
    manifest = read_manifest(build)
    with suppress(OSError):
        content = (build / "report.json").read_bytes()
        intact = manifest is not None and digest_bytes(content) == manifest.get("pages", {}).get("report.json")
        if intact and manifest and manifest["schema"] == _SCHEMA:
            return Past(build.name, json.loads(content))
    return Past(build.name, None)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        with suppress(ConnectionError, TimeoutError):  # the browser has gone
            self._answer()

    do_HEAD = do_GET  # noqa: N815

    def _refuse(self) -> None:
        self._send_text(HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "GET, HEAD", "Connection": "close"})

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse  # noqa: N815

    def _answer(self) -> None:
        if not self._is_asked_for_by_name():
            self._send_text(HTTPStatus.FORBIDDEN)
            return
        path = unquote(self.path.partition("?")[0])
        if path == "/":
            self._send(_HTML, self.server.index())
        elif file := self.server.file(path.removeprefix("/")):
            self._send_file(file)
        else:
            self._send_text(HTTPStatus.NOT_FOUND)

    def _is_asked_for_by_name(self) -> bool:
        """Say whether the address bar holds us: not a foreign name that was made to lead here (DNS rebinding)."""
        port = self.server.server_port
        return self.headers.get_all("Host", []) in ([f"{LOOPBACK}:{port}"], [f"localhost:{port}"])

    def _send_file(self, file: Path) -> None:
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:  # it is gone meanwhile, or another user's
            self._send_text(HTTPStatus.NOT_FOUND)
            return
        ours = file.name == PAGE and file.parent.parent == self.server.folder
        kind = _HTML if ours else _TYPES.get(file.suffix, "application/octet-stream")
        with os.fdopen(descriptor, "rb") as reader:
            self._head(HTTPStatus.OK, kind, os.fstat(descriptor).st_size)
            if self.command != "HEAD":
                shutil.copyfileobj(reader, self.wfile)

    def _send(self, kind: str, content: bytes) -> None:
        self._head(HTTPStatus.OK, kind, len(content))
        if self.command != "HEAD":
            self.wfile.write(content)

    def _send_text(self, status: HTTPStatus, headers: dict[str, str] | None = None) -> None:
        content = f"{status.phrase}\n".encode()
        self._head(status, _TYPES[".txt"], len(content), headers)
        if self.command != "HEAD":
            self.wfile.write(content)

    def _head(self, status: HTTPStatus, kind: str, length: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        about = {"Content-Type": kind, "Content-Length": str(length)}
        for name, value in {**about, **_HEADERS, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def version_string(self) -> str:
        return "builder"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the standard library's name
        """Say nothing: the terminal belongs to the user."""
