"""The delivered files of two builds, byte by byte."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.diff.actions import Pair
from builder.diff.changes import How
from builder.diff.graphs import GraphChange, graph_change
from builder.diff.naming import Build

__all__ = ["ByteChange", "FileChange", "Version", "file_changes"]

_CHUNK = 1 << 20
_MODEL = ".onnx"


@dataclass(frozen=True)
class Version:
    """A file of one build: its path in that build's folder, SHA-256 and size."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class ByteChange:
    """Where two files part: the first offset, and how many of the bytes that both have differ."""

    first_offset: int
    differing: int
    compared: int


@dataclass(frozen=True)
class FileChange:
    """An artifact's file that is not the same; without `bytes` where the files are no longer there to compare."""

    path: str
    how: How
    old: Version | None = None
    new: Version | None = None
    bytes: ByteChange | None = None
    graph: GraphChange | None = None
    note: str = ""


def file_changes(old: Build, new: Build, pairs: Sequence[Pair]) -> tuple[list[FileChange], int]:
    """Return what differs between the artifacts of two builds, and how many files are the same."""
    before = _versions(old, {pair.was: pair.name for pair in pairs})
    after = _versions(new, {})
    found, same = [], 0
    for place in dict.fromkeys([*before, *after]):
        left, right = before.get(place), after.get(place)
        path = (right or left or Version("", "", 0)).path
        if left is None or right is None:
            found.append(FileChange(path, How.ADDED if left is None else How.REMOVED, left, right))
        elif left.sha256 == right.sha256:
            same += 1
        else:
            found.append(_changed(left, right, old, new))
    return found, same


def _versions(build: Build, names: dict[str, str]) -> dict[tuple[str, str], Version]:
    """Return the files of a build by their action's name in the second build and their path in its folder."""
    found = {}
    for artifact in build.manifest["artifacts"]:
        action, path = artifact["action"], artifact["path"]
        place = names.get(action, action), path.removeprefix(f"artifacts/{action}/")
        found[place] = Version(path, artifact["sha256"], artifact["bytes"])
    return found


def _changed(left: Version, right: Version, old: Build, new: Build) -> FileChange:
    paths = old.folder / left.path, new.folder / right.path
    gone = [path for path in paths if not path.is_file()]
    compared, digests = (None, (left.sha256, right.sha256)) if gone else _compare(*paths)
    edited = [path for path, digest, its in zip(paths, digests, (left, right), strict=True) if digest != its.sha256]
    if gone or edited:
        words = [*(f"{path} is gone" for path in gone), *(f"{path} was changed after the build" for path in edited)]
        return FileChange(right.path, How.CHANGED, left, right, note=f"not compared further: {', '.join(words)}")
    graph = graph_change(*paths) if right.path.endswith(_MODEL) else None
    return FileChange(right.path, How.CHANGED, left, right, compared, graph)


def _compare(left: Path, right: Path) -> tuple[ByteChange, tuple[str, str]]:
    """Return where two files part and the SHA-256 of each; both are read once."""
    import numpy as np

    states = hashlib.sha256(), hashlib.sha256()
    first, differing, compared = None, 0, 0
    with left.open("rb") as one, right.open("rb") as other:
        while any(pieces := (one.read(_CHUNK), other.read(_CHUNK))):
            for state, piece in zip(states, pieces, strict=True):
                state.update(piece)
            common = min(map(len, pieces))
            before, after = (np.frombuffer(piece[:common], np.uint8) for piece in pieces)
            apart = np.flatnonzero(before != after)
            if first is None and apart.size:
                first = compared + int(apart[0])
            differing += apart.size
            compared += common
    digests = states[0].hexdigest(), states[1].hexdigest()
    return ByteChange(compared if first is None else first, differing, compared), digests
