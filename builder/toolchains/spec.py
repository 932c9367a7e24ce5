"""What a toolchain is: an interpreter and a locked set of packages that actions run in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from builder.digest import digest_json

__all__ = ["HOST", "Lock", "Locked", "Pin", "Toolchain"]

HOST = "host"  # the interpreter that runs this program, with what is installed there

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_PYTHON = re.compile(r"3\.\d+")
_PACKAGE = re.compile(r"[A-Za-z0-9][^\n@:/\\]*")  # an index has it: no address, no path, no option of an installer
_OLDEST = (3, 11)  # what the worker is written for


@dataclass(frozen=True)
class Pin:
    """One package of a lock: its version, where it applies (PEP 508 marker), and the SHA-256 of its files."""

    version: str
    hashes: tuple[str, ...]
    marker: str = ""


@dataclass(frozen=True)
class Lock:
    """Every package of a toolchain, pinned; `asked` is the digest of the request that it answers.

    Of `sources` a pin says which archive is built; what is built from it is in no wheel.
    """

    python: str
    asked: str
    pins: Mapping[str, Pin]
    sources: tuple[str, ...] = ()  # as the toolchain names them

    @property
    def digest(self) -> str:
        """Return what stands for the lock in action keys: how the file is laid out does not matter."""
        pins = {name: [pin.version, sorted(pin.hashes), pin.marker] for name, pin in self.pins.items()}
        built = {"sources": sorted(self.sources)} if self.sources else {}
        return digest_json("builder.lock.v1", {"python": self.python, "pins": pins, **built})


@dataclass
class Toolchain:
    """A toolchain as `conf/toolchain/NAME.yaml` describes it. Raises ValueError for what cannot be."""

    name: str
    python: str  # such as '3.11'
    packages: list[str]  # as pip takes them, such as 'torch==2.13.0'
    summary: str = ""
    license: str = ""  # where it binds whoever uses it
    sources: list[str] = field(default_factory=list)  # packages that are built from source: they have no wheel
    overrides: list[str] = field(default_factory=list)  # what is taken whatever a package itself asks for

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name == HOST:
            raise ValueError(f"name: expected small letters, digits, - and _, and not '{HOST}', got '{self.name}'")
        if not _PYTHON.fullmatch(self.python):
            raise ValueError(f"python: expected a version such as '3.11', got '{self.python}'")
        if tuple(map(int, self.python.split("."))) < _OLDEST:
            raise ValueError(f"python: the worker needs {'.'.join(map(str, _OLDEST))} or newer, got '{self.python}'")
        if not self.packages:
            raise ValueError("packages: expected at least one package")
        for each in (*self.packages, *self.sources):
            if not _PACKAGE.fullmatch(each):
                raise ValueError(f"packages: expected a package of an index such as 'numpy>=2', got '{each}'")

    @property
    def asked(self) -> str:
        """Return the digest of what is asked for: a lock made for something else is out of date."""
        parts = [self.python, sorted(self.packages), sorted(self.sources)]
        return digest_json("builder.toolchain.v1", [*parts, *([sorted(self.overrides)] if self.overrides else [])])


@dataclass(frozen=True)
class Locked:
    """A toolchain with its lock, and the lock as text for the installer."""

    toolchain: Toolchain
    lock: Lock
    text: str

    @property
    def action(self) -> str:
        """Return the name of the action that puts it together."""
        return f"toolchain.{self.toolchain.name}"
