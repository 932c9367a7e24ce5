"""The cleaning of a store: results that are kept, and what they need, stay; all else goes.

Mark and sweep, with the newest builds as roots, as Nix has it; of the other results the least recently used go first.
Builds may run meanwhile: what one of them has looked up, made or may be about to use stays.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from builder.errors import StoreError
from builder.store.cas import Damaged
from builder.store.folders import make_folder
from builder.store.roots import Root, roots
from builder.store.statcache import StatCache
from builder.store.store import Store
from builder.store.usage import DIGEST, Amount, amount, objects, reached, walk, workshops

__all__ = ["Cleaned", "Limits", "clean"]

_KINDS = ("results", "objects", "logs", "locks", "set_aside", "unfinished", "roots")
_REPAIR = "repair it first: python -m builder cache verify"
_GRACE_S = 60  # a file younger than this may be in the making
_MARGIN_S = 60 * 60  # what was used so long before the oldest running build began may be in use


@dataclass(frozen=True)
class Limits:
    """How much results may take, and for how long they are kept unused; None for no limit."""

    max_bytes: int | None = None
    max_age_s: float | None = None


@dataclass(frozen=True)
class Cleaned:
    """What went, by kind, and what stayed."""

    removed: Mapping[str, Amount]  # results, objects, logs, locks, set_aside, unfinished, roots
    newest: Amount  # results that the newest builds need
    running: Amount  # results that stay because builds are at work
    others: Amount
    left_bytes: int  # results, their logs and objects
    roots: Sequence[Root]
    refused: Sequence[str]  # what could not be removed, and why

    @classmethod
    def nothing(cls) -> Cleaned:
        """Return what is said of a store that is not there."""
        return cls({kind: Amount() for kind in _KINDS}, Amount(), Amount(), Amount(), 0, (), ())


@dataclass(frozen=True)
class _Result:
    """What is kept under one key; `bytes` are its own, without the objects that it shares with others."""

    key: str
    used: float  # s since the epoch
    bytes: int
    intact: bool  # one of its results can be read
    needs: frozenset[str]


@dataclass
class _Choice:
    newest: list[_Result] = field(default_factory=list)
    running: list[_Result] = field(default_factory=list)
    others: list[_Result] = field(default_factory=list)
    going: list[_Result] = field(default_factory=list)

    @property
    def kept(self) -> list[_Result]:
        return [*self.newest, *self.running, *self.others]


def clean(store: Store, stats: StatCache, limits: Limits, *, dry_run: bool = False) -> Cleaned:
    """Remove what nothing can use, and results beyond the limits that no newest or running build needs.

    Raises StoreError where the store cannot be written, or damage hides what the newest builds need.
    """
    with store.cleaning() as alone:
        began = [workshop.began for workshop in workshops(store.root) if workshop.alive]
        since = None if alone and not began else min([*began, time.time()]) - _MARGIN_S
        sweep = _Sweep(store, since, dry_run)
        living = sweep.roots()
        sizes = {digest: status.st_size for digest, status in objects(store.root).items()}
        choice = _choose(store, limits, {key for root in living for key in root.keys}, since, sizes)
        for result in list(choice.going):
            if not sweep.result(result):
                choice.going.remove(result)
                choice.running.append(result)
        sweep.objects({digest for result in choice.kept for digest in result.needs})
        sweep.rest({result.key for result in choice.kept})
    if not dry_run:
        stats.prune()
    return Cleaned(
        removed=sweep.removed,
        newest=_together(choice.newest, sizes),
        running=_together(choice.running, sizes),
        others=_together(choice.others, sizes),
        left_bytes=_together(choice.kept, sizes).bytes,
        roots=living,
        refused=sweep.refused,
    )


def _choose(
    store: Store, limits: Limits, needed: Collection[str], since: float | None, sizes: dict[str, int]
) -> _Choice:
    """Say which results stay, and why, and which go: first what is too old, then the least recently used."""
    choice = _Choice()
    for result in _results(store, needed):
        if not result.intact and (since is None or result.used < since):
            choice.going.append(result)
        elif result.key in needed:
            choice.newest.append(result)
        elif since is not None and result.used >= since:
            choice.running.append(result)
        else:
            choice.others.append(result)
    oldest = time.time() - limits.max_age_s if limits.max_age_s is not None else 0.0
    users = Counter(digest for result in choice.kept for digest in result.needs)
    total = _together(choice.kept, sizes).bytes
    for result in sorted(choice.others, key=lambda result: result.used):
        if result.used >= oldest and (limits.max_bytes is None or total <= limits.max_bytes):
            break
        choice.others.remove(result)
        choice.going.append(result)
        users.subtract(result.needs)
        total -= result.bytes + sum(sizes.get(digest, 0) for digest in result.needs if not users[digest])
    return choice


def _results(store: Store, needed: Collection[str]) -> Iterator[_Result]:
    for key in filter(DIGEST.fullmatch, store.actions.keys()):
        folder, log = store.actions.folder(key), store.log(key)
        records = [record for _, record in store.actions.records(key) if record is not None]
        needs: set[str] = set()
        for record in records:
            try:
                needs |= reached(store.content, record)
            except Damaged as damage:
                if key in needed:  # repair may need what would go
                    raise StoreError(f"{damage}, and a newest build needs it", _REPAIR) from damage
        own = amount(folder).bytes + (log.stat().st_size if log.is_file() else 0)
        yield _Result(key, folder.lstat().st_mtime, own, bool(records), frozenset(needs))


def _together(results: Collection[_Result], sizes: dict[str, int]) -> Amount:
    """Return how many results there are and what they take, each object once."""
    needs = {digest for result in results for digest in result.needs}
    own = sum(result.bytes for result in results)
    return Amount(len(results), own + sum(sizes.get(digest, 0) for digest in needs))


class _Sweep:
    """Removes, and keeps account of it; a dry run only keeps account."""

    def __init__(self, store: Store, since: float | None, dry_run: bool) -> None:
        self._store = store
        self._since = since
        self._dry_run = dry_run
        self._bad = store.root / "bad"
        self.removed = {kind: Amount() for kind in _KINDS}
        self.refused: list[str] = []

    def roots(self) -> list[Root]:
        """Return the roots whose builds are there; the others go. Raises StoreError for a damaged one."""
        living = []
        for path, root in roots(self._store.root):
            if root is None:
                raise StoreError(f"{path} is damaged, so it is not known what its build needs", _REPAIR)
            if root.gone():
                self._remove("roots", path)
            else:
                living.append(root)
        return living

    def result(self, result: _Result) -> bool:
        """Remove a result, unless a build has looked it up since it was marked."""
        folder = self._store.actions.folder(result.key)
        if self._dry_run:
            self.removed["results"].add(amount(folder).bytes)
            return True
        aside = self._bad / f"{result.key}-{secrets.token_hex(3)}"
        try:
            make_folder(self._bad, self._store.root)
            folder.rename(aside)  # from here on no look-up finds it, so its time is final
            if aside.stat().st_mtime > result.used:
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
        for path in (*_old_parts(root / "roots"), *(each.path for each in workshops(root) if not each.alive)):
            self._remove("unfinished", path)

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
