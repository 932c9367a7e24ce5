"""The keys of what a device makes: one without anything of a machine, and one for each result that a device sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from builder.plan.action import Action
from builder.plan.facts import Facts
from builder.plan.keys import key_parts
from builder.typed import to_plain

__all__ = ["device_parts", "portable_parts"]

_OF_A_MACHINE = ("host", "instruction_set", "libc")
# What a target says of the devices that it means: numbers of one target are not another's.
_OF_A_TARGET = (
    *("arch", "hardware", "features", "accelerator"),
    *("compute_capability", "runtime", "runtime_versions"),
)


def portable_parts(action: Action, inputs: Mapping[str, str], facts: Facts) -> dict[str, Any]:
    """Return the parts of a key that says nothing of any machine, of an action whose device is elsewhere.

    `inputs` are digests; of what is made on the device too it is `portable:` and the key of what makes it.
    """
    parts = key_parts(action, inputs, facts)
    kept = {name: value for name, value in parts.items() if name not in _OF_A_MACHINE}
    target = {name: to_plain(getattr(action.target, name)) for name in _OF_A_TARGET}
    kept["target"] = {**kept.get("target", {}), **target}
    return {**kept, "device": None, "program": facts.program, "kit": facts.kit}


def device_parts(
    action: Action, inputs: Mapping[str, str], facts: Facts, device: Mapping[str, Any], result: str
) -> dict[str, Any]:
    """Return the parts of the key of what such an action made on a device of these facts.

    `result` is the digest of what the device sent: an engine is built, and a time taken, otherwise every time, and one
    result is never mixed with another.
    """
    return {**portable_parts(action, inputs, facts), "device": dict(device), "result": result}
