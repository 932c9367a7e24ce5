"""What went on in the machine while it measured: what others took of it, its clock, and who was interrupted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["Conditions", "Watch"]

_EVERY_SECONDS = 0.25  # between two readings of the clock


@dataclass(frozen=True)
class Conditions:
    """What the system counted between two moments; None where it does not count.

    Shares are of all the time that the watched processors had: `stolen` went to other virtual machines, `others` to
    other processes. `held_seconds` is how long a container's quota kept its processes from running.
    """

    seconds: float
    stolen: float | None
    others: float | None
    held_seconds: float | None
    throttled: int | None  # how often a processor was slowed for its heat
    frequency_mhz: tuple[float, float] | None  # least and most that was seen

    def plain(self) -> dict[str, Any]:
        """Return it as measurement.json holds it."""
        rounded = {name: round(value, 6) if isinstance(value, float) else value for name, value in asdict(self).items()}
        if self.frequency_mhz is not None:
            rounded["frequency_mhz"] = dict(zip(("min", "max"), self.frequency_mhz, strict=True))
        return rounded


class Watch:
    """Counts from its making to `ended`; `look` in between reads the clock, now and then."""

    def __init__(self, cores: Iterable[int] = (), root: Path = Path("/")) -> None:
        self._root = root
        self._cores = sorted(cores or os.sched_getaffinity(0))
        self._looked, self._frequencies = 0.0, list[float]()
        self._began, self._own, self._before = time.monotonic(), time.process_time(), self._counted()

    def beside(self, progress: Callable[[int, int, str], None]) -> Callable[[int, int, str], None]:
        """Return what looks each time that progress is told."""

        def told(done: int, total: int, what: str) -> None:
            self.look()
            progress(done, total, what)

        return told

    def look(self) -> None:
        """Read the clock of the processors, at most a few times a second."""
        if time.monotonic() - self._looked >= _EVERY_SECONDS:
            self._frequencies += self._clock()
            self._looked = time.monotonic()

    def ended(self, subjects_seconds: float) -> Conditions:
        """Return what went on; this process and, for so many seconds of processor time, its subjects are no others."""
        (ticks, held, throttled), seconds = self._counted(), time.monotonic() - self._began
        ours_seconds = subjects_seconds + time.process_time() - self._own
        before, held_before, throttled_before = self._before
        stolen, busy = None, None
        if ticks and before:
            total, took, stole = (now - then for now, then in zip(ticks, before, strict=True))
            stolen = stole / total if total else 0.0
            busy = max(0.0, took / os.sysconf("SC_CLK_TCK") - ours_seconds) / (seconds * len(self._cores))
        self.look()
        return Conditions(
            seconds=seconds,
            stolen=stolen,
            others=busy,
            held_seconds=None if held is None or held_before is None else held - held_before,
            throttled=None if throttled is None or throttled_before is None else throttled - throttled_before,
            frequency_mhz=(min(self._frequencies), max(self._frequencies)) if self._frequencies else None,
        )

    def _counted(self) -> tuple[tuple[int, int, int] | None, float | None, int | None]:
        return self._ticks(), self._held(), self._throttled()

    def _ticks(self) -> tuple[int, int, int] | None:
        """Return ticks of the watched processors: all, those that processes took, and those that were stolen."""
        wanted = {f"cpu{core}" for core in self._cores}
        rows = [line.split() for line in self._text("proc/stat").splitlines() if line.partition(" ")[0] in wanted]
        if not rows or min(map(len, rows)) < 9:
            return None
        user, nice, system, idle, waiting, irq, soft, steal = (sum(int(row[at]) for row in rows) for at in range(1, 9))
        took = user + nice + system + irq + soft  # guests are in user already
        return took + idle + waiting + steal, took, steal

    def _held(self) -> float | None:
        """Return how long the quota of this process's control group held it back, in seconds (cgroup v2)."""
        group = self._text("proc/self/cgroup").partition("0::/")[2].strip()
        for line in self._text(f"sys/fs/cgroup/{group}/cpu.stat").splitlines():
            if line.startswith("throttled_usec "):
                return int(line.split()[1]) / 1e6
        return None

    def _throttled(self) -> int | None:
        """Return how often the processors, and the packages that they share, were slowed for their heat."""
        counts: dict[str, int] = {}
        for core in self._cores:
            folder = f"sys/devices/system/cpu/cpu{core}"
            package = f"package {self._text(f'{folder}/topology/physical_package_id')}"
            for what, name in ((f"core {core}", "core_throttle_count"), (package, "package_throttle_count")):
                if text := self._text(f"{folder}/thermal_throttle/{name}"):
                    counts[what] = int(text)
        return sum(counts.values()) if counts else None

    def _clock(self) -> Sequence[float]:
        files = [f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq" for core in self._cores]
        if told := [int(text) / 1e3 for text in map(self._text, files) if text]:
            return told
        lines = [line.partition(":") for line in self._text("proc/cpuinfo").splitlines()]
        megahertz = [float(value) for key, _, value in lines if key.strip() == "cpu MHz"]
        return [megahertz[core] for core in self._cores if core < len(megahertz)]

    def _text(self, path: str) -> str:
        with suppress(OSError):
            return (self._root / path).read_text(encoding="utf-8").strip()
        return ""
