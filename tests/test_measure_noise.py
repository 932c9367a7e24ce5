"""What the system counts while something is measured, and what is made of it."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from builder.measure.conditions import Conditions, Watch
from builder.measure.noise import likely_cause, trouble, variation
from builder.measure.ratio import ratio
from builder.measure.series import Series

QUIET = Conditions(10.0, 0.0, 0.0, 0.0, 0, (3000.0, 3010.0))


@pytest.mark.parametrize(
    ("found", "interruptions", "cause", "remedy"),
    [
        (
            replace(QUIET, stolen=0.04, others=0.5),
            100,
            "4.0 % of the processors' time was stolen",
            "machine of your own",
        ),
        (
            replace(QUIET, held_seconds=1.5, others=0.5),
            100,
            "quota held its processes back for 1.5 s",
            "Raise the quota",
        ),
        (replace(QUIET, throttled=12, others=0.5), 100, "slowed for its heat, 12 times", "Cool it"),
        (replace(QUIET, others=0.4), 100, "Other processes took 40 % of the processors' time", r"cores=\[\.\.\.\]"),
        (replace(QUIET, frequency_mhz=(1200.0, 3600.0)), 100, "moved between 1,200 and 3,600 MHz", "governor"),
        (QUIET, 100, "interrupted the runs 100 times a second", "idle processors"),
        (QUIET, 3, "Nothing that this system counts tells why", "raise max_seconds|Raise max_seconds"),
        (Conditions(10.0, None, None, None, None, None), None, "Nothing that this system counts", "Raise max_seconds"),
    ],
)
def test_the_cause_is_the_first_that_explains_the_others(
    found: Conditions, interruptions: float | None, cause: str, remedy: str
) -> None:
    said = likely_cause(found, interruptions, pinned=False)

    assert cause in said
    assert re.search(remedy, said)


def test_runs_that_are_pinned_are_not_told_to_be_pinned() -> None:
    assert "cores=" not in likely_cause(replace(QUIET, others=0.4), 100, pinned=True)
    assert "cores=" not in likely_cause(QUIET, 100, pinned=True)


@pytest.mark.parametrize(
    "found", [QUIET, replace(QUIET, stolen=0.04), replace(QUIET, others=0.4), replace(QUIET, frequency_mhz=(1e3, 3e3))]
)
def test_the_remedy_names_the_option_that_the_step_has(found: Conditions) -> None:
    assert re.search("[Rr]aise min_seconds", likely_cause(found, 0, pinned=False, longer="min_seconds"))


def series(name: str, *medians_ms: float) -> Series:
    return Series(name, 1.0, 1, blocks_ns=[[int(ms * 1e6)] for ms in medians_ms], interruptions=0)


def test_a_measurement_that_ranks_nothing_says_why_in_the_document() -> None:
    pairs = [(0.4, 1.0), (2.5, 1.0)] * 3
    noisy = ratio("candidate", "baseline", pairs, 0.95)

    why, warnings = trouble([series("baseline", 1, 1, 1)], [noisy], replace(QUIET, stolen=0.04), pinned=False)

    assert why.startswith("Too noisy to rank: 4.0 % of the processors' time was stolen by other virtual machines.")
    assert warnings == []


def test_speed_that_moved_is_a_warning_though_ratios_stand() -> None:
    both = [series("baseline", 1.0, 1.3, 1.0), series("candidate", 0.5, 0.65, 0.5)]
    ranked = ratio("candidate", "baseline", [(0.5, 1.0)] * 6, 0.95)

    why, (warning,) = trouble(both, [ranked], replace(QUIET, others=0.3), pinned=False)

    assert why == ""
    assert "vary by 16 % for the baseline, 16 % for the candidate" in warning
    assert "Other processes took 30 %" in warning


def test_a_steady_measurement_warns_of_nothing() -> None:
    steady = ratio("candidate", "baseline", [(0.5, 1.0)] * 6, 0.95)

    assert trouble([series("baseline", 1.0, 1.01, 1.0)], [steady], replace(QUIET, others=0.3), pinned=False) == ("", [])
    assert variation([2.0]) == 0


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def machine(root: Path, *, user: int, idle: int, steal: int, clock: int, throttled: int, held: int) -> Path:
    rows = [f"cpu{core} {user} 0 0 {idle} 0 0 0 {steal} 0 0" for core in (0, 1)]
    write(root, "proc/stat", "\n".join(["cpu 9 9 9 9 9 9 9 9 9 9", *rows, "intr 1"]))
    write(root, "proc/self/cgroup", "0::/job\n")
    write(root, "sys/fs/cgroup/job/cpu.stat", f"usage_usec 5\nthrottled_usec {held}\n")
    cpu = "sys/devices/system/cpu/cpu1"
    write(root, f"{cpu}/cpufreq/scaling_cur_freq", f"{clock}\n")
    write(root, f"{cpu}/thermal_throttle/core_throttle_count", f"{throttled}\n")
    return root


def test_the_kernels_counters_are_read_for_the_processors_that_are_used(tmp_path: Path) -> None:
    machine(tmp_path, user=100, idle=100, steal=0, clock=2_000_000, throttled=1, held=0)
    watch = Watch([1], tmp_path)
    watch.look()
    machine(tmp_path, user=150, idle=140, steal=10, clock=3_000_000, throttled=4, held=250_000)
    watch._looked = 0.0

    found = watch.ended(0.5 * 50 / os.sysconf("SC_CLK_TCK"))

    assert found.stolen == pytest.approx(0.1)  # of 100 ticks
    assert found.others == pytest.approx(0.5 * 50 / os.sysconf("SC_CLK_TCK") / found.seconds, rel=0.1)  # less this test
    assert found.held_seconds == pytest.approx(0.25)
    assert found.throttled == 3
    assert found.frequency_mhz == (2000.0, 3000.0)


def test_what_the_processors_of_a_package_share_is_counted_once(tmp_path: Path) -> None:
    def count(times: int) -> None:
        for core in (0, 1):
            cpu = f"sys/devices/system/cpu/cpu{core}"
            write(tmp_path, f"{cpu}/topology/physical_package_id", "0\n")
            write(tmp_path, f"{cpu}/thermal_throttle/package_throttle_count", f"{times}\n")

    count(5)
    watch = Watch([0, 1], tmp_path)
    count(7)

    assert watch.ended(0.0).throttled == 2


def test_what_a_machine_does_not_count_is_none(tmp_path: Path) -> None:
    found = Watch([0], tmp_path).ended(0.0)

    assert (found.stolen, found.others, found.held_seconds, found.throttled, found.frequency_mhz) == (None,) * 5
    assert set(found.plain()) == {"seconds", "stolen", "others", "held_seconds", "throttled", "frequency_mhz"}


def test_this_machine_is_read_without_a_fault() -> None:
    watch = Watch()
    watch.look()
    found = watch.ended(0.0)

    assert found.stolen is None or 0 <= found.stolen <= 1
    assert found.frequency_mhz is None or found.frequency_mhz[0] <= found.frequency_mhz[1]
