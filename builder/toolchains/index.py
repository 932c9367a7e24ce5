"""How uv reaches the package index: as pip does on this machine.

uv reads neither pip's configuration files nor `PIP_*`. What they say of index, find-links, certificates and proxies is
said to uv in its own words here (uv: "Environment variables", 0.13). What the user tells uv itself (`UV_*`) wins.
Addresses may hold passwords: they go through the environment only, and nothing that uv says is passed on with them.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from builder.errors import ToolchainError
from builder.toolchains.pip import is_true, pip_settings

__all__ = ["Access", "index_access"]

_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSL_CLIENT_CERT")
# What else uv must see of the user's environment: where it, netrc and a keyring find what they are to know.
_KEPT = (
    *("HOME", "PATH", "NETRC", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"),
    *("DBUS_SESSION_BUS_ADDRESS", "PYTHON_KEYRING_BACKEND", *_CERTIFICATES),
)
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
# What of `UV_*` is about reaching packages. What is to be installed, and where to, is ours to say.
_UV = re.compile(
    r"UV_(DEFAULT_INDEX|INDEX|INDEX_.+|EXTRA_INDEX_URL|FIND_LINKS|INSECURE_HOST|HTTP_.+|REQUEST_TIMEOUT|OFFLINE"
    r"|KEYRING_PROVIDER|CREDENTIALS_DIR|NATIVE_TLS|SYSTEM_CERTS|CONFIG_FILE|NO_CONFIG|NO_SYSTEM_CONFIG"
    r"|CONCURRENT_.+|EXCLUDE_NEWER|TORCH_BACKEND)"
)
_OLDER_NAMES = {
    "UV_DEFAULT_INDEX": "UV_INDEX_URL",
    "UV_INDEX": "UV_EXTRA_INDEX_URL",
    "UV_HTTP_TIMEOUT": "UV_REQUEST_TIMEOUT",
    "UV_SYSTEM_CERTS": "UV_NATIVE_TLS",
}
# Which of them hold paths, and what stands between two.
_UV_PLACES = {
    **dict.fromkeys(("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL"), " "),
    "UV_FIND_LINKS": ",",
    "UV_CONFIG_FILE": "\n",
    "UV_CREDENTIALS_DIR": "\n",
}
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s,'\"<>]+")
_ADDRESS = re.compile(r"(?<=://)([^/\s`'\"<>]+)([^\s`'\"<>]*)")  # authority, and all that follows


@dataclass(frozen=True)
class Access:
    """How packages are had: the whole environment of uv, and options that have no variable."""

    environment: Mapping[str, str]
    options: tuple[str, ...] = ()

    def hide(self, text: str) -> str:
        """Return a text without what addresses tell: host, user, password, query, and the path of an index.

        They are found in whatever spelling they stand there; what lies below an index, such as a file's name, is told.
        """
        return self._secrets.sub("***", _ADDRESS.sub(self._rest, text))

    def _rest(self, address: re.Match[str]) -> str:
        path = self._paths.sub("***", re.split("[?#]", address[2])[0])
        return re.sub(r"\*{3}(/\*{3})+", "***", f"***{path}")

    @cached_property
    def _secrets(self) -> re.Pattern[str]:
        return _any_of(_secrets(self.environment))

    @cached_property
    def _paths(self) -> re.Pattern[str]:
        return _any_of(_paths(self.environment))


def index_access(user: Mapping[str, str], folder: Path) -> Access:
    """Return how uv reaches packages, given a user's environment and working directory. Raises ToolchainError."""
    settings = pip_settings(user, folder)
    own = {name: value for name, value in user.items() if value and _UV.fullmatch(name)}
    places = _Places(Path(user.get("HOME") or Path.home()), folder)
    said = {name: value for name, value in user.items() if name in _KEPT or name.lower() in _PROXIES}
    said |= {name: places.find(said[name]) for name in _CERTIFICATES if said.get(name)}
    for name, value in (*_certificates(settings, user, places), *_indexes(settings, places), *_network(settings)):
        if name not in own and _OLDER_NAMES.get(name) not in own:
            said[name] = value
    if proxy := settings.get("proxy"):
        said = {name: value for name, value in said.items() if name.lower() not in _PROXIES or "no_" in name.lower()}
        said |= {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy}
    if "UV_INDEX" in said:  # pip looks at all indexes alike
        said["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    if keyring := settings.get("keyring-provider"):
        said["UV_KEYRING_PROVIDER"] = _keyring(keyring, user)
    options = ("--no-index",) if is_true(settings, "no-index") else ()
    return Access({**said, **places.of_uv(own)}, options)


@dataclass(frozen=True)
class _Places:
    """Where paths lead that somebody wrote: from the user's working directory."""

    home: Path
    folder: Path

    def find(self, place: str) -> str:
        """Return an address as it is, and a path whole."""
        if "://" in place:
            return place
        rest = place.removeprefix("~/")
        return os.path.normpath((self.home if rest != place else self.folder) / rest)

    def of_uv(self, own: Mapping[str, str]) -> dict[str, str]:
        """Return the user's `UV_*`, good for another working directory."""
        found = dict(own)
        for name in own.keys() & _UV_PLACES.keys():
            mark = _UV_PLACES[name]
            words = [word for word in own[name].split(mark) if word]
            found[name] = mark.join(word if "=" in word else self.find(word) for word in words)  # NAME=ADDRESS
        return found


def _indexes(settings: Mapping[str, str], places: _Places) -> Iterator[tuple[str, str]]:
    if index := settings.get("index-url"):
        yield "UV_DEFAULT_INDEX", _index(index, places)
    if extra := settings.get("extra-index-url", "").split():
        yield "UV_INDEX", " ".join(_index(each, places) for each in extra)
    found = [places.find(link) for link in settings.get("find-links", "").split()]
    if links := [link for link in found if "://" in link or Path(link).exists()]:  # pip goes on without the others
        yield "UV_FIND_LINKS", ",".join(links)
    if hosts := settings.get("trusted-host", "").split():
        yield "UV_INSECURE_HOST", " ".join(hosts)


def _index(place: str, places: _Places) -> str:
    path = places.find(place)
    return path if "://" in path else Path(path).as_uri()


def _certificates(settings: Mapping[str, str], user: Mapping[str, str], places: _Places) -> Iterator[tuple[str, str]]:
    """Yield what is trusted: pip's `cert`, else what its HTTP client goes by, else the system's (as since pip 24.2)."""
    yield "UV_SYSTEM_CERTS", "1"
    chosen = settings.get("cert") or user.get("REQUESTS_CA_BUNDLE") or user.get("CURL_CA_BUNDLE")
    if chosen:
        bundle = places.find(chosen)
        yield ("SSL_CERT_DIR" if Path(bundle).is_dir() else "SSL_CERT_FILE"), bundle
    if client := settings.get("client-cert"):
        yield "SSL_CLIENT_CERT", places.find(client)


def _network(settings: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if seconds := settings.get("timeout"):
        yield "UV_HTTP_TIMEOUT", str(max(1, round(_number("timeout", seconds))))
    if retries := settings.get("retries"):
        yield "UV_HTTP_RETRIES", str(round(_number("retries", retries)))


def _keyring(provider: str, user: Mapping[str, str]) -> str:
    """Return uv's word: it asks a keyring by the program `keyring` or not at all."""
    there = provider != "disabled" and shutil.which("keyring", path=user.get("PATH"))
    return "subprocess" if there else "disabled"


def _number(name: str, text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(text) < 1e9:
            return float(text)
    raise ToolchainError(f"pip's configuration: {name} is '{text}', no number", f"pip config set global.{name} 60")


def _secrets(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield users, passwords and hosts of the addresses in an environment, each as it may be spelled."""
    for name, value in environment.items():
        if name.startswith("UV_INDEX_") and name.endswith(("_USERNAME", "_PASSWORD")):
            yield from _spellings([value])
        for url in _URL.findall(value):
            with contextlib.suppress(ValueError):
                parts = urlsplit(url)
                yield from _spellings([parts.username, parts.password, parts.hostname, parts.query])


def _paths(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield the parts of the paths of the addresses in an environment: some indexes have their token there."""
    for url in _URL.findall("\n".join(environment.values())):
        with contextlib.suppress(ValueError):
            parts = urlsplit(url)
            yield from _spellings(parts.path.split("/") if parts.hostname else [])


def _any_of(words: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(set(words), key=len, reverse=True)
    return re.compile("|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in longest_first) or "(?!)")


def _spellings(words: Iterable[str | None]) -> Iterator[str]:
    for word in filter(None, words):
        yield from (word, unquote(word), quote(unquote(word), safe=""))
