"""Tests of several subjects in turns, scenario by scenario, and what they say of the ratio of any two."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builder.measure.loadgen.log import DETAIL, SUMMARY, Stated, read_log
from builder.measure.loadgen.scenarios import Load, Scenario, most_per_second
from builder.measure.loadgen.search import largest_rate
from builder.measure.loadgen.served import SCRIPT
from builder.measure.process import Subject
from builder.measure.ratio import Ratio, fewest, median, median_interval, ratio
from builder.measure.sleepers import Sleepers, disturbed

__all__ = ["Found", "Served", "Tested", "Turns", "asleep"]

_PROBE = 0.5  # length of a test that the search for a rate makes, of the others'
_LOWER = 0.93  # of the rate, where the last test at it was not valid
_ATTEMPTS = 8  # down to 0.6 of what the short tests of the searches found


class Served(Subject):
    """A subject that LoadGen drives from within its process; `timed` is known once it is loaded."""

    script = SCRIPT
    step = "loadgen"
    timed: Mapping[str, int]

    def serve(self, scenario: Scenario, settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Run one test, and return what the subject recorded of it beside LoadGen's logs."""
        return self._ask("serve", scenario=scenario.title, settings=settings, folder=str(folder))


@dataclass(frozen=True)
class Tested:
    """One test: what LoadGen states and what the subject recorded itself."""

    stated: Stated
    own: Mapping[str, Any]
    rate: float  # that was asked for; 0.0 in a scenario without one
    log: str  # folder of LoadGen's logs

    def plain(self) -> dict[str, Any]:
        """Return it as section.json holds it."""
        rate = {"target_per_second": self.rate} if self.rate else {}
        return {**self.stated.plain(), "recorded": dict(self.own), "log": self.log, **rate}


@dataclass
class Found:
    """What was found of a subject in a scenario: a value of each turn, and the tests that are kept."""

    name: str
    values: list[float] = field(default_factory=list)
    tests: list[Tested] = field(default_factory=list)

    def interval(self, confidence: float) -> tuple[float, float] | None:
        """Return an interval of the median of what the turns gave; None where they are too few."""
        low, high = median_interval(self.values, confidence)
        return (low, high) if math.isfinite(high) else None


@dataclass
class Turns:
    """How often and how long; `progress` is told of every turn."""

    load: Load
    turns: int
    max_seconds: float  # of a scenario; two turns are taken in any case
    confidence: float
    folder: Path
    progress: Callable[[int, int, str], None]

    def take(self, subjects: Sequence[Served], scenario: Scenario) -> list[Found]:
        """Return what was found of every subject; the order is reversed in every other turn, as in `blocks.measure`."""
        found = [Found(subject.name) for subject in subjects]
        pairs = list(zip(subjects, found, strict=True))
        began = time.monotonic()
        for turn in range(self.turns):
            for subject, one in pairs:
                others = [other for other in subjects if other is not subject]
                with asleep(subject, others):
                    self._turn(subject, scenario, one, turn)
                self.progress(turn + 1, self.turns, f"{scenario.value}, {subject.name}")
            pairs.reverse()
            spent = time.monotonic() - began
            if turn > 0 and spent * (turn + 2) / (turn + 1) > self.max_seconds:
                break
        if scenario is Scenario.SERVER:
            for subject, one in pairs:
                with asleep(subject, [other for other in subjects if other is not subject]):
                    self._confirm(subject, one)
        return found

    def ratios(self, found: Sequence[Found], scenario: Scenario) -> list[Ratio]:
        """Return the ratio of every subject to each one before it, as of times: below 1 is faster.

        There is none where a subject has no value, or too few turns were taken to tell.
        """
        ready = [one for one in found if len(one.values) >= fewest(self.confidence) and all(one.values)]
        power = 1 if scenario.metric.less_is_better else -1
        return [
            ratio(
                one.name,
                other.name,
                [(a**power, b**power) for a, b in zip(one.values, other.values, strict=True)],
                self.confidence,
            )
            for index, other in enumerate(ready)
            for one in ready[index + 1 :]
        ]

    def _turn(self, subject: Served, scenario: Scenario, found: Found, turn: int) -> None:
        if scenario is Scenario.SERVER:
            found.values.append(self._search(subject, found, turn))
            return
        found.tests.append(self._test(subject, scenario, turn, keep=f"{subject.name}-{turn + 1}"))
        found.values.append(scenario.metric.of(found.tests[-1].stated))

    def _search(self, subject: Served, found: Found, turn: int) -> float:
        """Return the largest rate at which the bound held in short tests; 0.0 where one sample takes longer.

        A rate is too high where the bound breaks twice: once may be something else that ran here for a moment.
        """
        if subject.timed["run_ns"] > self.load.server_latency_ms * 1e6:
            return 0.0

        def holds(rate: float) -> bool:
            tests = (self._test(subject, Scenario.SERVER, turn, rate=rate, part=_PROBE) for _ in range(2))
            return any(test.stated.holds for test in tests)

        near = found.values[-1] if found.values else 0.0
        return largest_rate(holds, most_per_second(subject.timed, self.load.batch), near)

    def _confirm(self, subject: Served, found: Found) -> None:
        """Test the median rate of the searches in full, and where LoadGen finds that invalid, a lower one."""
        rate = median(found.values)
        for attempt in range(_ATTEMPTS if rate else 0):
            keep = f"{subject.name}-{attempt + 1}"
            found.tests.append(self._test(subject, Scenario.SERVER, self.turns + attempt, rate=rate, keep=keep))
            if found.tests[-1].stated.valid:
                break
            rate *= _LOWER

    def _test(
        self, subject: Served, scenario: Scenario, turn: int, *, rate: float = 0.0, part: float = 1.0, keep: str = ""
    ) -> Tested:
        settings = self.load.settings(scenario, subject.timed, turn, rate, part)
        with tempfile.TemporaryDirectory() as folder:
            own = subject.serve(scenario, settings, Path(folder))
            stated = read_log(Path(folder))
            name = f"logs/{scenario.value}/{keep}" if keep else ""
            if keep:
                (self.folder / name).mkdir(parents=True)
                for file in (SUMMARY, DETAIL):  # the trace and the accuracy log are empty
                    shutil.copyfile(Path(folder) / file, self.folder / name / file)
        return Tested(stated, own, rate, name)


@contextmanager
def asleep(tested: Served, others: Sequence[Served]) -> Iterator[None]:
    """Raise StepError where another subject did not sleep while one was tested."""
    sleepers = Sleepers(others)
    yield
    if awake := sleepers.awake():
        raise disturbed(tested, awake, "tested")
