"""Subjects in processes of their own, timed in turns while the machine is watched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from builder.measure.blocks import Schedule, measure
from builder.measure.conditions import Conditions, Watch
from builder.measure.cost.energy import Counter
from builder.measure.process import Subject
from builder.measure.ratio import Ratio
from builder.measure.series import Series

__all__ = ["timed"]


def timed(
    folders: Mapping[str, Path],
    spec: Mapping[str, Any],
    schedule: Schedule,
    progress: Callable[[int, int, str], None],
    counter: Counter | None = None,
) -> tuple[list[Series], list[Ratio], Conditions]:
    """Return the runs of what lies in the folders, in their order, the ratios, and what went on in the machine.

    Raises what `Subject` and `measure` do.
    """
    with ExitStack() as stack:
        watch = Watch(spec["cores"])
        subjects = [stack.enter_context(Subject(name, folder, spec)) for name, folder in folders.items()]
        series, ratios = measure(subjects, schedule, watch.beside(progress), counter)
        return series, ratios, watch.ended(sum(subject.processor_ns() for subject in subjects) / 1e9)
