"""What is wrong with the options that every step that times something has."""

from __future__ import annotations

from typing import Any

from builder.measure.ratio import fewest

__all__ = ["check_options"]


def check_options(options: Any, **least: int) -> None:
    """Raise ValueError for a count below its least, and for processors, times and shares that measure nothing.

    `options` has `cores`, `confidence` and `max_seconds`; where it has `blocks`, they must be enough for an interval.
    """
    for name, bound in least.items():
        if getattr(options, name) < bound:
            raise ValueError(f"{name} must be at least {bound}, got {getattr(options, name)}")
    cores, confidence = options.cores, options.confidence
    if len({*cores}) < len(cores) or any(core < 0 for core in cores):
        raise ValueError(f"cores must be different numbers of processors, from 0 on, got {cores}")
    if not options.max_seconds > 0:
        raise ValueError(f"max_seconds must be more than 0, got {options.max_seconds}")
    if not 0.5 <= confidence <= 0.999:
        raise ValueError(f"confidence must lie in 0.5 to 0.999, got {confidence}")
    if hasattr(options, "blocks") and options.blocks < fewest(confidence):
        raise ValueError(
            f"blocks must be at least {fewest(confidence)} for confidence {confidence}, got {options.blocks}"
        )
