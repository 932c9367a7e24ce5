"""Which device's result is meant, where one or more have sent theirs: one, for all that a build takes of a device."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from builder.device.fit import misfit
from builder.errors import RecipeError, did_you_mean
from builder.plan.action import Action
from builder.specs import Target
from builder.store.actions import Record
from builder.store.devices import Entry
from builder.typed import to_plain

__all__ = [
    "Made",
    "OfDevice",
    "Sent",
    "Waiting",
    "by_device",
    "choose",
    "find_named",
    "in_words",
    "label_of",
    "setting",
]

# Words that Hydra's grammar takes as they are: no number, and not one of true, false, null, nan and inf alone.
_PLAIN = re.compile(r"(?!(true|false|null|nan|inf)$)[A-Za-z][A-Za-z0-9_.@-]*( [A-Za-z0-9_.@-]+)*", re.IGNORECASE)
_DIGITS = 8  # of the digest of a device's facts, that may stand for them
_FIRST = ("power_mode", "clocks")  # the facts that a user changes; they say what they are


@dataclass(frozen=True)
class Waiting:
    """An action that waits for a device."""

    action: Action
    portable: str  # its portable key
    given: Mapping[str, str]  # port -> digest; of what a device makes too there is none


@dataclass(frozen=True)
class Made:
    """What a device made of an action."""

    key: str
    parts: Mapping[str, Any]
    record: Record


@dataclass(frozen=True)
class Sent:
    """What came of one result for the actions of a build, by action; `entry` is of any of them."""

    entry: Entry
    made: Mapping[str, Made]
    failed: Mapping[str, str]  # and why

    @property
    def told(self) -> set[str]:
        return {*self.made, *self.failed}


@dataclass(frozen=True)
class OfDevice:
    """What came from one device: the result that tells most of the build, and what others tell of the rest of it."""

    sent: Sequence[Sent]

    @property
    def entry(self) -> Entry:
        return self.sent[0].entry

    def lacks(self, wanted: Collection[str]) -> list[str]:
        made = {name for sent in self.sent for name in sent.made}
        return [name for name in wanted if name not in made]


def by_device(found: Sequence[Sent]) -> list[OfDevice]:
    """Return results by device. Of two that tell of one action, that counts which tells of more, or came last."""
    devices: dict[str, list[Sent]] = {}
    for sent in sorted(found, key=lambda sent: (len(sent.told), sent.entry.filed_at), reverse=True):
        theirs = devices.setdefault(sent.entry.identity, [])
        if not any(sent.told & other.told for other in theirs):
            theirs.append(sent)
    return [OfDevice(theirs) for theirs in devices.values()]


def choose(
    found: Sequence[OfDevice], wanted: Collection[str], target: Target, lost: Sequence[Entry] = ()
) -> tuple[OfDevice | None, str]:
    """Return what the only device sent, or the one that `target.device` names; None where there is none.

    A device that is not what the target says counts for nothing, and one that sent all that is wanted before one that
    did not: then the second value says so. `lost` are the results of which bytes are gone. Raises RecipeError where
    several could be meant, or none is called so.
    """
    named = find_named(found, target, lost)
    if not named:
        gone = _meant(lost, target)
        return None, "; ".join(_gone(gone)) if gone else ""
    meant = {label: each for label, each in named.items() if not each.lacks(wanted)} or named
    if len(meant) == 1:
        [(label, one)] = meant.items()
        return one, _passed_over(label, {each: named[each] for each in named if each not in meant}, wanted)
    several, names = sorted(meant), {each.entry.name for each in meant.values()}
    who = f"{len(several)} devices" if len(names) > 1 else f"{names.pop()}, in {len(several)} states,"
    raise RecipeError(
        f"{who} sent results for target '{target.name}': {', '.join(map(repr, several))}",
        f"name one: {shlex.quote(setting(several[0]))}",
    )


def find_named(found: Sequence[OfDevice], target: Target, lost: Sequence[Entry] = ()) -> dict[str, OfDevice]:
    """Return the devices that are as the target says, or the one that `target.device` names, by what tells them apart.

    Raises RecipeError where others sent results and that one did not, or not any more: its bytes are `lost`.
    """
    found = [each for each in found if _fits(each.entry, target)]
    entries = [each.entry for each in found]
    labels = {label_of(each.entry, entries): each for each in found}
    exact = {label: each for label, each in labels.items() if target.device and each.entry.name == target.device}
    named = exact or {label: each for label, each in labels.items() if _is_named(target.device, each.entry)}
    if found and not named:
        if gone := _meant(lost, target):
            words, hint = _gone(gone)
            raise RecipeError(f"target.device: {words}", hint)
        raise RecipeError(f"target.device: nothing came from '{target.device}'", did_you_mean(target.device, labels))
    return named


def _fits(entry: Entry, target: Target) -> bool:
    return misfit(to_plain(target), entry.device) is None


def _meant(entries: Iterable[Entry], target: Target) -> list[Entry]:
    return [each for each in entries if _fits(each, target) and _is_named(target.device, each)]


def _gone(lost: Sequence[Entry]) -> tuple[str, str]:
    """Say whose results are no longer there, and what brings them back."""
    who = " and ".join(dict.fromkeys(f"'{each.name}' sent on {each.taken_at[:10]}" for each in lost))
    return f"what {who} is gone from this store", "import it again: python -m builder resume --import RESULT"


def _is_named(wanted: str, entry: Entry) -> bool:
    """Say whether a word means a device: its name, with the digest of its facts or with any of these in words."""
    if wanted in ("", entry.name, f"{entry.name}@{entry.identity[:_DIGITS]}"):
        return True
    said = wanted.removeprefix(f"{entry.name}@")
    return said != wanted and all(_is_true(entry, words) for words in said.split("@"))


def _passed_over(label: str, others: Mapping[str, OfDevice], wanted: Collection[str]) -> str:
    """Say which devices do not count, and why; '' where there are none."""
    if not others:
        return ""
    lacks = ", ".join(f"that of {each} lacks {' and '.join(of.lacks(wanted))}" for each, of in others.items())
    return f"the result of {label} is taken: {lacks}; {shlex.quote(setting(min(others)))} takes it all the same"


def in_words(entry: Entry, *, made: str) -> str:
    """Say where and when: `measured on Jetson Orin, 2026-11-21`."""
    return f"{made} on {entry.name}, {entry.taken_at[:10]}"


def label_of(entry: Entry, entries: Sequence[Entry]) -> str:
    """Return a device's name; where another has the same, with the fact that differs: `Jetson Orin Nano@15W`.

    Where that is another's name or reads the same for another, it is the digest of the facts instead.
    """
    label, others = _in_facts(entry, entries), [each for each in entries if each.identity != entry.identity]
    if label != entry.name and any(label in (each.name, _in_facts(each, entries)) for each in others):
        return f"{entry.name}@{entry.identity[:_DIGITS]}"
    return label


def _in_facts(entry: Entry, entries: Sequence[Entry]) -> str:
    others = [each for each in entries if each.name == entry.name and each.identity != entry.identity]
    known = (*_FIRST, *sorted({key for each in (entry, *others) for key in each.device} - {*_FIRST}))
    differ = [key for key in known if any(_fact(each, key) != _fact(entry, key) for each in others)]
    alone = [key for key in differ if all(_fact(each, key) != _fact(entry, key) for each in others)]
    return "@".join([entry.name, *(_fact(entry, key) for key in alone[:1] or differ)])


def _is_true(entry: Entry, words: str) -> bool:
    lacks = words.removeprefix("no ").replace(" ", "_")
    return words in (_fact(entry, lacks), *(_fact(entry, key) for key in entry.device))


def _fact(entry: Entry, key: str) -> str:
    value = entry.device.get(key)
    if value is None:
        return f"no {key.replace('_', ' ')}"
    return str(value) if key in _FIRST else f"{key} {value}"


def setting(label: str) -> str:
    """Return the word of a command line that names a device, quoted where Hydra would read something else."""
    return f"target.device={label}" if _PLAIN.fullmatch(label) else f"target.device='{label}'"
