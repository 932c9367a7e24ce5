"""Whether the machine at hand is a target; the standard library is enough to ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from builder.runtimes.machine import other_gpu, other_machine

__all__ = ["availability", "why_not_run"]


def availability(target: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """Return the facts of a target's device where it is this machine, else None and the reason in one sentence.

    `target` has the fields of specs.Target. No facts ({}) means: nothing about the device but what the host's own
    fingerprint says.
    """
    if target["runtime"] in ("tensorrt", "tensorrt_rtx"):
        from builder.runtimes.tensorrt import probe

        facts, reason = probe(target)
        other = other_gpu(target, facts) if facts else ""
        return (None, other) if other else (facts, reason)
    reason = other_machine(target)
    return (None, reason) if reason else ({}, "")


def why_not_run(runtime: str) -> str:
    """Return why engines of a runtime cannot be run here although the device is this machine, or ''.

    What is no engine runs wherever its toolchain does.
    """
    if runtime not in ("tensorrt", "tensorrt_rtx"):
        return ""
    from builder.runtimes.tensorrt import missing

    return missing(runtime)
