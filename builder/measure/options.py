"""What is wrong with the options that every step that times something has."""

from __future__ import annotations

from typing import Any

from builder.measure.ratio import fewest

__all__ = ["MOST_THREADS", "check_options"]

MOST_THREADS = 1024  # a runtime starts as many as it is told, and thousands take the machine down
_DAY = 86_400


def check_options(options: Any, **least: int) -> None:
    """Raise ValueError for a count below its least, threads beyond reason, and what measures nothing or for ever.

    `options` has `cores`, `confidence` and `max_seconds`; where it has `blocks`, they must be enough for an interval.
    """
    for name, bound in least.items():
        if getattr(options, name) < bound:
            raise ValueError(f"{name} must be at least {bound}, got {getattr(options, name)}")
    if "threads" in least and options.threads > MOST_THREADS:
        raise ValueError(f"threads must be at most {MOST_THREADS}, got {options.threads}")
    cores, confidence = options.cores, options.confidence
    if len({*cores}) < len(cores) or any(core < 0 for core in cores):
        raise ValueError(f"cores must be different numbers of processors, from 0 on, got {cores}")
    if not 0 < options.max_seconds <= _DAY:
        raise ValueError(f"max_seconds must be more than 0 and at most {_DAY} (a day), got {options.max_seconds}")
    if not 0.5 <= confidence <= 0.999:
        raise ValueError(f"confidence must lie in 0.5 to 0.999, got {confidence}")
    if hasattr(options, "blocks") and options.blocks < fewest(confidence):
        raise ValueError(
            f"blocks must be at least {fewest(confidence)} for confidence {confidence}, got {options.blocks}"
        )
