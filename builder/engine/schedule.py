"""Runs what must run: a suspending scheduler over the actions of one build or many.

An action is decided when the digests of its inputs are known; a hit ends it at once, else a worker gets it. One thread,
one selector: what is told to the terminal, committed to the store, or killed on Ctrl-C happens here and nowhere else.
"""

from __future__ import annotations

import selectors
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from shlex import quote
from typing import Any

from builder.engine.commit import commit
from builder.engine.events import Event, Events, shown_name
from builder.engine.limits import broken_limit
from builder.engine.node import Node, Outcome
from builder.engine.pool import HERE, Place, Pool, Worker
from builder.engine.request import make_request
from builder.engine.tell import as_error, error_of, finished_event, last_line, progress_event
from builder.engine.there import find_portable
from builder.engine.turns import Turns
from builder.errors import BuilderError, LimitError, RecipeError, StepError, StoreError, ToolchainError, WorkerError
from builder.outcomes import Status
from builder.plan.decide import Decision, Planner
from builder.store.store import Store
from builder.trouble import nearly_full

__all__ = ["Engine"]

_POLL_S = 0.1  # how often limits are looked at, and a key that another builder holds


class Engine:
    """Runs nodes on workers until each has an outcome. With `keep_going` what does not depend on a failure goes on."""

    def __init__(
        self,
        store: Store,
        planner: Planner,
        events: Events,
        workshop: Callable[[], Path],
        *,
        jobs: int,
        offline: bool = False,
        keep_going: bool = True,
        tools: Store | None = None,
        eager: bool = False,
        judge: Callable[[Node, Outcome], Outcome] = lambda _, outcome: outcome,
    ) -> None:
        self._store = store
        self._planner = planner
        self._events = events
        self._workshop = workshop
        self._jobs = jobs
        self._offline = offline
        self._keep_going = keep_going
        self._tools = tools or store  # where the packages of toolchains lie
        self._eager = eager  # toolchains too, though nobody needs them
        self._judge = judge  # has the last word on an outcome
        self._selector = selectors.DefaultSelector()
        self._missing: dict[int, int] = {}  # of each node, the inputs that have no outcome yet
        self._users: dict[int, list[Node]] = {}
        self._ready: deque[Node] = deque()  # every input has an outcome
        self._startable: deque[Node] = deque()  # decided: a worker must make it
        self._measuring: deque[Node] = deque()  # the same, with the machine to itself
        self._running: dict[Worker, Node] = {}
        self._done: dict[str, Outcome] = {}  # what ran in this build, by key: a sweep has one action many times
        self._failure = ""
        self._attempts = 0
        self._total = 0  # actions that there will be an outcome of
        self._turns = Turns(store, self._tell)

    @cached_property
    def _folder(self) -> Path:
        """A private folder, made when the first action runs: a build with nothing to do writes nothing."""
        return self._workshop()

    @cached_property
    def _pool(self) -> Pool:
        return Pool(self._folder)

    def run(self, nodes: Sequence[Node]) -> None:
        """Give every node an outcome, but for toolchains that nobody needs. Nothing is left running."""
        self._total = sum(map(self._is_wanted, nodes))
        width = max((len(shown_name(node.build, node.action.name)) for node in nodes), default=0)
        self._events(Event("planned", total=self._total, width=width))
        self._connect(nodes)
        ahead = (node for node in nodes if node.outcome is None)
        theres = {id(node.there): node.there for node in nodes if node.there}.values()
        try:
            self._warm(nodes)
            while self._ready or self._startable or self._measuring or self._running:
                self._settle_all()
                for there in theres:
                    there.check_named(self._planner)  # before anything more runs
                self._start_all()
                if self._running:
                    if (later := next(ahead, None)) is not None:
                        self._planner.look_ahead(later.action)
                    self._listen()
                elif not self._ready and (self._startable or self._measuring):
                    time.sleep(_POLL_S)  # all that is left waits for other builds
        finally:
            if "_pool" in vars(self):
                self._pool.close()
            for node in nodes:  # also one that was in no queue when it was interrupted
                node.close()
            self._selector.close()

    def _warm(self, nodes: Sequence[Node]) -> None:
        """Start a worker while the first keys are made, where nothing of this was built here before."""
        if nodes and not any(map(self._planner.was_built, {node.recipe for node in nodes})):
            with suppress(BuilderError, OSError):  # what is wrong is said where a worker cannot be done without
                self._pool.warm()

    def _connect(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            missing = [source for source in node.waits_for if source.outcome is None]
            self._missing[id(node)] = len(missing)
            for source in missing:
                self._users.setdefault(id(source), []).append(node)
            if not missing and self._is_wanted(node):
                self._ready.append(node)

    def _is_wanted(self, node: Node) -> bool:
        """Return whether the node gets an outcome though no other node asks for it."""
        return self._eager or not node.action.lazy or self._planner.asked_for(node.action)

    def _settle_all(self) -> None:
        while self._ready:
            self._settle(self._ready.popleft())

    def _settle(self, node: Node) -> None:
        """Give the node an outcome if it needs no worker."""
        if self._failure and not self._keep_going:
            self._finish(node, Outcome(Status.SKIPPED, f"{self._failure} failed, and keep_going=false"))
            return
        try:
            node.portable = find_portable(node, self._planner)
            if outcome := node.blocked():
                self._finish(node, outcome)
                return
            node.decision = self._decide(node)
        except RecipeError:  # nobody can build what it does not say
            raise
        except BuilderError as error:
            self._failed(node, error)
            return
        if node.decision.status is Status.FAILED:
            hint = f"resume the kit there again, or make a new one: {quote(f'fresh=[{node.action.name}]')}"
            self._failed(node, StepError(node.decision.failed, hint))
        elif node.decision.status is not Status.BUILT:
            self._finish(node, Outcome.of_hit(node.decision))
        elif skipped := node.toolless():
            self._finish(node, skipped)
        elif node.toolchain is not None and node.toolchain.outcome is None:
            self._demand(node.toolchain, node)
        else:
            (self._measuring if node.alone else self._startable).append(node)

    def _decide(self, node: Node) -> Decision:
        there = node.there.decision(node, self._planner) if node.there else None
        return self._planner.decide(node.recipe, node.action, node.digests(), there)

    def _demand(self, tools: Node, user: Node) -> None:
        """Have a toolchain put together, now that an action will run in it; the action is settled again then."""
        users = self._users.setdefault(id(tools), [])
        if not users and not self._is_wanted(tools):
            self._ready.append(tools)
            self._total += 1
            self._events(Event("planned", tools.build, tools.action.name, total=self._total))
        users.append(user)
        self._missing[id(user)] = 1

    def _start_all(self) -> None:
        """Start what there is room for; a measurement's turn comes when nothing else runs."""
        for queue in (self._startable, self._measuring):
            for _ in range(len(queue)):
                if len(self._running) >= self._jobs or any(node.alone for node in self._running.values()):
                    return
                node = queue.popleft()
                if not self._start(node):
                    queue.append(node)

    def _start(self, node: Node) -> bool:
        """Hand the node to a worker, if it may start now and nobody else holds its key."""
        assert node.decision is not None
        if self._failure and not self._keep_going:
            node.close()
            self._finish(node, Outcome(Status.SKIPPED, f"{self._failure} failed, and keep_going=false"))
            return True
        if twin := self._done.get(node.decision.key):
            node.close()
            self._finish(node, twin.shared())
            return True
        if node.alone and self._running:
            return False
        _ = self._folder  # a store that cannot be written ends the build here, in its own words
        return self._turns.take(node) and self._run_locked(node)

    def _run_locked(self, node: Node) -> bool:
        """Look once more, since another builder may have made it meanwhile; else launch it."""
        try:
            node.decision = self._decide(node)
            if node.decision.record is None:
                self._launch(node)
        except (BuilderError, OSError) as error:
            self._failed(node, as_error(error, self._store.root))
            return True
        if node.decision.record is not None:
            node.close()
            self._finish(node, Outcome.of_hit(node.decision))
        else:
            estimate = self._planner.estimate(node.recipe, node.action)
            reason = node.decision.reason
            self._events(Event("started", node.build, node.action.name, reason=reason, estimate=estimate))
        return True

    def _launch(self, node: Node) -> None:
        assert node.decision is not None
        self._attempts += 1
        node.folder = self._folder / f"{self._attempts}"
        for port, digest in node.digests().items():
            self._store.content.take(self._store.content.tree(digest), node.folder / "inputs" / port)
        (node.folder / "output").mkdir(parents=True)
        place = self._place(node)
        request = make_request(
            node.action,
            node.decision.parts,
            node.folder,
            offline=self._offline,
            interpreter=self._planner.interpreter(node.action.locked) if node.action.locked else None,
            packages=place.packages,
        )
        worker = self._pool.take(place)
        self._running[worker] = node
        self._selector.register(worker, selectors.EVENT_READ)
        node.started = time.monotonic()
        worker.send(request)

    def _place(self, node: Node) -> Place:
        """Return where the action runs: here, or in its toolchain, which was looked up or made in this build."""
        if node.action.locked is None or node.action.lazy:
            return HERE
        tools = node.toolchain.outcome if node.toolchain else None
        assert tools is not None
        assert tools.record is not None
        folder = self._tools.content.folders.path(tools.record.outputs["toolchain"])
        return Place(str(self._planner.interpreter(node.action.locked)), str(folder))

    def _listen(self) -> None:
        heard: list[tuple[Worker, list[dict[str, Any]] | None]] = []
        for ready, _ in self._selector.select(timeout=_POLL_S):
            assert isinstance(ready.fileobj, Worker)
            heard.append((ready.fileobj, ready.fileobj.receive()))
        ended = {worker for worker, said in heard if said is None or any(each["answer"] != "progress" for each in said)}
        for worker, node in list(self._running.items()):  # before anything is committed, which can take long
            if worker not in ended and (broken := broken_limit(node, worker)):
                self._stop(worker, broken)
        for worker, said in heard:
            if said is None:
                self._died(worker)
            for answer in said or ():
                self._answered(worker, answer)

    def _tell(self, message: str) -> bool:
        """Say what everything waits for; while something runs, nobody wonders."""
        if not self._running:
            self._events(Event("note", message=message))
        return not self._running

    def _died(self, worker: Worker) -> None:
        node = self._release(worker)
        ending = worker.death()
        self._pool.discard(worker)
        last = last_line(node.tail())
        hint = f"its last output: {last}" if last else "it printed nothing"
        if "SIGKILL" in ending:
            hint += "; the kernel does this when memory runs out"
        self._failed(node, WorkerError(f"{node.action.name}: its process {ending}", hint))

    def _stop(self, worker: Worker, error: StepError) -> None:
        node = self._release(worker)
        self._pool.discard(worker)
        self._failed(node, error)

    def _release(self, worker: Worker) -> Node:
        self._selector.unregister(worker)
        return self._running.pop(worker)

    def _answered(self, worker: Worker, answer: Mapping[str, Any]) -> None:
        if worker not in self._running:
            return  # a thread of a step that goes on reporting after its result
        if answer["answer"] == "progress":
            self._events(progress_event(self._running[worker], answer))
            return
        node = self._release(worker)
        holds_gpu = node.action.step.uses_gpu(node.action.options)
        self._pool.give_back(worker, clean=answer["clean"] and not holds_gpu)
        if answer["answer"] == "failed":
            self._failed(node, error_of(answer))
            return
        try:
            outcome = commit(node, answer, self._store, self._planner, self._folder)
        except (BuilderError, OSError, ValueError) as error:  # ValueError: facts that are no JSON
            self._failed(node, as_error(error, self._store.root))
            return
        self._finish(node, outcome)
        node.close()

    def _failed(self, node: Node, error: BuilderError) -> None:
        if node.folder and not isinstance(error, StoreError) and (full := nearly_full(self._store.root)):
            error = StoreError(f"{full.message}; {error.message}", full.hint)
        key = node.decision.key if node.decision else ""
        seconds = time.monotonic() - node.started if node.started else None
        dispensable = node.action.optional and isinstance(error, ToolchainError)
        status = Status.SKIPPED if dispensable else Status.FAILED
        outcome = Outcome(status, error.message, key, seconds=seconds, error=error, tail=node.tail())
        self._finish(node, outcome)
        node.close()

    def _finish(self, node: Node, outcome: Outcome) -> None:
        made, outcome = outcome, self._judge(node, outcome)
        node.outcome = outcome
        if outcome.status is Status.FAILED:
            self._failure = self._failure or node.action.name
        if node.started:
            node.log = node.keep_log(self._store)
            if not isinstance(made.error, LimitError):  # the limit of another build may be another
                self._done.setdefault(made.key, made)
        self._events(finished_event(node, outcome, self._store))
        for user in self._users.get(id(node), ()):
            self._missing[id(user)] -= 1
            if not self._missing[id(user)]:
                self._ready.append(user)
