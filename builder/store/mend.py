"""Repairs of a store: bytes are taken back from a copy that hashes right, else whatever needs them is made anew."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.errors import StoreError
from builder.store.actions import Record, read_record
from builder.store.audit import Fault, Reader, Survey, read_kept
from builder.store.cas import Damaged, Tree
from builder.store.store import Store

__all__ = ["Copy", "Finding", "Mender"]

_REPAIRS = {
    "object": "set aside",
    "stray": "set aside",
    "root": "set aside; the next build of its project writes it again",
    "device": "set aside; import the result of the device again: python -m builder resume --import RESULT",
}


@dataclass(frozen=True)
class Copy:
    """Where the bytes of an object can be had: a file, or what a folder's files say of it."""

    path: Path
    content: bytes | None = None


@dataclass(frozen=True)
class Finding:
    """Something wrong: what, and how it was repaired; with no repair it remains, and `next` says what to do."""

    kind: str  # object, result, root, device, stray, memory, delivered
    path: Path
    problem: str
    repair: str = ""
    next: str = ""


class Mender:
    """Repairs what a survey found, or with `look` only says what it is."""

    def __init__(
        self,
        store: Store,
        reader: Reader,
        found: Survey,
        copies: Mapping[str, Copy],
        private: Callable[[], Path],
        *,
        look: bool,
    ) -> None:
        self._store = store
        self._reader = reader
        self._found = found
        self._copies = copies
        self._private = private
        self._look = look
        self._taken: dict[str, Path] = {}
        self.needed: set[str] = set()  # objects that a result reaches

    def mend(self, name: Callable[[str], tuple[str, str]]) -> Iterator[Finding]:
        """Yield what was wrong and what became of it. `name` says what a key's result is, and what makes it again."""
        away = {fault.path for fault in self._found.faults if not self._look and self._put_away(fault)}
        lost = [finding for path, record in self._found.results if (finding := self._result(path, record, name))]
        for fault in self._found.faults:
            if fault.kind == "result":
                what, command = name(fault.path.parent.name)
                yield Finding(fault.kind, fault.path, f"{what}: {fault.why}", next=command)
                continue
            taken = self._taken.pop(fault.path.name, None) if fault.kind == "object" else None
            repair = f"taken back from {taken}" if taken else _REPAIRS[fault.kind] if fault.path in away else ""
            yield Finding(fault.kind, fault.path, fault.why, repair)
        for digest, taken in self._taken.items():
            yield Finding("object", self._store.content.path(digest), "it is missing", f"taken back from {taken}")
        yield from lost

    def have(self, digest: str) -> bool:
        """Say whether the store has an object, which is taken back from a copy if need be."""
        if digest not in self._found.intact:
            there = self._reader.again(self._store.content.path(digest)) == digest  # a build made it meanwhile
            if not there and not self._take_back(digest):
                return False
            self._found.intact.add(digest)
        return True

    def tree(self, digest: str) -> Tree | None:
        """Return a folder's listing, or None where the store has none."""
        try:
            return self._store.content.tree(digest) if self.have(digest) else None
        except (Damaged, StoreError, ValueError, KeyError, TypeError):
            return None

    def _put_away(self, fault: Fault) -> bool:
        if fault.kind == "object" and self._reader.again(fault.path) == fault.path.name:  # a build made it anew
            return True
        if fault.path == self._store.content.folders.path(fault.path.name) and self._have_folder(fault.path.name):
            return True
        self._store.set_aside(fault.path, fault.why)
        return not os.path.lexists(fault.path)

    def _have_folder(self, digest: str) -> bool:
        """Say whether a kept folder is there and right, as it is now: a build may have made it anew."""
        if digest not in self._found.folders:
            tree = self.tree(digest)
            if tree is None or read_kept(self._store.content.folders.path(digest), tree, self._reader.again) != "":
                return False
            self._found.folders.add(digest)
        return True

    def _take_back(self, digest: str) -> bool:
        copy = self._copies.get(digest)
        if copy is None or self._look:
            return False
        source = copy.path
        try:
            if copy.content is not None:
                source = self._private() / "listing"
                source.write_bytes(copy.content)
            added = self._store.content.add_file(source, self._private())
        except (OSError, StoreError):  # it stays lost, and is told as such
            return False
        if added.sha256 == digest:
            self._taken[digest] = copy.path
        return added.sha256 == digest

    def _result(self, path: Path, record: Record, name: Callable[[str], tuple[str, str]]) -> Finding | None:
        """Remove a result that points to what cannot be had any more, so that the next build makes it again."""
        lost = self._lost(record)
        if not lost:
            return None
        what, command = name(record.key)
        objects = ", ".join(digest[:12] for digest in lost)
        problem = f"{what}: it needs {'objects' if len(lost) > 1 else 'object'} {objects}, damaged or missing"
        if not self._look:
            self._drop(path, record)
        return Finding("result", path, problem, next=command)

    def _drop(self, path: Path, record: Record) -> None:
        lock = self._store.lock(record.key)
        if not lock.acquire():  # a build is making it anew
            return
        try:
            if _is_same(path, record) and self._lost(record):
                self._store.set_aside(path, "what it points to is gone")
        finally:
            lock.release()

    def _lost(self, record: Record) -> list[str]:
        lost = []
        for digest in record.outputs.values():
            self.needed.add(digest)
            tree = self.tree(digest)
            if tree and tree.kept:
                lost += [] if self._have_folder(digest) else [digest]
                continue
            files = {entry.sha256 for entry in tree.files} if tree else set()
            self.needed |= files
            lost += [each for each in sorted(files) if not self.have(each)] if tree else [digest]
        return lost


def _is_same(path: Path, record: Record) -> bool:
    try:
        return read_record(path) == record
    except FileNotFoundError:
        return False
