"""What has drifted from a lock: inputs before anything runs, the bytes of each action when it has its result."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from builder.engine.node import Node, Outcome
from builder.locking.document import Artifact, LockFile, document
from builder.outcomes import Reproducible

__all__ = ["differences", "incomparable", "tools", "versions", "words"]

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHOWN = 3  # differences that a message spells out
_DIGITS = 12  # of a digest
_ABSENT = object()


def differences(lock: LockFile, now: Mapping[str, Any]) -> list[str]:
    """Return, in words, where the sections of a lock that are known before anything runs are not what they are now."""
    before = document(lock)
    before["toolchains"].pop("host", None)
    before["artifacts"] = {name: {"reproducible": each["reproducible"]} for name, each in before["artifacts"].items()}
    return [
        _difference(section, path, old, new)
        for section in now
        for path, old, new in _walk(before[section], now[section])
    ]


def words(found: list[str]) -> str:
    """Return differences in one line; of many, the first few."""
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(found[:_SHOWN]) + more


def incomparable(lock: LockFile, node: Node, outcome: Outcome) -> str:
    """Return why bytes that differ from the lock's prove nothing here, or ''."""
    mine = lock.artifacts[node.action.name]
    for port, source in node.inputs.items():
        made = lock.artifacts[source.action.name].outputs
        if node.digests()[port] != made.get(node.action.inputs[port][1]):
            return f"its input {source.action.name} is another one here"
    if mine.reproducible is not Reproducible.PER_CPU:
        return ""
    here = Artifact(mine.reproducible, {}, outcome.parts.get("instruction_set"), outcome.parts.get("libc"))
    if (mine.instruction_set, mine.libc) == (here.instruction_set, here.libc):
        return ""
    return f"it was made on {_class(mine)}, this is {_class(here)}"


def tools(node: Node, outcome: Outcome) -> dict[str, str]:
    """Return the packages of the host that an action was made with; the interpreter is not one of them."""
    found = outcome.parts.get("toolchain", {}) if node.action.locked is None else {}
    return {name: version for name, version in found.items() if name != "python"}


def versions(lock: LockFile, node: Node, outcome: Outcome) -> str:
    """Return the packages of the host that are others than those the lock's artifacts were made with, in words."""
    before, now = lock.toolchains.get("host", {}), tools(node, outcome)
    return ", ".join(
        f"{name} {before[name]} -> {now[name]}" for name in now if before.get(name, now[name]) != now[name]
    )


def _class(artifact: Artifact) -> str:
    return f"{artifact.instruction_set} with {artifact.libc}"


def _walk(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted({*old, *new}):
            inner = f"{path}.{name}" if path else name
            yield from _walk(old.get(name, _ABSENT), new.get(name, _ABSENT), inner)
    elif old != new:
        yield path, old, new


def _difference(section: str, path: str, old: Any, new: Any) -> str:
    where = path if section in ("settings", "inputs") else f"{section}.{path}" if path else section
    absent = "its default" if section == "settings" else "nothing"
    return f"{where}: {_word(old, absent)} in the lock, {_word(new, absent)} here"


def _word(value: Any, absent: str) -> str:
    if value is _ABSENT:
        return absent
    if isinstance(value, str):
        return value[:_DIGITS] if _SHA256.fullmatch(value) else value
    return str(value).lower() if isinstance(value, bool) else str(value)
