"""From what a device sent to results in the store: measured there, judged here by our own code, filed as a whole.

An engine is taken as it is. Of everything else a device sends raw numbers (predictions, times), never a document: the
step itself makes its output of them, in a worker, with what was sent at a port of that name.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from builder.device.fit import misfit
from builder.device.itself import program_digest
from builder.engine.checks import check_outputs
from builder.engine.events import Events
from builder.engine.node import Node, Outcome
from builder.engine.schedule import Engine
from builder.errors import BuilderError, StepError, UsageError
from builder.kit.pack import engine_target
from builder.kit.result import DOCUMENT, Result
from builder.outcomes import Status
from builder.plan.action import Action
from builder.plan.decide import Planner
from builder.plan.keys import key_of
from builder.plan.report import Planned
from builder.step import Kind
from builder.store.actions import Record
from builder.store.devices import Entry
from builder.store.store import Store

__all__ = ["check_keys", "file_result", "is_filed"]

_SENT = "sent"
_RAW = {Kind.EVALUATION: "predictions", Kind.MEASUREMENT: "times"}  # what is sent of what is made here
_LONGEST_S = 1e9  # that an action on a device can have taken
_AGAIN = "resume the kit again, with the resume.pyz that lies in it"


def check_keys(result: Result, planned: Sequence[Planned], planner: Planner) -> None:
    """Raise UsageError where the result is of another build: the actions that it finished would be others today."""
    ours = {each.decision.action.name: each for each in planned if each.portable}
    for name, portable in result.portable.items():
        if name not in ours:
            raise UsageError(
                f"this result is of another build: it has '{name}', which no device finishes for '{result.name}' here",
                "import it where its kit was made, with the recipe as it was",
            )
        mine = ours[name]
        if mine.portable != portable:
            changed = planner.changed(mine.decision.action, mine.inputs, portable)
            raise UsageError(
                f"this result is of another build: the key of '{name}' is {mine.portable[:12]} here, and"
                f" {portable[:12]} in the result{f'; {changed}' if changed else ''}",
                "build again, and take the new kit to the device",
            )
    _check_device(result, _device_target(planned))
    if result.program != program_digest():
        raise UsageError("this result was made by another program than its key says", _AGAIN)
    for name in result.built:
        if name not in result.portable:
            raise UsageError(
                f"the result has '{name}', and says for no key that it is", "copy it from the device again"
            )
        _check_sent(result, ours[name].decision.action)


def _device_target(planned: Sequence[Planned]) -> dict[str, Any]:
    """Return the target as its kit says it: an engine that was built here is loaded by its own version alone."""
    target = planned[0].decision.action.target
    built = [each.decision.record for each in planned if each.decision.action.makes_engine and not each.portable]
    versions = [str(record.facts.get(target.runtime, "")) for record in built[:1] if record]
    return engine_target(target, *versions)


def _check_device(result: Result, target: Mapping[str, Any]) -> None:
    """Raise UsageError where a result comes from what is not the target, as the device's own program would."""
    facts = {str(target["runtime"]): "", "features": "", **result.device}  # none, where it says none
    if other := misfit(target, facts):
        words = f"the recipe is for {target['name']}, {other[0]}; the result is of {facts['name']}, which {other[1]}"
        raise UsageError(words, "resume the kit on such a device, or build for this one: target=NAME")


def _check_sent(result: Result, action: Action) -> None:
    """Raise UsageError where a device sent of an action what it may not: only an engine is believed as it is."""
    folder, done = result.folder / action.name, result.actions[action.name]
    sent = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    kinds = action.step.outputs
    for port in sent:
        if kinds.get(port, Kind.ENGINE) is not Kind.ENGINE:
            words = f"the result brings a finished {action.name}/{port}, which is made here and taken from no device"
            raise UsageError(words, _AGAIN)
    wanted = sorted(port if kind is Kind.ENGINE else _RAW.get(kind, "") for port, kind in kinds.items())
    if sent != wanted or not all((folder / port).is_dir() for port in sent):
        has = ", ".join(sent) or "nothing"
        raise UsageError(f"of {action.name} the result brings {has}, and a device sends {', '.join(wanted)}", _AGAIN)
    if not 0 <= (done.seconds or 0) <= _LONGEST_S:
        raise UsageError(f"the result says that {action.name} took {done.seconds:g} seconds", _AGAIN)
    for name, value in done.facts.items():
        if not isinstance(value, str | int | float | None):
            raise UsageError(f"the result's fact '{name}' of {action.name} is no text and no number", _AGAIN)


def is_filed(result: Result, store: Store) -> bool:
    """Return whether a result lies in the store already, all of it and intact."""
    entries = [store.devices.entry(result.portable[name], result.digest) for name in result.built]
    return all(entry is not None and store.lookup(entry.key, lambda _: None) is not None for entry in entries)


@dataclass(frozen=True)
class _Filing:
    """What is at hand while a result is filed."""

    result: Result
    planner: Planner
    store: Store
    events: Events
    private: Path
    made: dict[str, Record]  # what the actions of the recipe have made, by name


def file_result(
    result: Result, planned: Sequence[Planned], planner: Planner, store: Store, events: Events
) -> list[Entry]:
    """Put what a device made into the store under device keys, the index last, and return what was filed.

    Nothing of a result counts before all of it is there. Raises StepError where its numbers do not fit the recipe,
    StoreError.
    """
    made = {each.decision.action.name: each.decision.record for each in planned if not each.portable}
    records: list[Record] = []
    entries: list[Entry] = []
    siblings = tuple(result.portable[name] for name in result.built)
    failed = {result.portable[name]: why for name, why in result.failed.items() if name in result.portable}
    filed_at = datetime.now(UTC).isoformat(timespec="microseconds")
    with ExitStack() as stack:
        private = stack.enter_context(store.workshop())
        known = {name: record for name, record in made.items() if record is not None}
        filing = _Filing(result, planner, store, events, private, known)
        for each in planned:
            action = each.decision.action
            if action.name not in result.built:
                continue
            record = _record(filing, action)
            filing.made[action.name] = record
            records.append(record)
            entries.append(
                Entry(
                    portable=each.portable,
                    key=record.key,
                    action=action.name,
                    device=result.device,
                    host=result.host,
                    taken_at=result.taken_at,
                    result=result.digest,
                    siblings=siblings,
                    filed_at=filed_at,
                    failed=failed,
                )
            )
        with store.publishing():
            for record in records:
                _commit(record, store, private)
            store.devices.write(entries, private)
    return entries


def _commit(record: Record, store: Store, private: Path) -> None:
    lock = store.lock(record.key)
    lock.wait(shared=False)
    try:
        store.commit(record, private)
    finally:
        lock.release()


def _record(filing: _Filing, action: Action) -> Record:
    """Return the result of an action, its trees in the store. Raises StepError."""
    result, done = filing.result, filing.result.actions[action.name]
    inputs = {port: _input(filing, action, port) for port in action.inputs}
    parts = filing.planner.device_parts(action, inputs, result.device, result.digest)
    folder = result.folder / action.name
    ports = sorted(path.name for path in folder.iterdir())
    if set(ports) == set(action.step.outputs):  # engines
        check_outputs(action.step, folder, deferred=False)
        outputs, facts = _trees(filing, folder, ports), dict(done.facts)
    else:
        told = _finish(filing, action, inputs, _trees(filing, _with_document(filing, folder, ports), ports))
        outputs, facts = dict(told.outputs), dict(told.facts)
    return Record(
        key=key_of(parts),
        parts=parts,
        outputs=outputs,
        facts=facts,
        seconds=round(done.seconds or 0.0, 3),
        created=result.taken_at,
    )


def _input(filing: _Filing, action: Action, port: str) -> str:
    source, output = action.inputs[port]
    record = filing.made.get(source)
    if record is None or output not in record.outputs:
        raise StepError(f"the device finished {action.name} without {source}, which it needs", "resume the kit again")
    return record.outputs[output]


def _with_document(filing: _Filing, folder: Path, ports: Sequence[str]) -> Path:
    """Put result.json beside what was sent: the step says what machine it was, and when."""
    for port in ports:
        shutil.copyfile(filing.result.folder / DOCUMENT, folder / port / DOCUMENT)
    return folder


def _trees(filing: _Filing, folder: Path, ports: Sequence[str]) -> dict[str, str]:
    with filing.store.publishing():
        add = filing.store.content.add_tree
        return {port: add(folder / port, filing.private).digest for port in ports}


def _finish(filing: _Filing, action: Action, inputs: Mapping[str, str], sent: Mapping[str, str]) -> Record:
    """Have a step make its output of what was sent, in a worker as ever. Raises what the step raises."""
    here = replace(
        action,
        inputs={**{port: (port, port) for port in inputs}, **{port: (_SENT, port) for port in sent}},
        there=False,
        locked=None,
    )
    given = {port: _given(filing, here, port, digest) for port, digest in {**inputs, **sent}.items()}
    node = Node(filing.result.name, f"{filing.result.name}:{_SENT}", here, given)
    engine = Engine(filing.store, filing.planner, filing.events, lambda: _subfolder(filing.private, action), jobs=1)
    engine.run([node])
    assert node.outcome is not None
    if node.outcome.record is None:
        raise _error(action, node.outcome)
    return node.outcome.record


def _given(filing: _Filing, here: Action, port: str, digest: str) -> Node:
    """Return a node that stands for what is there already."""
    record = Record("", {}, {here.inputs[port][1]: digest})
    bare = replace(here, name=port, inputs={})
    return Node(filing.result.name, filing.result.name, bare, {}, outcome=Outcome(Status.CACHED, record=record))


def _subfolder(private: Path, action: Action) -> Path:
    folder = private / f"finish-{action.name}"
    folder.mkdir()
    return folder


def _error(action: Action, outcome: Outcome) -> BuilderError:
    if outcome.error is not None:
        return type(outcome.error)(f"{action.name}: {outcome.error.message}", outcome.error.hint)
    return StepError(f"{action.name} of the result cannot be judged here: {outcome.reason}")
