"""The cleaning of a store: results that are kept, and what they need, stay; all else goes.

Mark and sweep, with the newest builds as roots, as Nix has it; of the other results the least recently used go first.
Builds may run meanwhile: what one of them has looked up, made or may be about to use stays.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from builder.errors import StoreError
from builder.store.cas import Damaged
from builder.store.roots import Root
from builder.store.statcache import StatCache
from builder.store.store import Store
from builder.store.sweep import KINDS, REPAIR, Sweep
from builder.store.usage import DIGEST, Amount, amount, folders, objects, reached, workshops

__all__ = ["Cleaned", "Limits", "clean"]

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
        return cls({kind: Amount() for kind in KINDS}, Amount(), Amount(), Amount(), 0, (), ())


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
        since = None if alone else _since(store)
        sweep = Sweep(store, since, dry_run)
        living = sweep.roots()
        sizes = _sizes(store)
        choice = _choose(store, limits, {key for root in living for key in root.keys}, since, sizes)
        choice.running += [result for result in choice.going if not sweep.result(result.key, result.used)]
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


def _sizes(store: Store) -> dict[str, int]:
    """Return what each object takes; that of a kept folder has its files with it."""
    sizes = {digest: status.st_size for digest, status in objects(store.root).items()}
    for digest, size in folders(store.root).items():
        sizes[digest] = sizes.get(digest, 0) + size
    return sizes


def _since(store: Store) -> float:
    """Return the time from which on whatever was used or made stays, since a build at work may want it."""
    began = [workshop.began for workshop in workshops(store.root) if workshop.alive]
    return min([*began, time.time()]) - _MARGIN_S


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
    others = deque(sorted(choice.others, key=lambda result: result.used))
    while others and (others[0].used < oldest or (limits.max_bytes is not None and total > limits.max_bytes)):
        result = others.popleft()
        choice.going.append(result)
        users.subtract(result.needs)
        total -= result.bytes + sum(sizes.get(digest, 0) for digest in result.needs if not users[digest])
    choice.others = [*others]
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
                    raise StoreError(f"{damage}, and a newest build needs it", REPAIR) from damage
        own = amount(folder).bytes + (log.stat().st_size if log.is_file() else 0)
        yield _Result(key, folder.lstat().st_mtime, own, bool(records), frozenset(needs))


def _together(results: Collection[_Result], sizes: dict[str, int]) -> Amount:
    """Return how many results there are and what they take, each object once."""
    needs = {digest for result in results for digest in result.needs}
    own = sum(result.bytes for result in results)
    return Amount(len(results), own + sum(sizes.get(digest, 0) for digest in needs))
