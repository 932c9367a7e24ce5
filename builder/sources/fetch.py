"""Files from an address: by https with the user's proxies and certificates, whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from builder.errors import SourceError

__all__ = ["at_hub", "download", "known_address"]

_CHUNK = 1 << 20
_TIMEOUT_S = 60
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def download(
    url: str, target: Path, local: Mapping[str, Any], report: Callable[[int, int, str], None], hint: str
) -> None:
    """Fetch a file; `hint` is what to do where that fails, and `report` gets MiB as they come. Raises SourceError."""
    if local["offline"]:
        raise SourceError(f"{url} is not in the store, and offline=true forbids fetching it", hint)
    _check(url)
    try:
        with _as_the_user(local["environment"]):
            _fetch(url, target, report)
    except (URLError, HTTPException, OSError) as error:
        target.unlink(missing_ok=True)
        reason = error if isinstance(error, HTTPError) else getattr(error, "reason", error)
        raise SourceError(f"cannot fetch {url}: {reason}", f"check the network and the address; {hint}") from error


def known_address(folder: Path) -> str:
    """Return the address in a folder that holds `address.json`: {"url": ...}."""
    url: str = json.loads((folder / "address.json").read_text(encoding="utf-8"))["url"]
    return url


def at_hub(url: str, environment: Mapping[str, str]) -> str:
    """Return where a file of the hub is to be had here: HF_ENDPOINT may name a mirror. Raises SourceError."""
    endpoint = environment.get("HF_ENDPOINT", "").rstrip("/")
    if "@" in urlsplit(endpoint).netloc:
        raise SourceError("HF_ENDPOINT holds a user or password, which reports would keep", "name the host alone")
    return f"{endpoint}{urlsplit(url).path}" if endpoint else url


def _fetch(url: str, target: Path, report: Callable[[int, int, str], None]) -> None:
    with build_opener(_Redirects).open(url, timeout=_TIMEOUT_S) as response, target.open("wb") as file:
        total, done = int(response.headers.get("Content-Length") or 0), 0
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            done += len(chunk)
            report(done // _CHUNK, max(done, total) // _CHUNK, "MiB")
    if total > done:  # the connection was closed early, which http.client says of no read of a part
        raise URLError(f"only {done:,} of {total:,} bytes came")


class _Redirects(HTTPRedirectHandler):
    """Goes where a server points, unless what comes from there could have been changed on its way."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        _check(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check(url: str) -> None:
    """Raise SourceError for what could be read and changed on its way here."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise SourceError(f"nothing is fetched from {parts.scheme}://{parts.hostname}", "only https is safe on its way")


@contextmanager
def _as_the_user(environment: Mapping[str, str]) -> Iterator[None]:
    """Use the proxies and certificates that the user's environment names; a worker's own has none."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
