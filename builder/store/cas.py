"""Bytes by digest: files under their SHA-256, folders as canonical listings of such files.

An object is copied into a private folder while it is hashed, synced, and renamed: under its final name it is complete.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from builder.digest import canonical, copy_hashed, digest_bytes
from builder.errors import StepError, StoreError
from builder.store.statcache import StatCache

__all__ = ["Content", "Damaged", "Entry", "Tree"]


class Damaged(Exception):  # noqa: N818  a finding, handled by building again
    """An object is absent or its bytes are not what its name says."""

    def __init__(self, digest: str, what: str) -> None:
        super().__init__(f"object {digest[:12]} is {what}")
        self.digest = digest


@dataclass(frozen=True, order=True)
class Entry:
    """A file of a tree: its path with forward slashes, the SHA-256 of its bytes, and how many there are."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Tree:
    """A folder by content."""

    digest: str
    files: tuple[Entry, ...]

    @property
    def bytes(self) -> int:
        return sum(entry.bytes for entry in self.files)


class Content:
    """The content store under `<root>/cas`."""

    def __init__(self, root: Path, stats: StatCache, set_aside: Callable[[Path, str], None]) -> None:
        self._root = root
        self._stats = stats
        self._set_aside = set_aside

    def path(self, digest: str) -> Path:
        return self._root / digest[:2] / digest

    def add_file(self, source: Path, private: Path) -> Entry:
        """Copy a file in, by way of a private folder on the same disk."""
        staged = private / f"in-{os.getpid()}"
        staged.unlink(missing_ok=True)
        digest, size = copy_hashed(source, staged, sync=True)
        self._publish(staged, digest)
        return Entry(source.name, digest, size)

    def add_tree(self, folder: Path, private: Path) -> Tree:
        """Copy a folder in and return it by content. Raises StepError for links and special files."""
        entries: list[Entry] = []
        for file in sorted(folder.rglob("*")):
            relative = file.relative_to(folder).as_posix()
            if file.is_symlink() or not (file.is_file() or file.is_dir()):
                raise StepError(
                    f"the output '{relative}' is neither a file nor a folder", "steps write plain files only"
                )
            if file.is_file():
                added = self.add_file(file, private)
                entries.append(Entry(relative, added.sha256, added.bytes))
        listing = canonical({"schema": 1, "files": [asdict(entry) for entry in sorted(entries)]})
        digest = digest_bytes(listing)
        staged = private / f"in-{os.getpid()}-tree"
        with staged.open("wb") as file_:
            file_.write(listing)
            file_.flush()
            os.fsync(file_.fileno())
        self._publish(staged, digest)
        return Tree(digest, tuple(sorted(entries)))

    def _publish(self, staged: Path, digest: str) -> None:
        final = self.path(digest)
        if final.exists():
            try:
                self.check(digest)
            except Damaged:
                pass  # it was set aside: the new bytes take its place
            else:
                staged.unlink()
                return
        final.parent.mkdir(parents=True, exist_ok=True)
        staged.chmod(0o444)
        staged.rename(final)
        _sync_folder(final.parent)

    def check(self, digest: str) -> None:
        """Raise Damaged unless the object is there with the right bytes; wrong ones are set aside."""
        path = self.path(digest)
        try:
            found = self._stats.digest(path)
        except FileNotFoundError as error:
            raise Damaged(digest, "missing") from error
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from error
        if found != digest:
            self._set_aside(path, "its bytes are not what its name says")
            raise Damaged(digest, "damaged")

    def tree(self, digest: str) -> Tree:
        """Return a folder's listing, checked. Raises Damaged."""
        try:
            content = self.path(digest).read_bytes()
        except FileNotFoundError as error:
            raise Damaged(digest, "missing") from error
        if digest_bytes(content) != digest:
            self._set_aside(self.path(digest), "its bytes are not what its name says")
            raise Damaged(digest, "damaged")
        listing: dict[str, Any] = json.loads(content)
        if any(_leads_out(entry["path"]) for entry in listing["files"]):
            raise StoreError(
                f"tree {digest[:12]} in the store names a file outside its folder", "somebody else wrote it"
            )
        return Tree(digest, tuple(Entry(**entry) for entry in listing["files"]))

    def read(self, entry: Entry) -> bytes:
        """Return the bytes of a small file, checked. Raises Damaged."""
        try:
            content = self.path(entry.sha256).read_bytes()
        except FileNotFoundError as error:
            raise Damaged(entry.sha256, "missing") from error
        if digest_bytes(content) != entry.sha256:
            self._set_aside(self.path(entry.sha256), "its bytes are not what its name says")
            raise Damaged(entry.sha256, "damaged")
        return content

    def take(self, tree: Tree, folder: Path) -> None:
        """Copy a tree out into a folder, hashing every byte on the way. Raises Damaged."""
        for entry in tree.files:
            self.take_file(entry, folder / PurePosixPath(entry.path))

    def take_file(self, entry: Entry, target: Path) -> None:
        """Copy one file out under a new name, complete or not at all. Raises Damaged."""
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{os.getpid()}.part")
        partial.unlink(missing_ok=True)
        try:
            found, _ = copy_hashed(self.path(entry.sha256), partial)
        except FileNotFoundError as error:
            raise Damaged(entry.sha256, "missing") from error
        if found != entry.sha256:
            partial.unlink()
            self._set_aside(self.path(entry.sha256), "its bytes are not what its name says")
            raise Damaged(entry.sha256, "damaged")
        partial.replace(target)


def _leads_out(path: str) -> bool:
    parts = PurePosixPath(path)
    return parts.is_absolute() or ".." in parts.parts


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
