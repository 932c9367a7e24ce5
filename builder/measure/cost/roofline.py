"""What a run computes and moves, beside what the machine can: achieved MACs per second, and the share of the roof.

The roofline model (Williams, Waterman, Patterson, Communications of the ACM 52, 2009), with a roof for each precision.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from builder.measure.cost.limits import Limits
from builder.onnxtools.cost import QDQ, Cost

__all__ = ["Counted", "compute"]

_UNKNOWN_CACHE = 32 << 20  # bytes, where the system does not tell: what is larger is taken to come from memory


@dataclass(frozen=True)
class Counted:
    """What was counted of a subject's graph, and which subject's graph it was; or why there is none."""

    cost: Cost | None
    of: str
    reason: str = ""


def compute(counted: Counted, limits: Limits, run_ms: float, precision: str) -> dict[str, Any]:
    """Return what measurement.json holds of a subject's compute, for one run of the whole batch.

    `run_ms` is its median, `precision` what really ran, that of most nodes first ('int8, fp32'). The share is of the
    roof that binds: the time that the machine would need at its best, for the MACs or for what must come from memory,
    over the time that it took.
    """
    cost, reason = counted.cost, counted.reason
    if cost is None:
        return {"of": counted.of, "macs": None, "fraction": None, "limit": None, "reason": reason, "words": ""}
    whole, ran = not cost.uncounted, _as_ran(cost.macs, precision)
    macs = (cost.macs if ran is None else ran) if whole else {}
    total = sum(macs.values())
    moved = None if cost.activation_bytes is None else cost.weight_bytes + cost.activation_bytes
    if not whole:
        reason = f"not counted: {', '.join(cost.uncounted)}"
    found = _share(ran, cost, limits, run_ms) if whole else _Share()
    return {
        "of": counted.of,
        "macs": total if whole else None,
        "macs_by_precision": dict(macs),
        "parameters": cost.parameters,
        "weight_bytes": cost.weight_bytes,
        "weights_by_precision": dict(cost.weights),
        "activation_bytes": cost.activation_bytes,
        "macs_per_byte": round(total / moved, 3) if whole and moved else None,
        "gmacs_per_s": round(total / run_ms / 1e6, 3) if whole else None,
        "limit": found.limit or None,
        "fraction": None if found.value is None else round(found.value, 4),
        "reason": reason or found.reason or None,
        "not_counted": dict(cost.light),
        "words": _words(found, macs, limits.threads),
    }


@dataclass(frozen=True)
class _Share:
    value: float | None = None
    limit: str = ""
    reason: str = ""


def _as_ran(macs: Mapping[str, int], precision: str) -> dict[str, int] | None:
    """Return MACs by what they were computed in: those of Q/DQ pairs as most nodes; None where these are mixed."""
    first, *others = precision.split(", ")
    if QDQ in macs and first != "int8" and "int8" in others:
        return None
    found: Counter[str] = Counter()
    for name, count in macs.items():
        found[name if name != QDQ else "int8" if first == "int8" else "fp32"] += count
    return dict(found)


def _share(macs: Mapping[str, int] | None, cost: Cost, limits: Limits, run_ms: float) -> _Share:
    if limits.reason:
        return _Share(reason=limits.reason)
    if macs is None:
        return _Share(reason="the runtime computed some Q/DQ pairs in int8 and others in fp32, and does not tell which")
    if missing := [name for name in macs if name not in limits.macs_per_s]:
        return _Share(reason=f"what this machine computes in {', '.join(missing)} at most is not measured")
    if not sum(macs.values()):
        return _Share(reason="it has no operator that multiplies and adds")
    computing = sum(count / limits.macs_per_s[name] for name, count in macs.items())
    moving, least = 0.0, cost.least_bytes or 0
    if limits.bytes_per_s and least > (limits.cache_bytes or _UNKNOWN_CACHE):  # what a cache holds is there already
        moving = least / limits.bytes_per_s
    return _Share(max(computing, moving) / (run_ms / 1e3), "memory" if moving > computing else "compute")


def _words(found: _Share, macs: Mapping[str, int], threads: int) -> str:
    """Say it in a few words that follow a name: 'uses 21 % of what this machine computes in int8 with 1 thread'."""
    if found.value is None:
        return ""
    share, with_threads = f"{100 * found.value:.2g} %", f"with {threads} thread{'s' if threads > 1 else ''}"
    if found.value >= 0.995:
        share = f"{100 * found.value:.0f} %"
    if found.limit == "memory":
        return f"moves its weights at {share} of the rate at which this machine copies {with_threads}"
    most = max(macs, key=lambda name: macs[name])
    in_words = f" in {most}" if macs[most] > 0.9 * sum(macs.values()) else ""
    return f"uses {share} of what this machine computes{in_words} {with_threads}"
