"""Files as digests, written under a passing name and renamed once they are complete."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, Callable, Iterator

from builder.device.stop import Stop

__all__ = [
    "canonical",
    "check_room",
    "digest",
    "digest_file",
    "files_below",
    "read_json",
    "remove",
    "write",
    "write_json",
]

_CHUNK = 1 << 20
_MARGIN = 16 << 20  # bytes that a system needs to stay usable


def canonical(value: Any) -> bytes:
    """Return JSON with sorted keys and no spaces: equal values, equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(value: Any) -> str:
    return hashlib.sha256(canonical(value)).hexdigest()


def digest_file(path: Path) -> str:
    state = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            state.update(chunk)
    return state.hexdigest()


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write(path, lambda part: part.write_text(text, encoding="utf-8"))


def write(path: Path, fill: Callable[[Path], object]) -> None:
    """Let `fill` write a file under a passing name beside its final one, and rename it once it is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        fill(part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        if part.exists():
            part.unlink()
        raise


def files_below(folder: Path) -> Iterator[str]:
    """Yield the paths of the files below a folder, with forward slashes, in order."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix()


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(str(path))
    elif path.exists() or path.is_symlink():
        path.unlink()


def check_room(folder: Path, needed: int) -> None:
    """Raise Stop where the disk of a folder has less room than that."""
    free = shutil.disk_usage(str(folder)).free
    if free < needed + _MARGIN:
        raise full(folder, needed + _MARGIN, free)


def full(folder: Path, needed: int | None = None, free: int | None = None) -> Stop:
    """Return what to say where a disk has no room."""
    free = shutil.disk_usage(str(folder)).free if free is None else free
    wanted = f"{-(-needed >> 20)} MiB" if needed else "more"
    return Stop(
        f"no room left on the disk of {folder}: {wanted} needed, {free >> 20} MiB free",
        "make room, or say where there is some (--work FOLDER), and resume again: what is done is kept",
    )


def trouble(error: OSError, folder: Path) -> Stop:
    """Return what to say where the system refuses a file."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return full(folder)
    place = error.filename or folder
    return Stop(
        f"{place}: {error.strerror or error}", "say where it may write: --work FOLDER" if error.filename else ""
    )
