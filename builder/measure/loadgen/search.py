"""The largest rate of queries at which a bound holds, found by trying."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["WITHIN", "largest_rate"]

WITHIN = 0.04  # of the rate found, which is this much or less below one at which the bound was broken
_NEAR = 0.12  # how far the next search looks on either side of what the last one found
_LEAST = 0.02  # of the largest rate there can be; where the bound breaks below that, it holds at no rate


def largest_rate(holds: Callable[[float], bool], most: float, near: float = 0.0) -> float:
    """Return the largest rate up to `most` at which the bound held; 0.0 where it holds at none.

    By bisection, since more queries a second never wait less; `near` is where to look first. What is tried is random
    (queries come as a Poisson process), so that a second search finds a little less or more.
    """
    low, high = _bracket(holds, most, near) if near else (0.0, most)
    while high - low > WITHIN * high:
        middle = (low + high) / 2
        if holds(middle):
            low = middle
        elif middle < _LEAST * most:
            return 0.0
        else:
            high = middle
    return low


def _bracket(holds: Callable[[float], bool], most: float, near: float) -> tuple[float, float]:
    """Return a rate at which the bound holds (or 0.0) and a higher one at which it does not, or that cannot be."""
    low, high = near * (1 - _NEAR), near * (1 + _NEAR)
    if not holds(low):
        return 0.0, low
    if high >= most:
        return low, most
    return (high, most) if holds(high) else (low, high)
