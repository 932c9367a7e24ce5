"""Runs what must run: a suspending scheduler over the actions of one build or many.

An action is decided when the digests of its inputs are known; a hit ends it at once, else a worker gets it. One thread,
one selector: what is told to the terminal, committed to the store, or killed on Ctrl-C happens here and nowhere else.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from builder.engine.events import Event, Events
from builder.engine.node import Node, Outcome
from builder.engine.pool import Pool, Worker
from builder.engine.request import make_request
from builder.errors import BuilderError, StepError, StoreError, WorkerError
from builder.outcomes import Status
from builder.plan.decide import Decision, Planner
from builder.plan.why import Reason
from builder.step import Need
from builder.store.actions import Record
from builder.store.statcache import machine_lock
from builder.store.store import Store

__all__ = ["Engine"]

_POLL_S = 0.1  # how often a key that another builder holds is looked at again


class Engine:
    """Runs nodes on workers until each has an outcome. What does not depend on a failure goes on."""

    def __init__(
        self,
        store: Store,
        planner: Planner,
        events: Events,
        workshop: Callable[[], Path],
        *,
        jobs: int,
        offline: bool,
    ) -> None:
        self._store = store
        self._planner = planner
        self._events = events
        self._workshop = workshop
        self._jobs = jobs
        self._offline = offline
        self._selector = selectors.DefaultSelector()
        self._running: dict[Worker, Node] = {}
        self._attempts = 0
        self._told = False
        self._done: dict[str, Outcome] = {}  # what ran in this build, by key: a sweep has one action many times

    @cached_property
    def _folder(self) -> Path:
        """A private folder, made when the first action runs: a build with nothing to do writes nothing."""
        return self._workshop()

    @cached_property
    def _pool(self) -> Pool:
        return Pool(self._folder)

    def run(self, nodes: Sequence[Node]) -> None:
        """Give every node an outcome. Nothing is left running, whatever happens."""
        waiting = list(nodes)
        try:
            while waiting or self._running:
                waiting = self._advance(waiting)
                if self._running:
                    self._listen()
                elif waiting:
                    self._wait_for_others(waiting)
        finally:
            if "_pool" in vars(self):
                self._pool.close()
            for node in self._running.values():
                node.close()
            self._selector.close()

    def _wait_for_others(self, waiting: Sequence[Node]) -> None:
        """Wait a little: all that is left are keys that other builds hold, and what depends on them."""
        if not self._told:
            name = next(node.action.name for node in waiting if node.decision)
            self._events(Event("note", waiting[0].build, message=f"another build is making {name}; waiting for it"))
            self._told = True
        time.sleep(_POLL_S)

    def _advance(self, waiting: list[Node]) -> list[Node]:
        """Settle or start what can be; return what still waits."""
        while True:
            left = []
            for node in waiting:
                self._settle(node)
                if node.outcome is None and not self._start(node):
                    left.append(node)
            if len(left) == len(waiting) or not left:
                return left
            waiting = left

    def _settle(self, node: Node) -> None:
        """Give the node an outcome if it needs no worker."""
        if node.decision is not None or not node.ready:
            return
        deferred = self._planner.deferred(node.action)
        if outcome := node.blocked() or (Outcome(Status.DEFERRED, deferred) if deferred else None):
            self._finish(node, outcome)
            return
        try:
            decision = self._planner.decide(node.recipe, node.action, node.digests())
        except BuilderError as error:
            self._finish(node, Outcome(Status.FAILED, error.message, error=error))
            return
        self._decided(node, decision)

    def _decided(self, node: Node, decision: Decision) -> None:
        node.decision = decision
        if decision.record is not None:
            self._finish(node, Outcome.of_hit(decision))

    def _start(self, node: Node) -> bool:
        """Hand the node to a worker, if there is a free one and nobody else holds its key."""
        if node.decision is None:
            return False
        if twin := self._done.get(node.decision.key):
            self._finish(node, twin.shared())
            return True
        return self._has_room(node) and self._take_locks(node) and self._run_locked(node)

    def _take_locks(self, node: Node) -> bool:
        """Take the key's lock, and for a measurement the machine's; all or none, without waiting."""
        assert node.decision is not None
        _ = self._folder  # a store that cannot be written ends the build here, in its own words
        wanted = [self._store.lock(node.decision.key)]
        if node.action.step.need is Need.HOST:
            wanted.append(machine_lock())
        for lock in wanted:
            if not lock.acquire():
                node.close()
                return False
            node.locks.append(lock)
        return True

    def _run_locked(self, node: Node) -> bool:
        """Look once more, since another builder may have made it meanwhile; else launch it."""
        try:
            again = self._planner.decide(node.recipe, node.action, node.digests())
            if again.record is None:
                self._launch(node)
            else:
                node.close()
                self._decided(node, again)
        except (BuilderError, OSError) as error:
            self._failed(node, _as_error(error, self._store.root))
        except BaseException:  # damage, or Ctrl-C: this process may want the key again
            node.close()
            raise
        return True

    def _has_room(self, node: Node) -> bool:
        """Measurements run alone; everything else fills the jobs."""
        alone = node.action.step.need is Need.HOST
        busy_alone = any(other.action.step.need is Need.HOST for other in self._running.values())
        return not self._running if alone else not busy_alone and len(self._running) < self._jobs

    def _launch(self, node: Node) -> None:
        assert node.decision is not None
        self._attempts += 1
        node.folder = self._folder / f"{self._attempts}"
        for port, digest in node.digests().items():
            self._store.content.take(self._store.content.tree(digest), node.folder / "inputs" / port)
        (node.folder / "output").mkdir(parents=True)
        request = make_request(node.action, node.decision.parts, node.folder, offline=self._offline)
        worker = self._pool.take()
        self._running[worker] = node
        self._selector.register(worker, selectors.EVENT_READ)
        node.started = time.monotonic()
        self._events(Event("started", node.build, node.action.name, reason=node.decision.reason))
        worker.send(request)

    def _listen(self) -> None:
        for ready, _ in self._selector.select(timeout=_POLL_S):
            worker = ready.fileobj
            assert isinstance(worker, Worker)
            answers = worker.receive()
            if answers is None:
                self._died(worker)
                continue
            for answer in answers:
                self._answered(worker, answer)

    def _died(self, worker: Worker) -> None:
        node = self._release(worker)
        ending = worker.death()
        self._pool.discard(worker)
        last = _last_line(node.log())
        hint = f"its last output: {last}" if last else "it printed nothing"
        self._failed(node, WorkerError(f"{node.action.name}: its process {ending}", hint))

    def _release(self, worker: Worker) -> Node:
        self._selector.unregister(worker)
        return self._running.pop(worker)

    def _answered(self, worker: Worker, answer: Mapping[str, Any]) -> None:
        if worker not in self._running:
            return  # a thread of a step that goes on reporting after its result
        if answer["answer"] == "progress":
            node = self._running[worker]
            event = Event(
                "progress",
                node.build,
                node.action.name,
                done=answer["done"],
                total=answer["total"],
                message=answer["what"],
            )
            self._events(event)
            return
        node = self._release(worker)
        self._pool.give_back(worker)
        if answer["answer"] == "failed":
            self._failed(node, _error(answer))
            return
        try:
            self._commit(node, answer)
        except (BuilderError, OSError) as error:
            self._failed(node, _as_error(error, self._store.root))

    def _commit(self, node: Node, answer: Mapping[str, Any]) -> None:
        assert node.decision is not None
        assert node.folder is not None
        seconds = time.monotonic() - node.started
        if not self._planner.unchanged(node.action, node.digests(), node.decision.key, answer["discovered"]):
            raise StepError("what it read was changed while it ran", "build again")
        output = node.folder / "output"
        trees = {folder.name: self._store.content.add_tree(folder, self._folder) for folder in sorted(output.iterdir())}
        record = Record(
            key=node.decision.key,
            parts=node.decision.parts,
            outputs={port: tree.digest for port, tree in trees.items()},
            facts=answer["facts"],
            deferred=answer["deferred"],
            discovered=answer["discovered"],
            seconds=round(seconds, 3),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        if answer["keep"]:
            self._store.commit(record, self._folder)
        status = Status.DEFERRED if record.deferred else Status.BUILT
        reason = self._planner.missing_device(node.action) if record.deferred else node.decision.reason
        decision = node.decision
        not_kept = "" if answer["keep"] else Reason.NOT_KEPT.value
        node.close()
        self._finish(node, Outcome(status, reason, decision.key, decision.parts, record, seconds, not_kept=not_kept))

    def _failed(self, node: Node, error: BuilderError) -> None:
        log = node.log()
        node.close()
        key = node.decision.key if node.decision else ""
        self._finish(node, Outcome(Status.FAILED, error.message, key, error=error, log=log))

    def _finish(self, node: Node, outcome: Outcome) -> None:
        node.outcome = outcome
        if node.started:
            self._done.setdefault(outcome.key, outcome)
        record = outcome.record
        size = sum(self._store.content.tree(tree).bytes for tree in record.outputs.values()) if record else None
        facts = tuple((name, str(value)) for name, value in record.facts.items()) if record else ()
        hint = outcome.error.hint if outcome.error else ""
        self._events(
            Event(
                "finished", node.build, node.action.name, outcome.status.word, outcome.key, outcome.reason, size,
                outcome.seconds, facts, hint=hint,
            )
        )  # fmt: skip


def _error(answer: Mapping[str, Any]) -> BuilderError:
    from builder import errors

    kind = getattr(errors, answer["kind"], StepError)
    made: BuilderError = kind(answer["message"], answer["hint"])
    return made


def _as_error(error: Exception, root: Path) -> BuilderError:
    if isinstance(error, BuilderError):
        return error
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return StoreError(f"cannot write to the store {root}: {words}", "make room, or choose another: BUILDER_STORE=/path")


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
