"""Where a project's own code lies: `model.code: FILE.py:NAME`, and the modules beside that file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from builder.recipe.locations import find_file

__all__ = ["CodePlace", "find_code"]


@dataclass(frozen=True)
class CodePlace:
    """A file of Python, and what to take from it. Modules beside it can be imported by it."""

    file: Path
    attribute: str

    @property
    def folder(self) -> Path:
        return self.file.parent

    @property
    def module(self) -> str:
        return self.file.stem

    @property
    def name(self) -> str:
        """Return what a worker is told: no path, since none belongs into a key."""
        return f"{self.module}:{self.attribute}"


def find_code(code: str) -> CodePlace:
    """Return where `FILE.py:NAME` leads; that it leads somewhere was checked with the recipe."""
    path, _, attribute = code.rpartition(":")
    return CodePlace(find_file(path).absolute(), attribute)
