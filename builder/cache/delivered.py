"""The delivered files of a build against its manifest; what differs is delivered again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from builder.cache.newest import Newest, expected_files, next_command
from builder.digest import digest_bytes
from builder.errors import StoreError
from builder.report.pages import VIEWS
from builder.store.audit import Reader
from builder.store.cas import Damaged, Entry
from builder.store.mend import Finding, Mender
from builder.store.statcache import StatCache
from builder.store.store import Store

__all__ = ["Delivered"]

_AGAIN = "delivered again"


class Delivered:
    """Checks builds file by file and repairs them, but not what another user owns, and with `look` nothing."""

    def __init__(self, store: Store, stats: StatCache, reader: Reader, mender: Mender, *, look: bool) -> None:
        self._store = store
        self._stats = stats
        self._reader = reader
        self._mender = mender
        self._look = look
        self.count = 0

    def check(self, build: Newest) -> Iterator[Finding]:
        """Yield each file that is not as it was delivered."""
        for entry in dict.fromkeys(expected_files(build, self._mender)):
            if problem := self._problem(build.folder / entry.path, entry.sha256):
                yield self._finding(build, entry.path, problem, repaired=self._take(build, entry))
        for name, digest in build.manifest.get("pages", {}).items():
            if problem := self._problem(build.folder / name, digest):
                yield self._finding(build, name, problem, repaired=self._render(build, name))

    def _problem(self, path: Path, digest: str) -> str:
        self.count += 1
        found = self._reader.hash(path)
        if found == digest:
            return ""
        self._stats.forget(path)
        if found is None:
            return "it is no file" if os.path.lexists(path) else "it is missing"
        return "its bytes are not what the build delivered"

    def _finding(self, build: Newest, name: str, problem: str, *, repaired: bool) -> Finding:
        command = "" if repaired else next_command(build)
        return Finding("delivered", build.folder / name, problem, _AGAIN if repaired else "", command)

    def _take(self, build: Newest, entry: Entry) -> bool:
        path = build.folder / entry.path
        if not self._may_write(build, path) or not self._mender.have(entry.sha256):
            return False
        with suppress(Damaged, StoreError):  # it stays as it is, and is told as such
            self._store.content.take_file(entry, path)
            return True
        return False

    def _render(self, build: Newest, name: str) -> bool:
        """Write a view of report.json anew, where that is intact and gives the very page that was delivered."""
        pages, data = build.manifest["pages"], build.folder / "report.json"
        if name not in VIEWS or self._reader.hash(data) != pages.get(data.name):
            return False
        if not self._may_write(build, build.folder / name):
            return False
        page = VIEWS[name](json.loads(data.read_bytes())).encode()
        if digest_bytes(page) != pages[name]:
            return False
        with suppress(OSError):
            (build.folder / name).write_bytes(page)
            return True
        return False

    def _may_write(self, build: Newest, path: Path) -> bool:
        inside = path.parent.resolve().is_relative_to(build.folder.resolve()) and not path.is_symlink()
        return not self._look and inside and build.folder.stat().st_uid == os.geteuid()
