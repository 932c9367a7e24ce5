"""Whether the machine at hand is a target; the standard library is enough to ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from builder.runtimes.machine import other_machine

__all__ = ["availability"]


def availability(target: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """Return the facts of a target's device where it is this machine, else None and the reason in one sentence.

    `target` has the fields of specs.Target. No facts ({}) means: nothing about the device but what the host's own
    fingerprint says.
    """
    runtime = target["runtime"]
    if runtime in ("tensorrt", "tensorrt_rtx"):
        from builder.runtimes.tensorrt import probe

        return probe(target)
    if runtime != "onnxruntime":
        return None, f"no runtime '{runtime}' is known; there is: onnxruntime, tensorrt"
    reason = other_machine(target)
    return (None, reason) if reason else ({}, "")
