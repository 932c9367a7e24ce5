"""Whether the subjects that are not timed sleep meanwhile: what one of them uses is taken from the one that is."""

from __future__ import annotations

import time
from collections.abc import Sequence

from builder.errors import StepError
from builder.measure.process import Subject

__all__ = ["IDLE", "Sleepers", "disturbed"]

IDLE = 0.01  # share of a processor that a sleeping subject may use


class Sleepers:
    """Subjects that must sleep while another one is timed: from the making of this until it is asked."""

    def __init__(self, subjects: Sequence[Subject]) -> None:
        self._subjects = subjects
        self._before = [subject.processor_ns() for subject in subjects]
        self._began_ns = time.perf_counter_ns()

    def awake(self) -> str:
        """Say which used the most of a processor since, and how much; '' where all slept."""
        wall_ns = time.perf_counter_ns() - self._began_ns
        used = [(each.processor_ns() - ns, each.name) for each, ns in zip(self._subjects, self._before, strict=True)]
        most_ns, name = max(used, default=(0, ""))
        share = most_ns / wall_ns
        return f"'{name}' used {share:.0%} of a processor" if share > IDLE else ""


def disturbed(subject: Subject, awake: str, doing: str) -> StepError:
    """Return the error where another subject was awake while this one was timed."""
    return StepError(
        f"{subject.step}: {awake} while '{subject.name}' was {doing}",
        "a subject must sleep while another one runs; does its runtime keep threads spinning?",
    )
