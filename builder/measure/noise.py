"""Why a measurement was noisy: the most likely cause of what the system counted, and what can be done about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from builder.measure.conditions import Conditions
from builder.measure.ratio import Ratio

if TYPE_CHECKING:
    from builder.measure.series import Series

__all__ = ["likely_cause", "trouble", "variation"]

_UNSTEADY = 0.05  # coefficient of variation of block medians, above which the machine's speed moved while it measured
_STOLEN = 0.01
_HELD = 0.01
_OTHERS = 0.05
_INTERRUPTED = 20  # times for each second of runs
_CLOCK = 1.05  # fastest over slowest


def trouble(
    series: Sequence[Series], ratios: Sequence[Ratio], found: Conditions, *, pinned: bool
) -> tuple[str, list[str]]:
    """Return why a measurement is too noisy to rank ('' where it is not), and what else its reader should know."""
    seconds = sum(sum(block) for one in series for block in one.blocks_ns) / 1e9
    cause = likely_cause(found, sum(one.interruptions or 0 for one in series) / seconds, pinned=pinned)
    if any(each.noisy for each in ratios):
        return f"Too noisy to rank: {cause}", []
    moved = {one.name: variation(one.medians_ms) for one in series}
    unsteady = [f"{_percent(value)} for the {name}" for name, value in moved.items() if value > _UNSTEADY]
    if not unsteady:
        return "", []
    vary = f"The machine's speed moved while it measured: its blocks vary by {', '.join(unsteady)}"
    return "", [f"{vary} (coefficient of variation). Ratios, taken in turns, stand. {cause}"]


def likely_cause(
    found: Conditions, interruptions_per_s: float | None, *, pinned: bool, longer: str = "max_seconds"
) -> str:
    """Return two sentences, cause and remedy: the first of a list in which each would explain those that follow.

    `longer` is the option that makes the step measure for longer.
    """
    return next(_causes(found, interruptions_per_s or 0.0, pinned=pinned, longer=longer))


def _causes(found: Conditions, interruptions_per_s: float, *, pinned: bool, longer: str) -> Iterator[str]:
    slow, fast = found.frequency_mhz or (1.0, 1.0)
    if (found.stolen or 0) >= _STOLEN:
        yield (
            f"{_percent(found.stolen or 0)} of the processors' time was stolen by other virtual machines. "
            f"Measure on a machine of your own, or raise {longer}."
        )
    if (found.held_seconds or 0) / found.seconds >= _HELD:
        yield (
            f"The container's processor quota held its processes back for {found.held_seconds:.1f} s. "
            "Raise the quota, or ask for fewer threads."
        )
    if found.throttled:
        yield f"The processor was slowed for its heat, {found.throttled:,} times. Cool it, and measure again."
    if (found.others or 0) >= _OTHERS:
        remedy = "" if pinned else ", keep the runs on idle processors (cores=[...])"
        taken = f"Other processes took {_percent(found.others or 0)} of the processors' time."
        yield f"{taken} Stop them{remedy}, or raise {longer}."
    if fast / slow >= _CLOCK:
        yield (
            f"The processor's clock moved between {slow:,.0f} and {fast:,.0f} MHz. "
            f"Set its governor to performance and switch boost off, or raise {longer}."
        )
    if interruptions_per_s >= _INTERRUPTED:
        remedy = "Stop what else runs there" if pinned else "Keep them on idle processors (cores=[...])"
        often = f"The system interrupted the runs {interruptions_per_s:,.0f} times a second."
        yield f"{often} {remedy}, or raise {longer}."
    yield f"Nothing that this system counts tells why. Raise {longer}, or measure again on a quiet machine."


def _percent(share: float) -> str:
    return f"{100 * share:.{0 if share >= 0.0995 else 1}f} %"


def variation(values: Sequence[float]) -> float:
    """Return the coefficient of variation: standard deviation over mean; 0 for fewer than two values."""
    return stdev(values) / fmean(values) if len(values) > 1 else 0.0
