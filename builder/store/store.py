"""The store: content by digest, results by key, a lock for each key, private folders for work in progress.

cas/      bytes by SHA-256            ac/       results by action key
logs/     what each action printed    locks/    one for each key, and `gc`
roots/    what newest builds need     tmp/      private folders of running builds
folders/  packages of toolchains        bad/      what was damaged, set aside
devices/  results that came from devices
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from builder.store.actions import ActionCache, Record
from builder.store.cas import Content, Damaged, Tree
from builder.store.devices import DeviceIndex
from builder.store.folders import make_folder
from builder.store.locks import Lock, check_locking
from builder.store.private import private_folder, sweep
from builder.store.statcache import StatCache
from builder.store.tag import claim
from builder.trouble import trouble

__all__ = ["Store", "store_folder"]

_WORKSHOP = re.compile(r"\d{9,}-[0-9a-f]{12}")  # when it began, and something of its own
_TOUCH_S = 30 * 60  # how exactly it is known when a result was used last; the cleaning allows for an hour


def store_folder(setting: str | None) -> Path:
    """Return where the store is: the setting, else BUILDER_STORE, else `outputs/store`."""
    return Path(setting or os.environ.get("BUILDER_STORE") or "outputs/store").expanduser().absolute()


class Store:
    """A store folder, opened. What is absent or wrong in it is never a hit: it is set aside and said.

    With `look` it changes nothing there. Raises StoreError where the folder cannot be used.
    """

    def __init__(self, root: Path, stats: StatCache, warn: Callable[[str], None], *, look: bool = False) -> None:
        self.root = root
        self._warn = warn
        self._look = look
        self._told: set[str] = set()  # of what is damaged or missing, the names
        self.content = Content(root / "cas", stats, self.set_aside)
        self.actions = ActionCache(root / "ac")
        self.devices = DeviceIndex(root / "devices", self.set_aside)

    def lookup(self, key: str, current: Callable[[str], str | None]) -> Record | None:
        """Return the intact result of a key, or None.

        `current` tells the digest that a discovered input has now (None: it is gone).
        """
        self._touch(key)  # first: the cleaning looks at this time once more before it removes anything
        for path, record in self.actions.records(key):
            if record is None:
                self.set_aside(Path(path), "it is damaged")
            elif all(current(name) == digest for name, digest in record.discovered.items()) and self._intact(record):
                return record
        return None

    def discovered(self, key: str) -> Mapping[str, str]:
        """Return the discovered inputs of the newest result that a key ever had, whether they still hold or not."""
        found = [record for _, record in self.actions.records(key) if record is not None]
        return max(found, key=lambda record: record.created).discovered if found else {}

    def trees(self, record: Record) -> Mapping[str, Tree]:
        return {port: self.content.tree(digest) for port, digest in record.outputs.items()}

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Keep the cleaning away while bytes are in place that no result points to yet. Raises StoreError."""
        lock = self._lock("gc")
        try:
            lock.wait(shared=True)
        except OSError as error:
            raise trouble(error, self.root) from error
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def using(self) -> Iterator[None]:
        """Tell the cleaning that a build is at work: what it looks up or makes stays until it has delivered it."""
        path = self.root / "locks" / "builds"
        lock = Lock(path)
        with contextlib.suppress(OSError):  # a store that can only be read
            if path.exists():  # else there is nothing to look up yet; a workshop makes it
                lock.wait(shared=True)
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def cleaning(self) -> Iterator[bool]:
        """Keep every build from publishing while what is in use is told from what is not. Raises StoreError.

        Yields whether no build is at work; then none begins before the cleaning is over.
        """
        lock, builds = self._lock("gc"), self._lock("builds")
        try:
            lock.wait(shared=False)
            alone = builds.acquire()
        except OSError as error:
            lock.release()
            raise trouble(error, self.root) from error
        try:
            yield alone
        finally:
            builds.release()
            lock.release()

    def commit(self, record: Record, private: Path) -> None:
        """Publish a result whose key's lock the caller holds, while it is `publishing`."""
        self.actions.write(record, private)

    def lock(self, key: str) -> Lock:
        """Return the lock of a key. Raises StoreError."""
        return self._lock(f"{key[:2]}/{key}")

    def log(self, key: str) -> Path:
        """Return where the log of the last run of a key is kept."""
        return self.root / "logs" / key[:2] / f"{key}.log"

    def keep_log(self, key: str, written: Path) -> Path | None:
        """Move the log of a run into the store, and return where it is; None where it cannot be kept."""
        final = self.log(key)
        try:
            make_folder(final.parent, self.root)
            written.replace(final)
        except OSError:
            return None
        return final

    @contextmanager
    def workshop(self) -> Iterator[Path]:
        """Yield a private folder for one build; it goes when the build does, and one left by a dead build goes too."""
        work = self.root / "tmp"
        with ExitStack() as stack:
            try:
                claim(self.root)
                make_folder(work, self.root)
                check_locking(work)
                sweep(path for path in work.iterdir() if _WORKSHOP.fullmatch(path.name))
                mine = stack.enter_context(private_folder(work, _workshop_name))
                builds = self._lock("builds")
                stack.callback(builds.release)
                builds.wait(shared=True)
            except OSError as error:
                raise trouble(error, self.root) from error
            yield mine

    def set_aside(self, path: Path, why: str) -> None:
        """Move what is damaged out of the way, where it can be looked at, and say so."""
        self._told.add(path.name)
        if self._look:
            self._warn(f"{path.name[:12]} in the store is damaged: {why}")
            return
        aside = self.root / "bad" / f"{path.name}-{secrets.token_hex(3)}"
        with contextlib.suppress(OSError):
            make_folder(aside.parent, self.root)
            if path.is_dir() and not path.is_symlink() and not os.access(path, os.W_OK):
                path.chmod(0o755)  # it can only be read, which holds a folder in its place
            path.rename(aside)
        self._warn(f"{path.name[:12]} in the store is set aside: {why}")

    def _lock(self, name: str) -> Lock:
        path = self.root / "locks" / name
        try:
            make_folder(path.parent, self.root)
        except OSError as error:
            raise trouble(error, self.root) from error
        return Lock(path)

    def _touch(self, key: str) -> None:
        """Remember that a result is in use: what was not used for long goes first."""
        if not self._look:
            with contextlib.suppress(OSError):  # a store that can only be read
                self.actions.touch(key, _TOUCH_S)

    def _intact(self, record: Record) -> bool:
        try:
            for digest in record.outputs.values():
                tree = self.content.tree(digest)
                if tree.kept:
                    self.content.check_kept(tree)
                    continue
                for entry in tree.files:
                    self.content.check(entry.sha256)
        except Damaged as damage:
            if damage.digest not in self._told:
                self._told.add(damage.digest)
                self._warn(f"{damage}; what made it runs again")
            return False
        return True


def _workshop_name() -> str:
    return f"{int(time.time())}-{secrets.token_hex(6)}"
