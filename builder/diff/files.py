"""The delivered files of two builds, byte by byte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from builder.diff.actions import Pair
from builder.diff.changes import How
from builder.diff.graphs import GraphChange, graph_change
from builder.diff.naming import Build
from builder.digest import digest_file
from builder.onnxtools.bytewise import ByteDifference, byte_difference

__all__ = ["FileChange", "Version", "file_changes"]

_MODEL = ".onnx"


@dataclass(frozen=True)
class Version:
    """A file of one build: its path in that build's folder, SHA-256 and size."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class FileChange:
    """An artifact's file that is not the same; without `bytes` where the files are no longer there to compare."""

    path: str
    how: How
    old: Version | None = None
    new: Version | None = None
    bytes: ByteDifference | None = None
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
        elif left.sha256 == right.sha256 and not _edited(left, right, old, new):
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
    if edited := _edited(left, right, old, new):
        return FileChange(right.path, How.CHANGED, left, right, note=f"not compared further: {', '.join(edited)}")
    graph = graph_change(*paths) if right.path.endswith(_MODEL) else None
    return FileChange(right.path, How.CHANGED, left, right, byte_difference(*paths), graph)


def _edited(left: Version, right: Version, old: Build, new: Build) -> list[str]:
    """Return what became of the files since they were delivered, in words; nothing where they are as they were."""
    words = []
    for path, its in ((old.folder / left.path, left), (new.folder / right.path, right)):
        if not path.is_file():
            words.append(f"{path} is gone")
        elif digest_file(path) != its.sha256:
            words.append(f"{path} was changed after the build")
    return list(dict.fromkeys(words))
