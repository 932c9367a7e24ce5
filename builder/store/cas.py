"""Bytes by digest: files under their SHA-256, folders as canonical listings of such files.

An object is copied into a private folder while it is hashed, synced, and renamed: under its final name it is complete.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from builder.digest import canonical, copy_hashed, digest_bytes, read_bytes
from builder.errors import StepError, StoreError
from builder.store.folders import make_folder
from builder.store.kept import KeptFolders
from builder.store.statcache import StatCache
from builder.trouble import trouble

__all__ = ["Content", "Damaged", "Entry", "Tree", "sync_folder", "tree_listing"]

_NO_FILE = (errno.EISDIR, errno.ELOOP, errno.EINVAL, errno.ENOTDIR)


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
    """A folder by content; one that is `kept` lies in the store as it is (see kept.py)."""

    digest: str
    files: tuple[Entry, ...]
    kept: bool = False

    @property
    def bytes(self) -> int:
        return sum(entry.bytes for entry in self.files)


class Content:
    """The content store under `<root>/cas`."""

    def __init__(self, root: Path, stats: StatCache, set_aside: Callable[[Path, str], None]) -> None:
        self._root = root
        self._stats = stats
        self._set_aside = set_aside
        self.folders = KeptFolders(root.parent / "folders", stats)
        self._trees: dict[str, Tree] = {}  # listings that were read and found right

    def path(self, digest: str) -> Path:
        return Path(self._name(digest))

    def _name(self, digest: str) -> str:
        return f"{self._root}/{digest[:2]}/{digest}"  # text: pathlib takes its time, and this is asked for every file

    def add_file(self, source: Path, private: Path) -> Entry:
        """Copy a file in, by way of a private folder on the same disk. Raises StoreError."""
        staged = private / f"in-{os.getpid()}"
        staged.unlink(missing_ok=True)
        try:
            digest, size = copy_hashed(source, staged, sync=True)
            self._publish(staged, digest)
        except OSError as error:
            staged.unlink(missing_ok=True)
            raise trouble(error, self._root, _size(source)) from error
        return Entry(source.name, digest, size)

    def add_tree(self, folder: Path, private: Path) -> Tree:
        """Copy a folder in and return it by content. Raises StepError for what cannot be kept so, StoreError."""
        entries: list[Entry] = []
        for relative in sorted(_plain_files(folder)):
            added = self.add_file(folder / relative, private)
            entries.append(Entry(relative, added.sha256, added.bytes))
        return Tree(self._add_bytes(tree_listing(entries), private), tuple(sorted(entries)))

    def keep_tree(self, folder: Path, private: Path) -> Tree:
        """Move a folder in, to be used where it lies, and return it by content. Raises StepError, StoreError."""
        paths = {*_plain_files(folder)}
        try:
            digests = self.folders.prepare(folder)
        except OSError as error:
            raise trouble(error, folder) from error
        entries = [Entry(path, digests[path], (folder / path).stat().st_size) for path in sorted(paths)]
        tree = Tree(self._add_bytes(tree_listing(entries, kept=True), private), tuple(entries), kept=True)
        try:
            self.check_kept(tree, again=True)
        except Damaged:  # none is there any more
            if not self.folders.add(folder, tree.digest):
                self.check_kept(tree, again=True)
        return tree

    def check_kept(self, tree: Tree, *, again: bool = False) -> Path:
        """Return where a kept tree lies. Raises Damaged unless all of it is there and right; `again` reads it all."""
        files = {entry.path: entry.sha256 for entry in tree.files}
        fault = self.folders.fault(tree.digest, files, again=again)
        if fault:
            if fault != "missing":
                self._set_aside(self.folders.path(tree.digest), fault)
            raise Damaged(tree.digest, fault)
        return self.folders.path(tree.digest)

    def _add_bytes(self, content: bytes, private: Path) -> str:
        digest, staged = digest_bytes(content), private / f"in-{os.getpid()}"
        try:
            with staged.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            self._publish(staged, digest)
        except OSError as error:
            raise trouble(error, self._root, len(content)) from error
        return digest

    def _publish(self, staged: Path, digest: str) -> None:
        final = self.path(digest)
        if final.exists():
            try:
                self.check(digest, again=True)
            except Damaged:
                pass  # it was set aside: the new bytes take its place
            else:
                staged.unlink()
                return
        make_folder(final.parent, self._root.parent)
        staged.chmod(0o444)
        staged.rename(final)
        sync_folder(final.parent)

    def check(self, digest: str, *, again: bool = False) -> None:
        """Raise Damaged unless the object is there with the right bytes; wrong ones are set aside.

        With `again` it is read, whatever is remembered of it.
        """
        path = self._name(digest)
        try:
            believed = not again and self._stats.digest(path, links=False) == digest
            same = believed or self._stats.hash(path, links=False) == digest  # memory may be wrong too
        except OSError as error:
            self._unreadable(digest, error)
        if not same:
            raise self._damaged(digest)

    def tree(self, digest: str) -> Tree:
        """Return a folder's listing, checked. Raises Damaged."""
        if digest not in self._trees:
            self._trees[digest] = self._tree(digest)
        return self._trees[digest]

    def _tree(self, digest: str) -> Tree:
        listing: dict[str, Any] = json.loads(self._bytes(digest))
        if any(_leads_out(entry["path"]) for entry in listing["files"]):
            raise StoreError(
                f"tree {digest[:12]} in the store names a file outside its folder", "somebody else wrote it"
            )
        return Tree(digest, tuple(Entry(**entry) for entry in listing["files"]), listing.get("kept", False))

    def read(self, entry: Entry) -> bytes:
        """Return the bytes of a small file, checked. Raises Damaged."""
        return self._bytes(entry.sha256)

    def take(self, tree: Tree, folder: Path) -> None:
        """Copy a tree out into a folder, hashing every byte on the way. Raises Damaged, StoreError."""
        folder.mkdir(parents=True, exist_ok=True)  # also for a tree without files
        for entry in tree.files:
            self.take_file(entry, folder / PurePosixPath(entry.path))

    def take_file(self, entry: Entry, target: Path) -> None:
        """Copy one file out under a new name, complete or not at all. Raises Damaged, StoreError."""
        partial = target.with_name(f".{os.getpid()}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            partial.unlink(missing_ok=True)
            try:
                found, _ = copy_hashed(self.path(entry.sha256), partial)
            except OSError as error:
                self._unreadable(entry.sha256, error)
            if found != entry.sha256:
                raise self._damaged(entry.sha256)
            partial.replace(target)
        except OSError as error:
            raise trouble(error, target, entry.bytes) from error
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)

    def _bytes(self, digest: str) -> bytes:
        try:
            content = read_bytes(self._name(digest))
        except OSError as error:
            self._unreadable(digest, error)
        if digest_bytes(content) != digest:
            raise self._damaged(digest)
        return content

    def _unreadable(self, digest: str, error: OSError) -> NoReturn:
        """Turn what reading an object raised into what it means. Raises Damaged, StoreError."""
        name = self._name(digest)
        if isinstance(error, FileNotFoundError):
            if error.filename not in (None, name) or Path(name).is_file():
                raise error  # it is about where the bytes go
            raise Damaged(digest, "missing") from error
        if error.errno in _NO_FILE and error.filename == name:
            raise self._damaged(digest) from error
        if error.filename == name or error.errno in (errno.EMFILE, errno.ENFILE, errno.EIO):
            raise trouble(error, Path(name), doing="read") from error
        raise error

    def _damaged(self, digest: str) -> Damaged:
        self._set_aside(self.path(digest), "its bytes are not what its name says")
        return Damaged(digest, "damaged")


def _plain_files(folder: Path) -> Iterator[str]:
    """Yield the paths of the files below a folder. Raises StepError for links, special files and what is unreadable."""

    def unreadable(error: OSError) -> NoReturn:  # Path.rglob would leave it out
        raise StepError(f"the output {error.filename} cannot be read: {error.strerror}") from error

    for place, folders, files in os.walk(folder, onerror=unreadable):
        for path in (Path(place, name) for name in (*folders, *files)):
            relative = path.relative_to(folder).as_posix()
            if relative.encode(errors="replace").decode() != relative:
                raise StepError(f"the name of the output {relative!a} is not UTF-8", "write names in UTF-8")
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise StepError(
                    f"the output '{relative}' is neither a file nor a folder", "steps write plain files only"
                )
            if path.is_file():
                yield relative


def tree_listing(entries: Iterable[Entry], *, kept: bool = False) -> bytes:
    """Return what is stored of a folder: its digest is the tree's."""
    files = [asdict(entry) for entry in sorted(entries)]
    return canonical({"schema": 1, "files": files, **({"kept": True} if kept else {})})


def _leads_out(path: str) -> bool:
    return path.startswith("/") or ".." in path.split("/")


def _size(file: Path) -> int | None:
    with contextlib.suppress(OSError):
        return file.stat().st_size
    return None


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
