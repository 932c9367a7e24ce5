"""What a recipe lets an action use: time, and the memory of all its processes together."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from builder.engine.node import Node
from builder.errors import LimitError

if TYPE_CHECKING:
    from builder.engine.pool import Worker

__all__ = ["broken_limit"]

_MIB = 2**20


def broken_limit(node: Node, worker: Worker) -> LimitError | None:
    """Return what to say of a running action that used more than it may, or None."""
    if node.action.lazy:
        return None  # how long the packages of a toolchain take is for the network to say
    name = f"limits.{node.action.name.removesuffix('@host')}"
    seconds, memory_mib = node.limits.seconds, node.limits.memory_mib
    if seconds is not None and time.monotonic() - node.started > seconds:
        return _error(node, f"did not finish within {seconds:g} s", f"{name}.seconds={max(10, math.ceil(2 * seconds))}")
    if memory_mib is None:
        return None
    used_mib = worker.memory_bytes() / _MIB
    if used_mib <= memory_mib:
        return None
    words = f"used {used_mib:.0f} MiB of memory; its limit is {memory_mib:g} MiB"
    return _error(node, words, f"{name}.memory_mib={math.ceil(2 * used_mib)}")


def _error(node: Node, words: str, override: str) -> LimitError:
    last = next((line for line in reversed(node.tail().splitlines()) if line.strip()), "")
    printed = f"its last output: {last[:300]}; " if last else ""
    return LimitError(f"{node.action.name} {words}, so it was stopped", f"{printed}give it more: ++{override}")
