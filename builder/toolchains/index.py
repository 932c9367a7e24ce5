"""How uv reaches the package index: as pip does on this machine.

uv reads neither pip's configuration files nor `PIP_*`. What they say of index, find-links, certificates and proxies is
said to uv in its own words here (pip: "Configuration"; uv: "Environment variables", 0.13). What the user tells uv
itself (`UV_*`) wins. Addresses may hold passwords: they go through the environment only, and `masked` hides them.
"""

from __future__ import annotations

import configparser
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from builder.errors import ToolchainError

__all__ = ["masked", "pip_settings", "uv_environment"]

_SECTIONS = ("global", "install", "download")  # a later one wins
_KEPT = ("HOME", "PATH", "NETRC", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "SSL_CERT_FILE", "SSL_CERT_DIR")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_SECRET = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_TRUE = ("1", "true", "yes", "on", "y", "t")
# Said on our command line, or about folders that a build chooses.
_NOT_THE_USERS = ("UV_PYTHON", "UV_TARGET", "UV_PREFIX", "UV_CACHE_DIR", "UV_LINK_MODE", "UV_COMPILE_BYTECODE")


def uv_environment(user: Mapping[str, str]) -> dict[str, str]:
    """Return all that uv sees of a user's environment, with pip's settings in uv's words. Raises ToolchainError."""
    settings = pip_settings(user)
    said = {name: user[name] for name in user if name in _KEPT or name.lower() in _PROXIES}
    said |= {"UV_SYSTEM_CERTS": "1", "UV_NO_PROGRESS": "1"}  # pip takes the system's certificates since 24.2
    for name, setting in (
        ("UV_DEFAULT_INDEX", "index-url"),
        ("SSL_CERT_FILE", "cert"),
        ("SSL_CLIENT_CERT", "client-cert"),
        ("UV_HTTP_RETRIES", "retries"),
        ("UV_KEYRING_PROVIDER", "keyring-provider"),
    ):
        if settings.get(setting):
            said[name] = settings[setting]
    if extra := settings.get("extra-index-url", "").split():
        said |= {"UV_INDEX": " ".join(extra), "UV_INDEX_STRATEGY": "unsafe-best-match"}  # pip looks at all alike
    if places := settings.get("find-links", "").split():
        said["UV_FIND_LINKS"] = ",".join(places)
    if hosts := settings.get("trusted-host", "").split():
        said["UV_INSECURE_HOST"] = " ".join(hosts)
    if seconds := settings.get("timeout") or settings.get("default-timeout"):
        said["UV_HTTP_TIMEOUT"] = str(max(1, round(_number(seconds))))
    if proxy := settings.get("proxy"):
        said |= {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy}
    if settings.get("no-index", "").lower() in _TRUE:
        said["UV_NO_INDEX"] = "1"
    return said | {name: user[name] for name in user if name.startswith("UV_") and name not in _NOT_THE_USERS}


def pip_settings(user: Mapping[str, str]) -> dict[str, str]:
    """Return what pip's configuration files and `PIP_*` say, by pip's long option names. Raises ToolchainError."""
    found: dict[str, str] = {}
    for file in _files(user):
        found |= _read(file)
    for name, value in user.items():
        if name.startswith("PIP_") and name != "PIP_CONFIG_FILE" and value:
            found[name.removeprefix("PIP_").lower().replace("_", "-")] = value
    return found


def masked(text: str) -> str:
    """Return a text without the user names and passwords in its addresses."""
    return _SECRET.sub("***", text)


def _files(user: Mapping[str, str]) -> list[Path]:
    """Return pip's configuration files, the strongest last (pip: "Location")."""
    chosen = user.get("PIP_CONFIG_FILE")
    if chosen == os.devnull:
        return []
    home = Path(user.get("HOME") or Path.home())
    below = [Path(place) for place in (user.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":") if place]
    own = Path(user.get("XDG_CONFIG_HOME") or home / ".config")
    files = [*(place / "pip/pip.conf" for place in reversed(below)), Path("/etc/pip.conf"), home / ".pip/pip.conf"]
    return [*files, own / "pip/pip.conf", Path(sys.prefix) / "pip.conf", *([Path(chosen)] if chosen else [])]


def _read(file: Path) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(file, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError) as error:
        first = masked(str(error)).partition("\n")[0]
        raise ToolchainError(f"pip's configuration cannot be read: {first}", f"mend {file}") from error
    sections = [parser[name] for name in _SECTIONS if parser.has_section(name)]
    return {key.lower().replace("_", "-"): value for section in sections for key, value in section.items() if value}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ToolchainError(f"pip's configuration: timeout is '{text}', no number of seconds") from error
