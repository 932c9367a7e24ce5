"""Web servers on this machine."""

from __future__ import annotations

import contextlib
import functools
import http.server
import ssl
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["serving"]


class _Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, moved: Mapping[str, str], cut: int, *arguments: object, **more: object) -> None:
        self._moved, self._cut = moved, cut
        super().__init__(*arguments, **more)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if self.path in self._moved:
            self.send_response(302)
            self.send_header("Location", self._moved[self.path])
            self.end_headers()
            return
        super().do_GET()

    def send_header(self, keyword: str, value: str) -> None:
        more = self._cut if keyword == "Content-Length" else 0
        super().send_header(keyword, str(int(value) + more) if more else value)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(
    folder: Path, tls: ssl.SSLContext | None = None, *, moved: Mapping[str, str] | None = None, cut: int = 0
) -> Iterator[int]:
    """Serve a folder on this machine, and yield the port.

    `moved` sends a path elsewhere; each file seems to be longer by `cut` bytes than what comes of it.
    """
    handler = functools.partial(_Handler, moved or {}, cut, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.socket = tls.wrap_socket(server.socket, server_side=True) if tls else server.socket
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
