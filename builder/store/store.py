"""The store: content by digest, results by key, a lock for each key, private folders for work in progress."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from builder.errors import StoreError
from builder.store.actions import ActionCache, Record
from builder.store.cas import Content, Damaged, Tree
from builder.store.locks import Lock, check_locking
from builder.store.statcache import StatCache

__all__ = ["Store", "store_folder"]

_GRACE_S = 60  # a folder younger than this may not have its lock yet


def store_folder(setting: str | None) -> Path:
    """Return where the store is: the setting, else BUILDER_STORE, else `outputs/store`."""
    return Path(setting or os.environ.get("BUILDER_STORE") or "outputs/store").expanduser().absolute()


class Store:
    """A store folder, opened. What is absent or wrong in it is never a hit: it is set aside and said.

    Raises StoreError where the folder cannot be used.
    """

    def __init__(self, root: Path, stats: StatCache, warn: Callable[[str], None]) -> None:
        self.root = root
        self._warn = warn
        self.content = Content(root / "cas", stats, self._set_aside)
        self._actions = ActionCache(root / "ac")

    def lookup(self, key: str, current: Callable[[str], str | None]) -> Record | None:
        """Return the intact result of a key, or None.

        `current` tells the digest that a discovered input has now (None: it is gone).
        """
        for path, record in self._actions.records(key):
            if record is None:
                self._set_aside(path, "it is damaged")
            elif all(current(name) == digest for name, digest in record.discovered.items()) and self._intact(record):
                return record
        return None

    def discovered(self, key: str) -> Mapping[str, str]:
        """Return the discovered inputs of the newest result that a key ever had, whether they still hold or not."""
        found = [record for _, record in self._actions.records(key) if record is not None]
        return max(found, key=lambda record: record.created).discovered if found else {}

    def trees(self, record: Record) -> Mapping[str, Tree]:
        return {port: self.content.tree(digest) for port, digest in record.outputs.items()}

    def commit(self, record: Record, private: Path) -> None:
        """Publish a result whose key's lock the caller holds."""
        self._actions.write(record, private)

    def lock(self, key: str) -> Lock:
        folder = self.root / "locks" / key[:2]
        folder.mkdir(parents=True, exist_ok=True)
        return Lock(folder / key)

    @contextmanager
    def workshop(self) -> Iterator[Path]:
        """Yield a private folder for one build; it goes when the build does, and one left by a dead build goes too."""
        work = self.root / "tmp"
        try:
            work.mkdir(parents=True, exist_ok=True)
            check_locking(work)
            _sweep(work)
            mine = work / f"{int(time.time())}-{secrets.token_hex(6)}"
            mine.mkdir(mode=0o700)
        except OSError as error:
            raise StoreError(
                f"cannot write to the store {self.root}: {error.strerror}", "choose another: BUILDER_STORE=/path"
            ) from error
        lock = Lock(mine / ".lock")
        lock.acquire()
        try:
            yield mine
        finally:
            shutil.rmtree(mine, ignore_errors=True)
            lock.release()

    def _intact(self, record: Record) -> bool:
        try:
            for digest in record.outputs.values():
                for entry in self.content.tree(digest).files:
                    self.content.check(entry.sha256)
        except Damaged as damage:
            self._warn(f"{damage}; what made it runs again")
            return False
        return True

    def _set_aside(self, path: Path, why: str) -> None:
        aside = self.root / "bad" / f"{path.name}-{secrets.token_hex(3)}"
        with contextlib.suppress(OSError):
            aside.parent.mkdir(parents=True, exist_ok=True)
            path.rename(aside)
        self._warn(f"{path.name[:12]} in the store is set aside: {why}")


def _sweep(work: Path) -> None:
    """Remove the private folders of builds that are dead: nobody holds their lock."""
    for folder in work.iterdir():
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            lock = Lock(folder / ".lock")
            if folder.is_dir() and time.time() - folder.stat().st_mtime > _GRACE_S and lock.acquire():
                shutil.rmtree(folder, ignore_errors=True)
                lock.release()
