"""The actions of two builds: which belong together, and which parts of their keys differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.diff.changes import How
from builder.diff.naming import Build
from builder.outcomes import Reproducible, Status
from builder.plan.why import Reason, Why, compare
from builder.store.actions import ActionCache, Record

__all__ = ["ActionChange", "Pair", "Records", "action_change", "pair_actions"]

Action = Mapping[str, Any]

_MEASURED = Reproducible.MEASURED.value


@dataclass(frozen=True)
class Pair:
    """An action in the first build and the same one in the second; None where a build does not have it."""

    old: Action | None
    new: Action | None

    @property
    def name(self) -> str:
        return str((self.new or self.old or {})["name"])

    @property
    def was(self) -> str:
        """Its name in the first build."""
        return str((self.old or self.new or {})["name"])

    @property
    def same_status(self) -> bool:
        return self.old is not None and self.new is not None and _status(self.old) == _status(self.new)

    @property
    def same_outputs(self) -> bool:
        return self.old is not None and self.new is not None and _outputs(self.old) == _outputs(self.new)

    @property
    def same_delivered(self) -> bool:
        """Whether what people get of it is the same; a source model stays in the store."""
        return self.old is not None and self.new is not None and _delivered(self.old) == _delivered(self.new)

    @property
    def measured(self) -> bool:
        return any(action["reproducible"] == _MEASURED for action in (self.old, self.new) if action)


@dataclass(frozen=True)
class ActionChange:
    """What differs about an action; `why` compares its keys part by part, in the words of `plan`."""

    name: str
    was: str
    how: How
    old_status: str | None
    new_status: str | None
    old_key: str | None
    new_key: str | None
    same_outputs: bool
    why: tuple[Why, ...] = ()
    notes: tuple[str, ...] = ()


class Records:
    """What stores still hold of two builds' actions; it only reads."""

    def __init__(self, stores: Sequence[Path]) -> None:
        self._caches = [ActionCache(store / "ac") for store in dict.fromkeys(stores)]

    def parts(self, action: Action) -> Mapping[str, Any] | None:
        """Return the parts of an action's key, or None where no store holds them."""
        return next((record.parts for record in self._records(action)), None)

    def discovered(self, action: Action) -> Mapping[str, str]:
        """Return the files that were found on the way to the very result that a build has."""
        exact = (record for record in self._records(action) if dict(record.outputs) == _outputs(action))
        return next((record.discovered for record in exact), {})

    def _records(self, action: Action) -> Iterator[Record]:
        for cache in self._caches if action["key"] else ():
            yield from (record for _, record in cache.records(action["key"]) if record is not None)


def pair_actions(old: Sequence[Action], new: Sequence[Action]) -> list[Pair]:
    """Return the actions of both builds in pairs, by name; one under a new name by its key, or else by its bytes."""
    left = {action["name"]: action for action in old}
    here = {action["name"] for action in new}
    leaving = [action for action in old if action["name"] not in here]
    pairs = []
    for action in new:
        twin = left.get(action["name"]) or next((other for other in leaving if _is_twin(other, action)), None)
        leaving = [other for other in leaving if other is not twin]
        pairs.append(Pair(twin, action))
    return pairs + [Pair(action, None) for action in leaving]


def _is_twin(old: Action, new: Action) -> bool:
    same_key = old["key"] == new["key"] is not None
    return same_key or (old["step"] == new["step"] and _outputs(old) == _outputs(new) != {})


def action_change(pair: Pair, builds: tuple[Build, Build], records: Records) -> ActionChange | None:
    """Return what differs about an action, or None where nothing does."""
    old, new = pair.old, pair.new
    if old is None or new is None:
        return _change(pair, How.ADDED if old is None else How.REMOVED)
    same_key = old["key"] == new["key"] is not None
    same_end = pair.same_status and pair.same_outputs and old["error"] == new["error"]
    if same_end and (same_key or (old["key"] == new["key"] and _told(old, builds[0]) == _told(new, builds[1]))):
        return _change(pair, How.RENAMED) if pair.was != pair.name else None
    why, notes = _same_key(old, new, records) if same_key else _other_key(old, new, builds, records)
    failures = [action["error"] for action in (old, new) if action["error"]]
    return _change(pair, How.CHANGED, tuple(why), (*notes, *dict.fromkeys(failures)))


def _change(pair: Pair, how: How, why: tuple[Why, ...] = (), notes: tuple[str, ...] = ()) -> ActionChange:
    old, new = pair.old or {}, pair.new or {}
    status = old.get("status"), new.get("status")
    return ActionChange(
        pair.name, pair.was, how, *status, old.get("key"), new.get("key"), pair.same_outputs, why, notes
    )


def _same_key(old: Action, new: Action, records: Records) -> tuple[list[Why], list[str]]:
    if _status(old) != _status(new) or _outputs(old) == _outputs(new):
        return [], []
    before, after = records.discovered(old), records.discovered(new)
    found = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    if found:
        return [Why(Reason.FOUND_FILE, name) for name in found], []
    if new["reproducible"] == _MEASURED:
        return [], ["measured again"]
    return [], [f"the same key made other bytes, though the step says it is {new['reproducible']}"]


def _other_key(old: Action, new: Action, builds: tuple[Build, Build], records: Records) -> tuple[list[Why], list[str]]:
    before, after = records.parts(old), records.parts(new)
    notes = []
    if before is None or after is None:
        lost = [build.label for build, parts in zip(builds, (before, after), strict=True) if parts is None]
        what = "the store has no record of it" if old["key"] and new["key"] else "its key is not known"
        notes.append(f"{what} in {' and '.join(lost)}: compared by what the manifests say")
        before, after = _told(old, builds[0]), _told(new, builds[1])
        before, after = ({part: told[part] for part in before.keys() & after.keys()} for told in (before, after))
    why = compare(before, after, new["sources"])
    if old["step"] != new["step"]:
        notes.append(f"step {old['step']} -> {new['step']}")
    elif not why and not notes:
        notes.append("what differs in its key is not told")
    return why, notes


def _told(action: Action, build: Build) -> dict[str, Any]:
    """Return those parts of a key that a manifest holds; one without a key has options alone."""
    step = build.manifest["recipe"]["steps"].get(action["name"], {})
    options = {name: value for name, value in step.items() if name not in ("step", "inputs")}
    known = {"inputs": action["inputs"], "toolchain": action["toolchain"]} if action["key"] else {}
    return {"options": options, **known}


def _status(action: Action) -> str:
    return Status.BUILT.word if action["status"] == Status.CACHED.word else str(action["status"])


def _outputs(action: Action) -> dict[str, str]:
    return {port: output["sha256"] for port, output in action["outputs"].items()}


def _delivered(action: Action) -> dict[str, str]:
    return {port: output["sha256"] for port, output in action["outputs"].items() if output["path"]}
