"""Write several files or none."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from builder.errors import UsageError
from builder.recipe.locations import share

__all__ = ["check_free", "write"]


def check_free(paths: Iterable[Path], name: str, *, force: bool) -> None:
    """Raise UsageError where a file is there already, or where what is built in has the name."""
    paths = list(paths)
    ours = share()
    taken = [path for path in paths if (ours / path).exists() and ours != Path.cwd()]
    if taken:
        raise UsageError(f"'{name}' is built in: {taken[0]} comes with builder", f"write --name my_{name}")
    there = [str(path) for path in paths if os.path.lexists(path)]
    if there and not force:
        verb = "is" if len(there) == 1 else "are"
        raise UsageError(
            f"{', '.join(there)} {verb} there already; nothing was written", "add --force, or another --name"
        )
    if folders := [path for path in paths if path.is_dir()]:
        raise UsageError(f"{folders[0]} is a folder", "move it away, or write another --name")


def write(files: Mapping[Path, str]) -> None:
    """Write all files and the folders they need, or leave everything as it was and raise UsageError.

    Every text is on disk before the first file takes its place; where one cannot, those before it get their old
    content back. Only a power cut in between leaves some new and some old.
    """
    made: list[Path] = []
    staged: dict[Path, Path] = {}
    before: dict[Path, bytes | None] = {}
    replaced: list[Path] = []
    try:
        for path, text in files.items():
            before[path] = path.read_bytes() if path.exists() else None
            missing = [folder for folder in path.parents if not folder.exists()]
            for folder in reversed(missing):
                folder.mkdir()
                made.append(folder)
            staged[path] = path.with_name(f".{path.name}.{os.getpid()}")
            staged[path].write_text(text, encoding="utf-8")
        for path, temporary in staged.items():
            temporary.replace(path)
            replaced.append(path)
    except OSError as error:
        _undo({done: before[done] for done in replaced}, staged.values(), made)
        raise UsageError(
            f"cannot write {path}: {error.strerror}", "run init in a folder where you may write"
        ) from error


def _undo(replaced: Mapping[Path, bytes | None], staged: Iterable[Path], made: Sequence[Path]) -> None:
    """Give files their old content back, and remove what was not there; as far as the disk lets us."""
    for path, content in replaced.items():
        with suppress(OSError):
            path.unlink() if content is None else path.write_bytes(content)
    for temporary in staged:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    for folder in reversed(made):
        with suppress(OSError):
            folder.rmdir()
