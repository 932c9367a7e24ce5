"""How `cache` is told: for people, or as one JSON document."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from builder.cache.arguments import Request
from builder.cache.size import Size
from builder.cache.verify import Verified
from builder.cache.words import size
from builder.recipe.locations import shown
from builder.report.terminal import harmless, paint
from builder.store.gc import Cleaned
from builder.store.usage import Amount

__all__ = ["show_cleaned", "show_size", "show_verified"]

_WORDS = {
    "results": ("result", "results"),
    "objects": ("object", "objects that no result needs"),
    "folders": ("folder of packages", "folders of packages that no result needs"),
    "logs": ("log", "logs without a result"),
    "locks": ("lock", "locks of results that are gone"),
    "set_aside": ("damaged thing", "damaged things that were set aside"),
    "unfinished": ("folder", "folders that dead builds left"),
    "roots": ("root", "roots of builds that are gone"),
    "devices": ("entry of a device", "entries of devices whose results are gone"),
}
_FEW = 20  # findings of one kind that are listed


def show_size(found: Size, *, as_json: bool) -> None:
    """Print what a store holds."""
    if as_json:
        _document({**_plain(asdict(found)), "total_bytes": found.total_bytes})
        return
    if not found.exists:
        print(f"there is no store in {shown(found.store)} yet: the first build makes it")
        return
    print(f"store     {shown(found.store)}  {size(found.total_bytes)}; {size(found.free_bytes)} free on its disk")
    rows = {
        "objects": (found.objects, "bytes by SHA-256"),
        "toolchains": (found.folders, "folders of packages"),
        "results": (found.results, "by action key"),
        "devices": (found.devices, "results that came from devices, by portable key"),
        "logs": (found.logs, "what actions printed"),
        "set aside": (found.set_aside, "damaged; 'cache gc' removes it"),
        "dead": (found.unfinished, "folders that dead builds left; 'cache gc' removes them"),
        "memory": (found.memory, f"files that this user's {found.memory_folder} remembers"),
    }
    for name, (amount, what) in rows.items():
        print(f"  {name:10} {amount.count:>8,}  {size(amount.bytes):>10}  {what}")
    if found.running:
        print(f"  running    {found.running:>8,}              builds at work")
    needs = found.newest_needs
    print(f"kept      {needs.count:,} objects, {size(needs.bytes)}: needed by {_builds(len(found.newest))}")
    for root in found.newest:
        print(f"  {harmless(str(shown(root.folder)))}  {_count(len(root.keys), 'result')}")


def show_cleaned(done: Cleaned, request: Request) -> None:
    """Print what was removed, or in a dry run would be, and what stayed and why."""
    if request.json:
        limits = {"max_bytes": request.limits.max_bytes, "max_age_s": request.limits.max_age_s}
        _document({"store": str(request.store), "dry_run": request.dry_run, **limits, **_plain(asdict(done))})
        return
    word = "would go" if request.dry_run else "removed"
    for kind, amount in done.removed.items():
        if amount.count:
            print(f"{paint(f'{word:9}', 'yellow', sys.stdout)} {_amount(amount)}  {_words(kind, amount.count)}")
    if not any(amount.count for amount in done.removed.values()):
        print("nothing to remove")
    for amount, why in (
        (done.newest, f"needed by {_builds(len(done.roots))}"),
        (done.running, "builds at work may use them"),
        (
            done.others,
            "within the limits" if _is_limited(request) else "no limit was given: max_size_gib, max_age_days",
        ),
    ):
        if amount.count:
            print(f"kept      {_amount(amount)}  {_words('results', amount.count)}: {why}")
    for line in done.refused:
        print(f"{paint('refused  ', 'red', sys.stdout)} {harmless(line)}")
    largest = request.limits.max_bytes
    if largest is not None and done.left_bytes > largest:
        print(
            f"{paint('note', 'yellow', sys.stdout)}: {size(done.left_bytes)} stay, above the {size(largest)} asked for"
        )


def show_verified(found: Verified, *, as_json: bool) -> None:
    """Print what was wrong, how it was repaired, and what to do about the rest."""
    if as_json:
        _document({**_plain(asdict(found)), "remaining": len(found.remaining)})
        return
    for finding in found.findings:
        mark = ("repaired", "green") if finding.repair else ("remains", "red")
        what = f"{finding.kind:9} {shown(finding.path)}: {finding.problem}"
        print(f"{paint(f'{mark[0]:9}', mark[1], sys.stdout)} {harmless(what)}")
        for line in filter(None, (finding.repair, finding.next)):
            print(f"{'':20}{harmless(line.replace(f'{Path.cwd()}/', ''))}")
    if not found.objects.count and not found.results:
        print(f"there is nothing in {shown(found.store)} yet")
        return
    print(
        f"read      {_count(found.objects.count, 'object')} ({size(found.objects.bytes)}), "
        f"{_count(found.results, 'result')}, {_count(found.delivered, 'delivered file')} of {_builds(found.builds)}, "
        f"{_count(found.remembered, 'remembered digest')}"
    )
    left = [f"{_count(found.unneeded, 'object')} that no result needs"] if found.unneeded else []
    left += [f"{_count(found.unfinished, 'folder')} of dead builds"] if found.unfinished else []
    if left:
        print(f"left over {', '.join(left)}: python -m builder cache gc removes them")
    print(_verdict(found))


def _verdict(found: Verified) -> str:
    if not found.findings:
        return f"{paint('intact', 'green', sys.stdout)}  {shown(found.store)}"
    counts = f"{len(found.findings) - len(found.remaining)} repaired, {len(found.remaining)} remaining"
    if found.read_only:
        counts += "; this store can only be read here, so nothing was repaired"
    word, style = ("damaged", "red") if found.remaining else ("repaired", "green")
    return f"{paint(word, style, sys.stdout)}  {shown(found.store)}: {counts}"


def _is_limited(request: Request) -> bool:
    return request.limits.max_bytes is not None or request.limits.max_age_s is not None


def _amount(amount: Amount) -> str:
    return f"{amount.count:>6,}  {size(amount.bytes):>10}"


def _words(kind: str, count: int) -> str:
    return _WORDS[kind][count != 1]


def _builds(count: int) -> str:
    return "the newest build" if count == 1 else f"{count} newest builds"


def _count(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def _document(document: dict[str, Any]) -> None:
    print(json.dumps({"schema": 1, **document}, indent=2, ensure_ascii=False))
