"""How many actions may run at once where nobody says."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

__all__ = ["default_jobs"]

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")  # cgroup v2, as a container sees its own


def default_jobs() -> int:
    """Return the cores that this process may use, or fewer where its container has a share of their time."""
    cores = len(os.sched_getaffinity(0))
    with contextlib.suppress(OSError, ValueError):
        quota, period = _CPU_MAX.read_text(encoding="ascii").split()
        if quota != "max":
            cores = min(cores, max(1, math.ceil(int(quota) / int(period))))
    return cores
