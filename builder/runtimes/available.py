"""Whether the machine at hand is a target; the standard library is enough to ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from builder.runtimes.find import named
from builder.runtimes.machine import other_machine
from builder.runtimes.tensorrt import probe

__all__ = ["availability", "why_not_run"]


def availability(target: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """Return the facts of a target's device where it is this machine, else None and the reason in one sentence.

    `target` has the fields of specs.Target. No facts ({}) means: nothing about the device but what the host's own
    fingerprint says.
    """
    runtime = named(target["runtime"])
    if runtime and runtime.ENGINES:
        return probe(target)
    reason = other_machine(target)
    return (None, reason) if reason else ({}, "")


def why_not_run(name: str) -> str:
    """Return why engines of a runtime cannot be run here although the device is this machine, or ''.

    What is no engine runs wherever its toolchain does.
    """
    runtime = named(name)
    return runtime.missing() if runtime and runtime.ENGINES else ""
