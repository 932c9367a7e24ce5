"""`cache`: how much the store holds, what of it can go, and whether every byte of it is right."""

from __future__ import annotations

import sys
from contextlib import closing

from builder.cache.arguments import Request, Verb, parse
from builder.errors import UsageError
from builder.outcomes import ExitCode
from builder.report.terminal import harmless, paint
from builder.store.statcache import StatCache
from builder.store.store import Store
from builder.store.tag import is_store

__all__ = ["cache"]


def cache(arguments: list[str]) -> int:
    """Run `cache [gc|verify] [settings]`; 1 where `verify` found what it could not repair.

    Raises UsageError for a wrong command or a folder that is no store, StoreError where it cannot be used.
    """
    request = parse(arguments)
    if request is None:
        return ExitCode.OK
    _check(request)
    if request.verb is Verb.GC:
        return _clean(request)
    return _verify(request) if request.verb is Verb.VERIFY else _size(request)


def _check(request: Request) -> None:
    """Raise UsageError for what is no store; one that is not there yet holds nothing, unless it was named."""
    store = request.store
    if not store.exists():
        if request.named:
            raise UsageError(f"there is no store {store}", "the first build makes it")
    elif not store.is_dir():
        raise UsageError(f"{store} is not a folder, so it is no store")
    elif any(store.iterdir()) and not is_store(store):
        raise UsageError(f"{store} is not a store: it was not made by a build", "name one: store=FOLDER")


def _size(request: Request) -> int:
    from builder.cache.show import show_size
    from builder.cache.size import measure

    with closing(StatCache()) as stats:
        show_size(measure(Store(request.store, stats, _warn, look=True), stats), as_json=request.json)
    return ExitCode.OK


def _clean(request: Request) -> int:
    from builder.cache.show import show_cleaned
    from builder.store.gc import Cleaned, clean

    with closing(StatCache()) as stats:
        store = Store(request.store, stats, _warn, look=request.dry_run)
        done = (
            clean(store, stats, request.limits, dry_run=request.dry_run) if store.root.is_dir() else Cleaned.nothing()
        )
    show_cleaned(done, request)
    return ExitCode.OK


def _verify(request: Request) -> int:
    from builder.cache.show import show_verified
    from builder.cache.verify import verify

    found = verify(request.store)
    show_verified(found, as_json=request.json)
    return ExitCode.FAILED if found.remaining else ExitCode.OK


def _warn(text: str) -> None:
    print(f"{paint('warning', 'yellow', sys.stderr)}: {harmless(text)}", file=sys.stderr)
