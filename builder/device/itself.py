"""Which program this is: numbers belong to the one that took them, and the keys of results say which that was."""

from __future__ import annotations

import hashlib
import pkgutil
from pathlib import Path

import builder.device as package
from builder.device.files import digest

__all__ = ["program_digest"]


def program_digest() -> str:
    """Return the digest of this program's own source, from its archive or its folder: {file: SHA-256}, as JSON."""
    names = ["__init__", *(module.name for module in pkgutil.iter_modules(package.__path__))]
    return digest({f"{name}.py": hashlib.sha256(_source(name)).hexdigest() for name in names})


def _source(name: str) -> bytes:
    content = pkgutil.get_data(package.__name__, f"{name}.py")
    assert content is not None, f"{Path(package.__path__[0], name)}.py cannot be read"
    return content
