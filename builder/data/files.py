"""Where the files of a dataset lie. Standard library only: the planner hashes what is found here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import TypeVar

from builder.errors import DataError
from builder.specs import Data, Split

__all__ = ["in_portion", "locate", "relative", "sample_and_label_files", "take_turns", "visible"]

T = TypeVar("T")


def locate(data: Data, path: str, what: str) -> Path:
    """Return the absolute path of a file or folder below the dataset's root.

    Raises DataError where it is missing, with what is there instead, and where `path` leads out of the root.
    """
    inside = PurePosixPath(path)
    if inside.is_absolute() or ".." in inside.parts:
        raise DataError(f"data '{data.name}': {what} '{path}' leads out of the root", hint="write it relative to root")
    root = Path(data.root).absolute()
    if not root.is_dir():
        raise DataError(f"data '{data.name}': there is no folder {root}", hint="set data.root")
    found = root / inside
    if not found.exists():
        raise DataError(f"data '{data.name}': there is no {what} '{path}' in {root}", hint=_listing(root))
    return found


def sample_and_label_files(data: Data, split: Split) -> list[Path]:
    """Return the file that holds a split's samples and, where it has one, the file of their labels."""
    paths = [locate(data, split.path, "file")]
    if split.labels:
        paths.append(locate(data, split.labels, "file of labels"))
    return sorted(paths)


def relative(data: Data, path: Path) -> str:
    """Return a path as the dataset calls it: from its root, with slashes."""
    return path.relative_to(Path(data.root).absolute()).as_posix()


def visible(folder: Path) -> list[Path]:
    """Return what lies in a folder, sorted by name, without hidden files."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def take_turns(groups: Iterable[list[T]]) -> Iterator[T]:
    """Yield the first of each group, then the second of each: so that the first N are a fair choice of classes."""
    missing = object()
    for row in zip_longest(*groups, fillvalue=missing):
        yield from (item for item in row if item is not missing)  # type: ignore[misc]


def in_portion(stored: bytes, split: Split) -> bool:
    """Tell whether a sample is in the split, by the SHA-256 of its stored bytes read as a number in [0, 1)."""
    low, high = split.portion
    if (low, high) == (0.0, 1.0):
        return True
    number: float = int.from_bytes(hashlib.sha256(stored).digest()[:6], "big") / 2**48
    return low <= number < high


def _listing(folder: Path, most: int = 8) -> str:
    names = [path.name + "/" * path.is_dir() for path in visible(folder)]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"there is: {', '.join(names[:most])}{more}" if names else "the folder is empty"
