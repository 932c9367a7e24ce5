"""How much a store holds, by what it is for."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from builder.store.cas import Damaged
from builder.store.roots import Root, roots
from builder.store.statcache import StatCache, cache_folder
from builder.store.store import Store
from builder.store.usage import Amount, amount, folders, objects, reached, workshops
from builder.trouble import free_bytes

__all__ = ["Size", "measure"]


@dataclass(frozen=True)
class Size:
    """What lies in a store; sizes are those of the files, as a person would add them up."""

    store: Path
    exists: bool
    objects: Amount
    folders: Amount  # packages of toolchains
    results: Amount
    devices: Amount  # entries of what came from devices
    logs: Amount
    set_aside: Amount
    unfinished: Amount  # private folders of dead builds
    running: int  # private folders of builds at work
    memory: Amount  # files that this user's machine remembers, and what the database takes
    memory_folder: Path
    newest: Sequence[Root]
    newest_needs: Amount  # objects, and the bytes of folders too
    free_bytes: int

    @property
    def total_bytes(self) -> int:
        kinds = (self.objects, self.folders, self.results, self.devices, self.logs, self.set_aside, self.unfinished)
        return sum(kind.bytes for kind in kinds)


def measure(store: Store, stats: StatCache) -> Size:
    """Measure a store, which may be missing or read-only, and change nothing."""
    root = store.root
    sizes = {digest: status.st_size for digest, status in objects(root).items()}
    kept = folders(root)
    newest = [found for path, found in roots(root) if found is not None and not found.gone(path)]
    needed = _needs(store, newest)
    needs = [sizes[digest] for digest in needed & sizes.keys()]
    private = workshops(root)
    left = [amount(workshop.path).bytes for workshop in private if not workshop.alive]
    return Size(
        store=root,
        exists=root.is_dir(),
        objects=Amount(len(sizes), sum(sizes.values())),
        folders=Amount(len(kept), sum(kept.values())),
        results=amount(root / "ac", ".json"),
        devices=amount(root / "devices", ".json"),
        logs=amount(root / "logs"),
        set_aside=_things(root / "bad"),
        unfinished=Amount(len(left), sum(left)),
        running=len(private) - len(left),
        memory=Amount(len(stats.rows()), amount(cache_folder()).bytes),
        memory_folder=cache_folder(),
        newest=newest,
        newest_needs=Amount(len(needs), sum(needs) + sum(kept[digest] for digest in needed & kept.keys())),
        free_bytes=free_bytes(root),
    )


def _needs(store: Store, newest: Sequence[Root]) -> set[str]:
    needs: set[str] = set()
    for key in {key for root in newest for key in root.keys}:
        for _, record in store.actions.records(key):
            with suppress(Damaged):  # `verify` is the one to tell
                needs |= reached(store.content, record) if record else set()
    return needs


def _things(folder: Path) -> Amount:
    """Return how many things lie in a folder, each a file or a folder, and their bytes."""
    return Amount(len(list(folder.iterdir())) if folder.is_dir() else 0, amount(folder).bytes)
