"""Times several subjects against each other: blocks of runs that alternate, each subject in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from builder.measure.cost.energy import Counter
from builder.measure.process import Subject, untimed
from builder.measure.ratio import Ratio, fewest, ratio
from builder.measure.series import Series
from builder.measure.sleepers import IDLE, Sleepers, disturbed

__all__ = ["Schedule", "measure", "ratios_of", "undisturbed"]

_HALF_WIDTH = 0.02  # blocks are taken until every ratio is known this well
_BLOCK_NS = 20_000_000  # shorter blocks would mostly measure the change from one subject to the other
_BLOCK_RUNS = 500  # more runs in a block tell little; more blocks do
_MOST = 10  # times the least number of blocks; where that many do not settle it, more will not
_SETTLE_SECONDS = 1.0  # at most, for threads of a runtime that go on for a while after a run
_ATTEMPTS = 10  # at one block, before the measurement is given up


@dataclass(frozen=True)
class Schedule:
    """How much is measured: at least `blocks` blocks and `runs` runs of each subject, within about `max_seconds`."""

    warmup_runs: int = 50
    runs: int = 1000
    blocks: int = 20
    max_seconds: float = 60
    confidence: float = 0.95

    def runs_per_block(self, run_ns: Sequence[int]) -> int:
        """Return the number of runs in every block, from one run's time for each subject."""
        wanted = max(-(-self.runs // self.blocks), min(_BLOCK_NS // min(run_ns), _BLOCK_RUNS))
        affordable = int(self.max_seconds * 1e9 / self.blocks / sum(run_ns))
        return max(1, min(wanted, affordable))


def measure(
    subjects: Sequence[Subject],
    schedule: Schedule,
    progress: Callable[[int, int, str], None],
    counter: Counter | None = None,
) -> tuple[list[Series], list[Ratio]]:
    """Return each subject's runs, and the ratio of every subject to each one before it, those to the first ahead.

    Blocks alternate, in reverse order every other round, so that a drift of the machine falls on all alike. They are
    taken until each ratio's interval is within 2 % of its value (a fixed width, whose coverage stopping does not spoil
    in the limit: Chow and Robbins, Annals of Mathematical Statistics 36, 1965) or the time is over. Where there is a
    counter, each subject gets the energy of its own blocks; a slow one needs blocks in a row, after the others.
    """
    loaded = [subject.load(schedule.warmup_runs, schedule.max_seconds / 10) for subject in subjects]
    runs = schedule.runs_per_block([load.pop("run_ns") for load in loaded])
    series = [Series(name=subject.name, **load) for subject, load in zip(subjects, loaded, strict=True)]
    end = time.monotonic() + schedule.max_seconds
    ratios: list[Ratio] = []
    least = schedule.blocks * len(subjects)
    order = list(zip(subjects, series, strict=True))
    slow = counter is not None and counter.slow_seconds > 0
    interrupted = [subject.interruptions() for subject in subjects]
    while not _done(series, ratios, schedule, time.monotonic() > end):
        for subject, one in order:
            others = [other for other in subjects if other is not subject]
            one.blocks_ns.append(undisturbed(subject, others, runs, one, None if slow else counter))
            done = sum(len(each.blocks_ns) for each in series)
            progress(done, max(done, least), subject.name)
        order.reverse()
        ratios = ratios_of(series, schedule.confidence)
    for subject, one, before in zip(subjects, series, interrupted, strict=True):
        one.interruptions = max(0, subject.interruptions() - before)
        if counter and slow:
            one.joules, one.metered_runs = _in_a_row(subject, runs, counter)
        one.memory_mib = max(0.0, subject.memory_mib())
        one.execution = subject.execution()
    if counter and counter.lost:
        for one in series:
            one.joules = None
    return series, ratios


def _done(series: Sequence[Series], ratios: Sequence[Ratio], schedule: Schedule, late: bool) -> bool:
    blocks = len(series[0].blocks_ns)
    if blocks < fewest(schedule.confidence):
        return False
    if late or blocks >= schedule.blocks * _MOST:
        return True
    enough = blocks >= schedule.blocks and sum(map(len, series[0].blocks_ns)) >= schedule.runs
    return enough and all(each.half_width <= _HALF_WIDTH for each in ratios)


def ratios_of(series: Sequence[Series], confidence: float) -> list[Ratio]:
    """Return the ratio of every subject to each one before it, from blocks that were run in turns."""
    pairs = [(one, other) for index, other in enumerate(series) for one in series[index + 1 :]]
    return [
        ratio(one.name, other.name, list(zip(one.medians_ms, other.medians_ms, strict=True)), confidence)
        for one, other in pairs
    ]


def undisturbed(
    subject: Subject, others: Sequence[Subject], runs: int, series: Series, counter: Counter | None
) -> list[int]:
    """Return a block during which no other subject used more than 1 % of a processor."""
    awake = ""
    for _ in range(_ATTEMPTS):
        _settle(others)
        sleepers = Sleepers(others)
        read = counter.read() if counter else ()
        samples = subject.block(runs)
        spent = counter.spent(read, counter.read()) if counter else 0.0
        awake = sleepers.awake()
        if not awake:
            if counter:
                series.joules = (series.joules or 0.0) + spent
                series.metered_runs += runs + untimed(runs)
            return samples
        series.refused += 1
    raise disturbed(subject, awake, f"timed, in {_ATTEMPTS} tries")


def _in_a_row(subject: Subject, runs: int, counter: Counter) -> tuple[float, int]:
    """Return the joules of blocks that follow each other for as long as a counter needs, and their runs."""
    read, end, done = counter.read(), time.monotonic() + counter.slow_seconds, 0
    while time.monotonic() < end:
        subject.block(runs)
        done += runs + untimed(runs)
    return counter.spent(read, counter.read()), done


def _settle(others: Sequence[Subject]) -> None:
    """Wait until the threads of the others have stopped spinning, or long enough."""
    end = time.monotonic() + _SETTLE_SECONDS
    window = 0.002
    while others and time.monotonic() < end:
        before = sum(other.processor_ns() for other in others)
        time.sleep(window)
        if sum(other.processor_ns() for other in others) - before <= IDLE * window * 1e9:
            return
