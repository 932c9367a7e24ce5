"""The newest builds as they lie delivered: their files against their manifests, and as copies of the store's bytes."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from builder.digest import digest_bytes
from builder.report.manifest import read_manifest
from builder.store.audit import Reader
from builder.store.cas import Entry, tree_listing
from builder.store.mend import Copy, Finding, Mender
from builder.store.roots import Root
from builder.store.usage import walk

__all__ = ["Newest", "copies", "expected_files", "find_newest", "next_command"]

_ARTIFACTS = "artifacts/"


@dataclass(frozen=True)
class Newest:
    """A delivered build whose manifest is as it was written."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def outputs(self) -> Iterator[dict[str, Any]]:
        """Yield what each action delivered: path, sha256 (of the tree) and bytes."""
        for action in self.manifest["actions"]:
            for output in action["outputs"].values():
                if output["path"] and _stays_inside(output["path"]):
                    yield output


def find_newest(roots: Sequence[Root]) -> tuple[list[Newest], list[Finding]]:
    """Return the newest builds of every project that shares a store, and what is wrong with their manifests."""
    builds, findings = [], []
    for root in roots:
        for folder in _folders(root.folder):
            path = folder / "manifest.json"
            manifest = read_manifest(folder)
            if manifest is not None:
                builds.append(Newest(folder, manifest))
            elif os.access(folder, os.R_OK | os.X_OK):  # else it is another user's, who can check it
                why = "it is not as it was written" if os.path.lexists(path) else "it is missing"
                findings.append(Finding("delivered", path, why, next=_build_again(root.folder)))
    return builds, findings


def _folders(folder: Path) -> list[Path]:
    """Return a build's own folder, or those of a sweep's builds."""
    with suppress(OSError):
        if not (folder / "manifest.json").exists() and (jobs := [each for each in folder.iterdir() if each.is_dir()]):
            return sorted(each for each in jobs if each.name.isdecimal()) or [folder]
    return [folder]


def _build_again(folder: Path) -> str:
    name = folder.parent.name
    words = "make the sweep again" if name == "sweeps" else f"python -m builder recipe={name}"
    return _from(folder, words)


def next_command(build: Newest) -> str:
    """Return the command that makes a build again, from where it was made."""
    return _from(build.folder, str(build.manifest["command"]))


def _from(folder: Path, command: str) -> str:
    place = next((parent.parent for parent in folder.parents if parent.name == "outputs"), folder)
    return command if place == Path.cwd() else f"cd {shlex.quote(str(place))} && {command}"


def copies(builds: Sequence[Newest], reader: Reader) -> dict[str, Copy]:
    """Return what of the store's content lies in the newest builds, each by the digest that its bytes have now."""
    found: dict[str, Copy] = {}
    for build in builds:
        for output in build.outputs:
            folder = build.folder / output["path"]
            entries = []
            for path in sorted(Path(entry.path) for entry in walk(folder)):
                if digest := reader.hash(path):
                    found.setdefault(digest, Copy(path))
                    entries.append(Entry(path.relative_to(folder).as_posix(), digest, path.stat().st_size))
            for listing in (tree_listing(entries), tree_listing(_declared(build, output["path"]))):
                if digest_bytes(listing) == output["sha256"]:
                    found[output["sha256"]] = Copy(folder, listing)
    return found


def _declared(build: Newest, output: str) -> Iterator[Entry]:
    """Yield the files that the manifest says an output has, by their paths in it."""
    for artifact in build.manifest["artifacts"]:
        if artifact["path"].startswith(f"{output}/"):
            yield Entry(artifact["path"].removeprefix(f"{output}/"), artifact["sha256"], artifact["bytes"])


def expected_files(build: Newest, mender: Mender) -> Iterator[Entry]:
    """Yield what a build delivered, as its manifest says, and where that only names a folder, as the store does."""
    for output in build.outputs:
        prefix = output["path"]
        if prefix.startswith(_ARTIFACTS):
            entries = list(_declared(build, prefix))
        else:
            tree = mender.tree(output["sha256"])
            entries = list(tree.files) if tree else []
        for entry in entries:
            if _stays_inside(entry.path):
                yield Entry(f"{prefix}/{entry.path}", entry.sha256, entry.bytes)


def _stays_inside(path: str) -> bool:
    parts = PurePosixPath(path)
    return not parts.is_absolute() and ".." not in parts.parts
