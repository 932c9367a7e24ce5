"""Why an action would run: a closed list of reasons, found by comparing the parts of two keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

__all__ = ["Reason", "Why", "compare", "in_words"]

_SHOWN = 3  # reasons of one kind that are named, the rest are counted


class Reason(Enum):
    """Everything that makes an action run."""

    FIRST_BUILD = "first build"
    RESULT_LOST = "its result is no longer in the store"
    FRESH = "fresh= asks for it"
    NOT_KEPT = "the last measurement was too noisy to keep"
    OPTION = "option"
    INPUT = "input changed"
    DATA = "data changed"
    SOURCE = "source changed"
    FOUND_FILE = "external data changed"
    CODE = "code changed"
    TOOL = "tool"
    INSTALLED = "installed anew"
    MODEL_FACT = "model"
    TARGET_FACT = "target"
    HOST = "another machine"
    DEVICE = "device"
    UPSTREAM = "waits for"


@dataclass(frozen=True)
class Why:
    """A reason with its words: `calibration.samples 128 -> 256`."""

    reason: Reason
    detail: str = ""

    def __str__(self) -> str:
        if self.reason in _IN_FULL:
            return self.detail
        return f"{self.reason.value}: {self.detail}" if self.detail else self.reason.value


# Reasons whose details say all.
_IN_FULL = (
    *(Reason.OPTION, Reason.TOOL, Reason.INSTALLED),
    *(Reason.MODEL_FACT, Reason.TARGET_FACT, Reason.DEVICE),
)


def in_words(reasons: Sequence[Why]) -> str:
    """Return reasons in one line; many of one kind are counted."""
    words: list[str] = []
    for reason in dict.fromkeys(why.reason for why in reasons):
        several = [why for why in reasons if why.reason is reason]
        words.append(", ".join([str(several[0]), *(why.detail for why in several[1:_SHOWN])]))
        if len(several) > _SHOWN:
            words[-1] += f" and {len(several) - _SHOWN} more"
    return ", ".join(words)


def compare(old: Mapping[str, Any], new: Mapping[str, Any], sources: Mapping[str, str]) -> list[Why]:
    """Return what differs between the parts of two keys; `sources` names the action behind each input port."""
    reasons: list[Why] = []
    for part, reason in _PARTS:
        if part in _SOMETIMES and (part in old) != (part in new):
            continue  # what is fetched by its digest has none, and what is exact is the same on every processor
        for path, before, after in _differences(old.get(part), new.get(part), ""):
            why = Why(reason, _detail(reason, path, before, after, sources))
            if why not in reasons:
                reasons.append(why)
    return reasons + _installed_anew(old, new)


def _installed_anew(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Why]:
    """Return the packages of the host that have the version they had, and other files."""
    had, has = ({**parts.get("toolchain", {})} for parts in (old, new))
    before, after = old.get("installed", {}), new.get("installed", {})
    return [
        Why(Reason.INSTALLED, f"{name} {has[name]} was installed anew with other files")
        for name in sorted(before.keys() & after.keys())
        if before[name] != after[name] and had.get(name) == has.get(name)
    ]


_SOMETIMES = ("toolchain", "implementation", "instruction_set", "libc")
_PARTS = (
    ("options", Reason.OPTION),
    ("inputs", Reason.INPUT),
    ("data", Reason.DATA),
    ("source", Reason.SOURCE),
    ("toolchain", Reason.TOOL),
    ("implementation", Reason.CODE),
    ("program", Reason.CODE),
    ("kit", Reason.CODE),
    ("model", Reason.MODEL_FACT),
    ("target", Reason.TARGET_FACT),
    ("instruction_set", Reason.HOST),
    ("libc", Reason.TOOL),
    ("host", Reason.HOST),
    ("device", Reason.DEVICE),
)


def _detail(reason: Reason, path: str, before: Any, after: Any, sources: Mapping[str, str]) -> str:
    if reason is Reason.INPUT:
        return sources.get(path, path)
    if reason is Reason.CODE:
        return path
    if reason is Reason.DATA and path.startswith("files."):
        split, _, name = path.removeprefix("files.").partition(".")
        return f"{split} {name}"
    if reason is Reason.SOURCE or path == "lock":
        return f"{path if path == 'lock' else ''} {_word(before)[:12]} -> {_word(after)[:12]}".strip()
    where = path.removeprefix("spec.") or reason.value
    return f"{where} {_word(before)} -> {_word(after)}"


def _differences(old: Any, new: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from _differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif old != new:
        yield path, old, new


def _word(value: Any) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
