"""What pip is told on this machine, by its configuration files and `PIP_*` (pip: "Configuration", 23.2 to 26)."""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from builder.errors import ToolchainError

__all__ = ["is_true", "pip_settings"]

_SECTIONS = ("global", "install")  # a later one wins, whichever file it stands in
_OTHER_NAMES = {"default-timeout": "timeout", "pypi-url": "index-url"}
_TRUE = ("y", "yes", "t", "true", "on", "1")
_PREFIX = "PIP_"


def pip_settings(user: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return what `pip install` goes by, by its long option names, given an environment and a working directory.

    As in pip, an empty value hides the same setting of weaker files, and counts as none.
    Raises ToolchainError where a file cannot be read.
    """
    found: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for file in _files(user, folder):
        for section, said in _read(file).items():
            found[section] |= said
    spoken = {name: value for name, value in user.items() if name.startswith(_PREFIX) and name != "PIP_CONFIG_FILE"}
    layers = [*found.values(), {_option(name.removeprefix(_PREFIX)): value for name, value in spoken.items()}]
    return {name: value for layer in layers for name, value in layer.items() if value}


def is_true(settings: Mapping[str, str], name: str) -> bool:
    """Return whether a switch is on. Raises ToolchainError for what is neither yes nor no."""
    word = settings.get(name, "no").lower()
    if word not in (*_TRUE, "n", "no", "f", "false", "off", "0"):
        raise ToolchainError(f"pip's configuration: {name} is '{word}', neither yes nor no")
    return word in _TRUE


def _files(user: Mapping[str, str], folder: Path) -> Iterator[Path]:
    """Yield pip's configuration files, the strongest last (pip's configuration.py: iter_config_files)."""
    chosen = user.get("PIP_CONFIG_FILE")
    if chosen == os.devnull:
        return
    for place in (user.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep):
        yield Path(place) / "pip/pip.conf"
    yield Path("/etc/pip.conf")
    if not (chosen and (folder / chosen).exists()):
        home = Path(user.get("HOME") or Path.home())
        yield home / ".pip/pip.conf"
        yield Path(user.get("XDG_CONFIG_HOME") or home / ".config") / "pip/pip.conf"
    yield Path(sys.prefix) / "pip.conf"
    if chosen:
        yield folder / chosen


def _read(file: Path) -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(file, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError) as error:  # their words may hold a line with a password
        raise ToolchainError(f"pip's configuration {file} cannot be read: {type(error).__name__}") from error
    return {
        section: {_option(name): value for name, value in parser[section].items()}
        for section in _SECTIONS
        if parser.has_section(section)
    }


def _option(name: str) -> str:
    plain = name.lower().replace("_", "-").removeprefix("--")
    return _OTHER_NAMES.get(plain, plain)
