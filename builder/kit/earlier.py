"""The manifest of the build that waited for a device, kept beside the one that the device's result completed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from builder.digest import digest_file
from builder.engine.node import Node
from builder.outcomes import Status
from builder.outputs import OUTPUTS
from builder.report.manifest import read_manifest

__all__ = ["EARLIER", "earlier_digest", "keep_earlier", "keep_earlier_again"]

EARLIER = "manifest.deferred.json"


def keep_earlier(folder: Path, manifest: Mapping[str, Any], nodes: Sequence[Node], newest: Path) -> None:
    """Copy the manifest of the build that waited into the folder of one that a device completed, where it is known."""
    if manifest["devices"] and (found := _that_waited(manifest["name"], nodes, newest)):
        with suppress(FileNotFoundError):
            shutil.copyfile(found, folder / EARLIER)


def keep_earlier_again(folder: Path, manifest: Mapping[str, Any], nodes: Sequence[Node], digest: str) -> None:
    """Put the copy of this digest in the place of one that somebody changed, else one of an equal build.

    Where no build that waited is left, there is none any more.
    """
    (folder / EARLIER).unlink(missing_ok=True)
    files = (each / name for each in _folders(manifest["name"]) for name in ("manifest.json", EARLIER))
    if same := next((file for file in files if _digest(file) == digest), None):
        shutil.copyfile(same, folder / EARLIER)
    else:
        keep_earlier(folder, manifest, nodes, folder)


def earlier_digest(folder: Path) -> dict[str, str]:
    """Return the digest by which a manifest notices that the copy beside it was changed."""
    digest = _digest(folder / EARLIER)
    return {EARLIER: digest} if digest else {}


def _that_waited(name: str, nodes: Sequence[Node], newest: Path) -> Path | None:
    """Return the manifest of the build that waited for what devices have sent: its portable keys are those of now."""
    keys = {node.action.name: node.portable for node in nodes if node.portable}

    def same(folder: Path) -> dict[str, Any] | None:
        found = read_manifest(folder) or {"actions": []}
        theirs = {each["name"]: each["portable"] for each in found["actions"] if each.get("portable")}
        return found if theirs == keys else None

    for folder in _folders(name):
        if (found := same(folder)) and found["status"] == Status.DEFERRED.word and not found["devices"]:
            return folder / "manifest.json"
    return newest / EARLIER if same(newest) else None  # the folder that waited was removed


def _folders(name: str) -> Iterator[Path]:
    """Yield the folders of a recipe's own builds, then those of sweeps, the newest first."""
    for folders in ((OUTPUTS / name).glob("[0-9]*"), (OUTPUTS / "sweeps").glob("[0-9]*/*")):
        yield from sorted(folders, reverse=True)


def _digest(file: Path) -> str:
    try:
        return digest_file(file)
    except (FileNotFoundError, NotADirectoryError):
        return ""
