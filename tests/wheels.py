"""Tiny wheels that tests make themselves, and indexes that serve them."""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import io
import ssl
import threading
import zipfile
from collections.abc import Iterator, Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

__all__ = ["Index", "make_wheel", "serve"]


def make_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    tag: str = "py3-none-any",
    requires: str = "",
    files: Mapping[str, str] | None = None,
) -> Path:
    """Write a wheel of one package NAME whose `answer()` says its version.

    `requires` is a requirement; `files` are further files, by path in the wheel.
    """
    info = f"{name}-{version}.dist-info"
    needed = [f"Requires-Dist: {requires}"] if requires else []
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *needed, ""]
    inside = {
        f"{name}/__init__.py": f"def answer():\n    return '{name} {version}'\n",
        **(files or {}),
        f"{info}/METADATA": "\n".join(metadata),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = io.StringIO()
    rows = [(path, f"sha256={_checksum(text)}", len(text.encode())) for path, text in inside.items()]
    csv.writer(record, lineterminator="\n").writerows([*rows, (f"{info}/RECORD", "", "")])
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in {**inside, f"{info}/RECORD": record.getvalue()}.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return wheel


def _checksum(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


class Index:
    """A simple index (PEP 503) of a folder of wheels, on this machine."""

    def __init__(self, server: ThreadingHTTPServer, scheme: str) -> None:
        self._server = server
        self._scheme = scheme
        self.asked: list[str] = []  # path of each request that was let in
        self.refused = 0
        self.open = threading.Event()  # while it is not set, no file is handed out
        self.open.set()
        self.credentials: tuple[str, str] | None = None

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    def url(self, user: str = "") -> str:
        """Return its address, with `user:password` in front of the host if given."""
        return f"{self._scheme}://{user}{'@' if user else ''}localhost:{self.port}/simple/"

    def lets_in(self, authorization: str | None) -> bool:
        if self.credentials is None:
            return True
        expected = base64.b64encode(":".join(self.credentials).encode()).decode()
        return authorization == f"Basic {expected}"


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, index: Index, folder: Path, *arguments: object) -> None:
        self._index, self._folder = index, folder
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if not self._index.lets_in(self.headers.get("Authorization")):
            self._index.refused += 1
            self._answer(401, b"", {"WWW-Authenticate": "Basic realm=here"})
            return
        self._index.asked.append(self.path)
        *_, kind, name = ["", *self.path.strip("/").split("/")]
        wheels = sorted(self._folder.glob("*.whl"))
        if kind == "files":
            self._index.open.wait(60)
            self._answer(200, (self._folder / name).read_bytes(), {"Content-Type": "application/octet-stream"})
        elif found := [wheel.name for wheel in wheels if wheel.name.partition("-")[0] == name]:
            page = "".join(f'<a href="/files/{wheel}">{wheel}</a>' for wheel in found)
            self._answer(
                200, f"<!DOCTYPE html><html><body>{page}</body></html>".encode(), {"Content-Type": "text/html"}
            )
        else:
            self._answer(404, b"", {})

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer(self, code: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serve(
    folder: Path, credentials: tuple[str, str] | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[Index]:
    """Yield an index of the wheels in a folder, which lets in who knows the credentials."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    index = Index(server, "https" if tls else "http")
    index.credentials = credentials
    server.RequestHandlerClass = partial(_Handler, index, folder)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that does not trust us hangs up
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield index
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
