"""`cache verify`: read everything, repair what can be repaired, name the rest."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from builder.cache.delivered import Delivered
from builder.cache.newest import Newest, copies, find_newest, next_command
from builder.cache.progress import Progress
from builder.store.audit import Reader, survey
from builder.store.mend import Finding, Mender
from builder.store.roots import Root, roots
from builder.store.statcache import StatCache, cache_folder, mend
from builder.store.store import Store
from builder.store.usage import Amount, folders, objects, workshops

__all__ = ["Verified", "verify"]


@dataclass(frozen=True)
class Verified:
    """What was read, what was wrong, and what is left over."""

    store: Path
    read_only: bool  # the store cannot be written, so nothing was repaired
    findings: Sequence[Finding] = ()
    objects: Amount = field(default_factory=Amount)
    results: int = 0
    builds: int = 0
    delivered: int = 0  # files
    remembered: int = 0  # digests
    unneeded: int = 0  # objects that no result needs
    unfinished: int = 0  # private folders of dead builds

    @property
    def remaining(self) -> list[Finding]:
        return [finding for finding in self.findings if not finding.repair]


def verify(folder: Path) -> Verified:
    """Verify a store, the newest builds made with it, and what this machine remembers of both. Raises StoreError."""
    if not folder.is_dir():
        return Verified(folder, read_only=False)
    look = not os.access(folder, os.W_OK)
    findings = _mended_memory()
    sizes = [status.st_size for status in objects(folder).values()]
    with ExitStack() as stack:
        stats = stack.enter_context(closing(StatCache()))
        store = Store(folder, stats, lambda _text: None, look=look)
        stack.enter_context(nullcontext() if look else store.publishing())  # the cleaning waits
        total = sum(sizes) + sum(folders(folder).values())
        reader = Reader(stack.enter_context(Progress(sys.stderr, total)))
        found = survey(store, reader)
        newest = [root for path, root in roots(folder) if root is not None and not root.gone(path)]
        builds, wrong = find_newest(newest)
        copied = copies(builds, reader)
        remembered, forgotten = _memory(stats, reader, folder, newest)
        workshop = functools.cache(lambda: stack.enter_context(store.workshop()))
        mender = Mender(store, reader, found, copied, workshop, look=look)
        findings += [*forgotten, *mender.mend(lambda key: _named(key, builds)), *wrong]
        delivered = Delivered(store, stats, reader, mender, look=look)
        findings += [finding for build in builds for finding in delivered.check(build)]
    return Verified(
        folder,
        look,
        findings,
        objects=Amount(len(sizes), sum(sizes)),
        results=len(found.results),
        builds=len(builds),
        delivered=delivered.count,
        remembered=remembered,
        unneeded=len(found.intact - mender.needed),
        unfinished=sum(not workshop.alive for workshop in workshops(folder)),
    )


def _mended_memory() -> list[Finding]:
    if not mend():
        return []
    return [Finding("memory", cache_folder(), "the database of what this machine remembers is damaged", "made anew")]


def _memory(stats: StatCache, reader: Reader, store: Path, newest: Sequence[Root]) -> tuple[int, list[Finding]]:
    """Compare what is remembered of files in the store and in the projects that use it with their bytes."""
    places = [store, *(parent for root in newest for parent in root.folder.parents[2:3])]
    rows = [(path, believed) for path, believed in stats.rows() if any(map(path.is_relative_to, places))]
    findings = []
    for path, believed in rows:
        if reader.hash(path) != believed and reader.again(path) != believed and (path, believed) in stats.rows():
            stats.forget(path)
            problem = "what this machine remembers of it is not what it holds, though its times say so"
            findings.append(Finding("memory", path, problem, "forgotten"))
    return len(rows), findings


def _named(key: str, builds: Sequence[Newest]) -> tuple[str, str]:
    """Return what the result of a key is, and the command that makes it again."""
    for build in builds:
        for action in build.manifest["actions"]:
            if action["key"] == key:
                return f"{action['name']} of {build.manifest['name']}", next_command(build)
    return "an action of an older build", "a build that needs it makes it again"
