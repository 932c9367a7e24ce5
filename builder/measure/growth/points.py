"""Times batches and numbers of threads in turns: every point has a block in each round, only sessions differ."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from builder.measure.blocks import undisturbed
from builder.measure.growth.subject import Scaled
from builder.measure.ratio import fewest, median, median_interval
from builder.measure.series import Series

__all__ = ["Point", "Schedule", "Swept", "sweep"]

_HALF_WIDTH = 0.02  # rounds are taken until every point's median is known this well
_BLOCK_NS = 20_000_000  # shorter blocks would mostly measure the change from one point to the next
_BLOCK_RUNS = 500
_MOST = 5  # times the least number of rounds


@dataclass(frozen=True)
class Schedule:
    """How much is measured: at least `blocks` blocks and `runs` runs of each point, within about `max_seconds`."""

    warmup_runs: int
    runs: int
    blocks: int
    max_seconds: float
    confidence: float

    def runs_per_block(self, run_ns: int, points: int) -> int:
        """Return the number of runs in a point's blocks, given one run's time; each point has as much time."""
        wanted = max(-(-self.runs // self.blocks), min(_BLOCK_NS // run_ns, _BLOCK_RUNS))
        affordable = int(self.max_seconds * 1e9 / self.blocks / points / run_ns)
        return max(1, min(wanted, affordable))


@dataclass
class Point:
    """A batch and a number of threads of one subject, and what was timed of it."""

    subject: str
    threads: int
    batch: int
    runs: int  # of a block
    series: Series
    process: Scaled
    confidence: float

    @cached_property
    def p50_ms(self) -> float:
        return median(self.series.samples_ms)

    @cached_property
    def interval_ms(self) -> tuple[float, float]:
        """Return the interval of the median of the block medians."""
        return median_interval(self.series.medians_ms, self.confidence)

    @property
    def half_width(self) -> float:
        """Half the interval's width as a fraction of the median."""
        low, high = median_interval(self.series.medians_ms, self.confidence)
        return (high - low) / 2 / median(self.series.medians_ms)


@dataclass(frozen=True)
class Swept:
    """The points that were timed, and why a subject takes no batch of some sizes."""

    points: list[Point]
    refused: Mapping[str, Mapping[int, str]]


def sweep(
    processes: Mapping[tuple[str, int], Scaled], schedule: Schedule, progress: Callable[[int, int, str], None]
) -> Swept:
    """Time every batch of every process, given by subject and threads, in turns; the order turns round by round.

    So a drift of the machine falls on all points alike. The processes stay loaded, one for each number of threads.
    """
    points, refused = _points(processes, schedule)
    everyone, order = [*processes.values()], [*points]
    end = time.monotonic() + schedule.max_seconds
    while not _done(points, schedule, late=time.monotonic() > end):
        for point in order:
            others = [process for process in everyone if process is not point.process]
            point.process.batch = point.batch
            point.series.blocks_ns.append(undisturbed(point.process, others, point.runs, point.series, None))
            done = sum(len(each.series.blocks_ns) for each in points)
            progress(done, max(done, schedule.blocks * len(points)), point.series.name)
        order.reverse()
    return Swept(points, refused)


def _points(
    processes: Mapping[tuple[str, int], Scaled], schedule: Schedule
) -> tuple[list[Point], dict[str, dict[int, str]]]:
    loads = {
        key: process.load(schedule.warmup_runs, schedule.max_seconds / 10 / len(processes))
        for key, process in processes.items()
    }
    count = sum(len(load["run_ns"]) for load in loads.values())
    points, refused = [], dict[str, dict[int, str]]()
    for (subject, threads), load in loads.items():
        refused.setdefault(subject, {}).update({int(size): str(why) for size, why in load["refused"]})
        for size, run_ns in load["run_ns"]:
            series = Series(f"{subject}, batch {size}, threads {threads}", load["load_ms"], load["warmup_runs"])
            runs = schedule.runs_per_block(run_ns, count)
            process = processes[subject, threads]
            points.append(Point(subject, threads, size, runs, series, process, schedule.confidence))
    return points, refused


def _done(points: Sequence[Point], schedule: Schedule, *, late: bool) -> bool:
    rounds = len(points[0].series.blocks_ns) if points else schedule.blocks * _MOST
    if rounds < fewest(schedule.confidence):
        return False
    if late or rounds >= schedule.blocks * _MOST:
        return True
    return rounds >= schedule.blocks and all(point.half_width <= _HALF_WIDTH for point in points)
