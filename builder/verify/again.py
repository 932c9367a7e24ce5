"""The second run: an empty store, in another folder, at another time, with the inputs of the first run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from builder.engine.events import Event, Events
from builder.engine.jobs import default_jobs
from builder.engine.node import Node
from builder.engine.schedule import Engine
from builder.errors import StoreError
from builder.outcomes import Status
from builder.plan.decide import Planner
from builder.plan.facts import Facts
from builder.recipe.schema import Machine, Recipe
from builder.store.actions import Record
from builder.store.cas import Damaged, Entry
from builder.store.statcache import StatCache
from builder.store.store import Store, store_folder
from builder.store.tag import claim
from builder.verify.judge import Judged, Stores, is_fetched, judge, judge_alone

__all__ = ["rebuild"]

_APART_S = 2.0  # a zip archive stores times in steps of 2 s (APPNOTE 4.4.6); most formats in steps of 1 s
_ROOM = "the second copy lies under TMPDIR: TMPDIR=/path puts it on another disk"


def rebuild(recipe: Recipe, first: Sequence[Node], scratch: Path, events: Events, copies: Path) -> tuple[Judged, ...]:
    """Run again what can be judged by running it, and judge every action; what differs is copied to `copies`.

    Nothing is believed of what this machine remembers: sources are hashed anew. Raises StoreError.
    """

    def warn(text: str) -> None:
        events(Event("warning", message=text))

    stats = StatCache(scratch / "cache")
    try:
        claim(scratch / "store")
        stores = Stores(Store(store_folder(recipe.machine.store), stats, warn), Store(scratch / "store", stats, warn))
        alone = {node.action.name: verdict for node in first if (verdict := judge_alone(node, stores.first))}
        again = {node.action.name: _again(node) for node in first if node.action.name not in alone}
        _seed(stores, [*again.values()], [node for node in first if is_fetched(node.action)])
        _wait(first)
        told = _told(events, {node.action.name: node for node in first}, scratch)
        _run(stores, Planner(stores.second, Facts(stats), scratch), [*again.values()], recipe.machine, told)
        return tuple(
            alone.get(node.action.name) or judge(node, again[node.action.name], stores, copies) for node in first
        )
    except Damaged as damage:
        raise StoreError(f"{damage}, in the usual store", "verify again: what made it runs first") from damage
    except StoreError as error:
        raise StoreError(error.message, _hint(error.message, error.hint, scratch)) from error
    finally:
        stats.close()


def _again(node: Node) -> Node:
    """Return the action as it was before it ran, with the first run's nodes as its sources."""
    return Node("again", node.recipe, node.action, node.inputs, node.limits, node.toolchain)


def _seed(stores: Stores, again: Iterable[Node], fetched: Iterable[Node]) -> None:
    """Copy into the empty store what the actions take, and what was fetched, hashed on the way; no result comes along.

    Raises Damaged.
    """
    digests = {digest for node in again for digest in node.digests().values()}
    digests |= {digest for node in fetched if (record := _record(node)) for digest in record.outputs.values()}
    for digest in sorted(digests):
        tree = stores.first.content.tree(digest)
        for entry in (Entry("", tree.digest, 0), *tree.files):
            target = stores.second.content.path(entry.sha256)
            if not target.exists():
                stores.first.content.take_file(entry, target)


def _told(events: Events, first: Mapping[str, Node], scratch: Path) -> Events:
    """Return a reader that passes events on, less what the first run said and the log, which goes with the store."""

    def tell(event: Event) -> None:
        if event.kind == "started":
            record = _record(first[event.action])
            events(replace(event, reason="", estimate=record.seconds if record else None))
        else:
            reason = event.reason if event.status == Status.FAILED.word else ""
            events(replace(event, reason=reason, facts=(), log="", hint=_hint(reason, event.hint, scratch)))

    return Events(tell)


def _hint(message: str, hint: str, scratch: Path) -> str:
    """Say what helps where the second copy does not fit, instead of what helps with the usual store."""
    return _ROOM if str(scratch) in message else hint


def _record(node: Node) -> Record | None:
    return node.outcome.record if node.outcome else None


def _wait(first: Iterable[Node]) -> None:
    """Let the clock go on, where the first build ended just now: what writes the time would write the same again."""
    made = [record.created for node in first if (record := _record(node))]
    newest = max(datetime.fromisoformat(created) for created in made) if made else datetime.now(UTC)
    passed_s = (datetime.now(UTC) - newest).total_seconds()
    time.sleep(min(max(_APART_S - passed_s, 0.0), _APART_S))


def _run(stores: Stores, planner: Planner, nodes: Sequence[Node], machine: Machine, events: Events) -> None:
    with ExitStack() as stack:
        engine = Engine(
            stores.second,
            planner,
            events,
            lambda: stack.enter_context(stores.second.workshop()),
            jobs=machine.jobs or default_jobs(),
            offline=machine.offline,
            tools=stores.first,
        )
        engine.run(nodes)
