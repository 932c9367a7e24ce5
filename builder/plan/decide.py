"""Whether an action would run, and why: its key against the store, its key's parts against the last time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builder.digest import digest_json
from builder.errors import BuilderError
from builder.outcomes import Reproducible, Status
from builder.plan.action import Action
from builder.plan.devices import Made, OfDevice, Sent, Waiting, by_device, choose, find_named
from builder.plan.devices import in_words as on_device
from builder.plan.facts import Facts
from builder.plan.keys import key_of, key_parts
from builder.plan.portable import device_parts, portable_parts
from builder.plan.why import Reason, Why, compare, in_words
from builder.recipe.locations import find_file
from builder.runtimes.available import why_not_run
from builder.store.actions import Record
from builder.store.devices import Entry
from builder.store.store import Store
from builder.toolchains.spec import Locked

__all__ = ["Decision", "Planner"]

_PORTABLE = "portable"  # the kind of note that keeps the parts of a portable key
_LAST = "last"  # the kind of note under which an action's last key parts are remembered


@dataclass(frozen=True)
class Decision:
    """What the plan says of an action; `record` is the intact result, `why` is empty when nothing would run."""

    action: Action
    status: Status  # CACHED, BUILT (it would be), DEFERRED, FAILED (on the device)
    key: str = ""
    parts: Mapping[str, Any] = field(default_factory=dict)
    record: Record | None = None
    why: tuple[Why, ...] = ()
    deferred: str = ""
    failed: str = ""  # on the device, and why
    entry: Entry | None = None  # of the device that made the record

    @property
    def reason(self) -> str:
        return self.failed or self.deferred or self.made or in_words(self.why)

    @property
    def made(self) -> str:
        """Where and when a device made it, in words."""
        if self.entry is None:
            return ""
        built = self.action.reproducible is Reproducible.REPLAYABLE
        return on_device(self.entry, made="built" if built else "measured")


class Planner:
    """Decides action by action; the engine and the `plan` verb both ask it."""

    def __init__(
        self,
        store: Store,
        facts: Facts,
        scope: Path,
        fresh: Collection[str] = (),
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._note = note
        self._facts = facts
        self._scope = str(scope.absolute())
        self._fresh = fresh

    def deferred(self, action: Action) -> str:
        """Return why an action has nothing to do on this machine, or ''."""
        if not action.there:
            return ""
        device, reason = self._facts.device(action)
        if device is None:
            return reason
        return why_not_run(action.target.runtime)

    def portable(self, action: Action, inputs: Mapping[str, str]) -> str:
        """Return the portable key of an action of which at least a part waits for a device, '' for any other.

        Of what such an action makes, `inputs` say `portable:` and its key. Raises SourceError, DataError.
        """
        if not action.needs_target or (self._facts.device(action)[0] is not None and not self.deferred(action)):
            return ""
        parts = portable_parts(action, inputs, self._facts)
        key, stats = key_of(parts), self._facts.stats
        if stats.note(_PORTABLE, key) is None:
            stats.remember(_PORTABLE, {key: parts})
        return key

    def changed(self, action: Action, inputs: Mapping[str, str], portable: str) -> str:
        """Say what makes a portable key another one today; '' where this machine never had that key."""
        parts = self._facts.stats.note(_PORTABLE, portable)
        sources = {port: name for port, (name, _) in action.inputs.items()}
        return in_words(compare(parts, portable_parts(action, inputs, self._facts), sources)) if parts else ""

    def device_parts(
        self, action: Action, inputs: Mapping[str, str], device: Mapping[str, Any], result: str
    ) -> dict[str, Any]:
        """Return the parts of the key of what a device made of these inputs, given by digest, and sent as a result."""
        return device_parts(action, inputs, self._facts, device, result)

    def asked_for(self, action: Action) -> bool:
        """Return whether `fresh=` asks for an action; what a device measured is asked for by its own name."""
        return action.name in self._fresh or (action.step.name in self._fresh and not action.there)

    def look_ahead(self, action: Action) -> None:
        """Read what the action's key will need, while there is time; what is wrong with it is said in its turn."""
        with contextlib.suppress(BuilderError):
            self._facts.code(action)
            self._facts.toolchain(action)

    def choose(self, waiting: Sequence[Waiting]) -> dict[str, Decision]:
        """Return what becomes of a build's actions that wait for a device, as far as one sent them, by name.

        The device is chosen once, for all of them. Raises RecipeError where several could be meant.
        """
        waiting = [each for each in waiting if not self.asked_for(each.action)]
        if not waiting:
            return {}
        wanted, target = [each.action.name for each in waiting], waiting[0].action.target
        found, lost = self._sent(waiting)
        device, note = choose(by_device(found), wanted, target, lost)
        if note:
            self._note(note)
        return {each.action.name: decided for each in waiting if device and (decided := _decided(each.action, device))}

    def decide(self, recipe: str, action: Action, inputs: Mapping[str, str], there: Decision | None = None) -> Decision:
        """Return what becomes of an action whose input digests are known; `there` is what `choose` says of it.

        Raises SourceError, DataError.
        """
        if there:
            return there
        if deferred := self.deferred(action):
            return Decision(action, Status.DEFERRED, deferred=deferred)
        parts = key_parts(action, inputs, self._facts)
        key = key_of(parts)
        asked_for = self.asked_for(action)
        record = None if asked_for else self._store.lookup(key, lambda name: _current(action, name, self._facts))
        if record is not None:
            status = Status.DEFERRED if record.deferred else Status.CACHED
            deferred = self.missing_device(action) if record.deferred else ""
            return Decision(action, status, key, parts, record, deferred=deferred)
        why = (Why(Reason.FRESH),) if asked_for else self._why(recipe, action, key, parts)
        return Decision(action, Status.BUILT, key, parts, None, why)

    def unchanged(self, action: Action, inputs: Mapping[str, str], key: str, discovered: Mapping[str, str]) -> bool:
        """Return whether an action that has just run would get the same key again: nothing that it read was edited.

        An edit that was taken back counts too: the action may have read what was there in between.
        """
        now = Facts(self._facts.stats, again=True)
        same = key_of(key_parts(action, inputs, now)) == key
        found = all(_current(action, name, now) == digest for name, digest in discovered.items())
        return same and found and self._facts.untouched(now)

    def remember(self, recipe: str, decisions: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep each action's key parts for the next time somebody asks why."""
        stats, whole = self._facts.stats, self._name(recipe, "")
        state = digest_json(
            "builder.last.v1", {name: [last["key"], last["reason"]] for name, last in decisions.items()}
        )
        if stats.note(_LAST, whole) != state:
            stats.remember(_LAST, {self._name(recipe, name): last for name, last in decisions.items()})
            stats.remember(_LAST, {whole: state})

    def estimate(self, recipe: str, action: Action) -> float | None:
        """Return how many seconds an action took the last time, or None."""
        last = self._facts.stats.note(_LAST, self._name(recipe, action.name))
        return last.get("seconds") if last else None

    def was_built(self, recipe: str) -> bool:
        """Return whether a build of a recipe came to its end in this folder before."""
        return self._facts.stats.note(_LAST, self._name(recipe, "")) is not None

    def interpreter(self, locked: Locked) -> Path:
        """Return the Python of a toolchain. Raises ToolchainError."""
        return self._facts.interpreter(locked.lock.python).path

    def key(self, action: Action) -> str:
        """Return the key of an action without inputs. Raises ToolchainError."""
        return key_of(key_parts(action, {}, self._facts))

    def missing_device(self, action: Action) -> str:
        """Return why the target's device is not here."""
        return self._facts.device(action)[1]

    def check_named(self, waiting: Sequence[Waiting]) -> None:
        """Raise RecipeError where the device that the target names sent nothing of these, and others did."""
        waiting = [each for each in waiting if not self.asked_for(each.action)]
        if waiting and (target := waiting[0].action.target).device:
            found, lost = self._sent(waiting)
            find_named(by_device(found), target, lost)

    def _sent(self, waiting: Sequence[Waiting]) -> tuple[list[Sent], list[Entry]]:
        """Return what came from devices, and the results that count for nothing: anything of them is gone."""
        entries = {entry.result: entry for each in waiting for entry in self._store.devices.find(each.portable)}
        found, lost = [], []
        for entry in entries.values():
            made = self._made(waiting, entry)
            if all(each.action.name in made for each in waiting if each.portable in entry.siblings):
                keys = {each.action.name: each.portable for each in waiting}
                failed = {name: entry.failed[key] for name, key in keys.items() if key in entry.failed}
                found.append(Sent(entry, made, failed))
            else:
                lost.append(entry)
        return found, lost

    def _made(self, waiting: Iterable[Waiting], entry: Entry) -> dict[str, Made]:
        """Return what is in the store of the actions of one result."""
        found: dict[str, Made] = {}
        for each in waiting:
            theirs = {port: source for port, source in each.action.inputs.items() if port not in each.given}
            if each.portable not in entry.siblings or any(name not in found for name, _ in theirs.values()):
                continue
            inputs = {port: found[name].record.outputs[output] for port, (name, output) in theirs.items()}
            parts = self.device_parts(each.action, {**each.given, **inputs}, entry.device, entry.result)
            key = key_of(parts)
            if record := self._store.lookup(key, lambda name, each=each: _current(each.action, name, self._facts)):  # type: ignore[misc]
                found[each.action.name] = Made(key, parts, record)
        return found

    def _why(self, recipe: str, action: Action, key: str, parts: Mapping[str, Any]) -> tuple[Why, ...]:
        last = self._facts.stats.note(_LAST, self._name(recipe, action.name))
        if last is None:
            return (Why(Reason.FIRST_BUILD),)
        if last.get("key") == key:
            reason = Reason(last["reason"]) if last.get("reason") else Reason.RESULT_LOST
            return (Why(reason),) if reason is not Reason.RESULT_LOST else self._lost(action, key)
        sources = {port: name for port, (name, _) in action.inputs.items()}
        return tuple(compare(last["parts"], parts, sources)) or (Why(Reason.FIRST_BUILD),)

    def _lost(self, action: Action, key: str) -> tuple[Why, ...]:
        """Tell a result that is gone from one whose discovered files have changed."""
        for name, digest in self._store.discovered(key).items():
            if _current(action, name, self._facts) != digest:
                return (Why(Reason.FOUND_FILE, name),)
        return (Why(Reason.RESULT_LOST),)

    def _name(self, recipe: str, action: str) -> str:
        return f"{self._scope}:{recipe}:{action}"


def _decided(action: Action, device: OfDevice) -> Decision | None:
    """Return what became of an action on the chosen device; None where nothing came of it."""
    for sent in device.sent:
        if made := sent.made.get(action.name):
            return Decision(action, Status.CACHED, made.key, made.parts, made.record, entry=sent.entry)
        if action.name in sent.failed:
            failed = f"{on_device(sent.entry, made='failed')}: {sent.failed[action.name]}"
            return Decision(action, Status.FAILED, failed=failed, entry=sent.entry)
    return None


def _current(action: Action, name: str, facts: Facts) -> str | None:
    """Return the digest that a discovered file has now: external data lies beside the model."""
    if action.model.path is None:
        return None
    try:
        return facts.digest(find_file(action.model.path).parent / name)
    except OSError:
        return None
