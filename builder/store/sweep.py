"""The removing part of the cleaning of a store."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from builder.errors import StoreError
from builder.store.folders import make_folder, make_removable
from builder.store.roots import Root, roots
from builder.store.store import Store
from builder.store.usage import DIGEST, Amount, amount, objects, walk, workshops

__all__ = ["KINDS", "REPAIR", "Sweep"]

KINDS = ("results", "objects", "folders", "logs", "locks", "set_aside", "unfinished", "roots", "devices")
REPAIR = "repair it first: python -m builder cache verify"
_GRACE_S = 60  # a file younger than this may be in the making


class Sweep:
    """Removes, and keeps account of it; a dry run only keeps account."""

    def __init__(self, store: Store, since: float | None, dry_run: bool) -> None:
        self._store = store
        self._since = since
        self._dry_run = dry_run
        self._bad = store.root / "bad"
        self.removed = {kind: Amount() for kind in KINDS}
        self.refused: list[str] = []

    def roots(self) -> list[Root]:
        """Return the roots whose builds are there; the others go. Raises StoreError for a damaged one."""
        living = []
        for path, root in roots(self._store.root):
            if root is None:
                raise StoreError(f"{path} is damaged, so it is not known what its build needs", REPAIR)
            if root.gone(path):
                self._remove("roots", path)
            else:
                living.append(root)
        return living

    def result(self, key: str, used: float) -> bool:
        """Remove the result of a key, unless a build has looked it up since `used`; return whether it went."""
        folder = self._store.actions.folder(key)
        if self._dry_run:
            self.removed["results"].add(amount(folder).bytes)
            return True
        aside = self._bad / f"{key}-{secrets.token_hex(3)}"
        try:
            make_folder(self._bad, self._store.root)
            folder.rename(aside)  # from here on no look-up finds it, so its time is final
            if aside.stat().st_mtime > used:
                aside.rename(folder)
                return False
        except OSError as error:
            self.refused.append(f"{folder}: {error.strerror}")
            return False
        self._remove("results", aside)
        return True

    def objects(self, needed: Collection[str]) -> None:
        for digest, status in objects(self._store.root).items():
            if digest not in needed and not self._is_young(status.st_mtime):
                self._remove("objects", self._store.content.path(digest))
        for digest in self._store.content.folders.digests():
            path = self._store.content.folders.path(digest)
            if digest not in needed and not self._is_young(path.lstat().st_mtime):
                self._remove("folders", path)

    def rest(self, kept: Collection[str]) -> None:
        """Remove logs and locks of results that are gone, what was set aside, and what dead builds left."""
        root = self._store.root
        for entry in walk(root / "logs"):
            path = Path(entry.path)
            if path.stem not in kept and not self._is_young(path.lstat().st_mtime):
                self._remove("logs", path)
        for entry in walk(root / "locks"):
            if DIGEST.fullmatch(entry.name) and entry.name not in kept:
                self._unlock(entry.name)
        for path in self._bad.iterdir() if self._bad.is_dir() else ():
            self._remove("set_aside", path)
        self._devices(kept)
        for path in (*_old_parts(root / "roots"), *(each.path for each in workshops(root) if not each.alive)):
            self._remove("unfinished", path)

    def _devices(self, kept: Collection[str]) -> None:
        """Remove what a device sent from the index where any of it is gone; `cache verify` tells of damaged entries."""
        entries = {path: entry for path, entry in self._store.devices.files() if entry is not None}
        gone = {entry.result for entry in entries.values() if entry.key not in kept}
        for path, entry in entries.items():
            dead = entry.result in gone or not self._store.devices.is_whole(entry)
            if dead and not self._is_young(path.lstat().st_mtime):
                self._remove("devices", path)
        for folder in self._store.devices.folders() if not self._dry_run else ():
            with contextlib.suppress(OSError):  # something is left in it
                folder.rmdir()

    def _unlock(self, key: str) -> None:
        """Remove the lock of a key that nobody holds. While we hold it, it is nobody else's."""
        lock, path = self._store.lock(key), self._store.root / "locks" / key[:2] / key
        with contextlib.suppress(OSError):
            if lock.acquire():
                self._remove("locks", path)
                lock.release()

    def _remove(self, kind: str, path: Path) -> None:
        is_folder = path.is_dir() and not path.is_symlink()
        try:
            size = amount(path).bytes if is_folder else path.lstat().st_size
            if not self._dry_run:
                if is_folder:
                    make_removable(path)
                shutil.rmtree(path) if is_folder else path.unlink()
        except FileNotFoundError:  # somebody else removed it
            return
        except OSError as error:
            self.refused.append(f"{path}: {error.strerror}")
            return
        self.removed[kind].add(size)

    def _is_young(self, changed: float) -> bool:
        return self._since is not None and changed >= self._since


def _old_parts(folder: Path) -> Iterator[Path]:
    """Yield files that somebody began to write and never finished."""
    for path in folder.glob("*.part"):
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_mtime < time.time() - _GRACE_S:
                yield path
