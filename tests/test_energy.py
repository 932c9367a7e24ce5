"""The energy counters of the machine, on trees made up like those of the kernel: wrap-around, permission, none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from test_measure_blocks import QUICK, Measure, scripted  # noqa: F401  the fixture

from builder.measure.cost.energy import Counter, find_counter
from builder.measure.host import virtual_machine


def domain(root: Path, name: str, label: str, microjoules: int, end: int = 1_000_000) -> Path:
    folder = root / "sys/class/powercap" / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{label}\n")
    (folder / "max_energy_range_uj").write_text(f"{end}\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    return folder / "energy_uj"


def test_the_packages_are_summed_and_their_parts_are_not(tmp_path: Path) -> None:
    first = domain(tmp_path, "intel-rapl:0", "package-0", 100)
    second = domain(tmp_path, "intel-rapl:1", "package-1", 200)
    core = domain(tmp_path, "intel-rapl:0:0", "core", 50)
    system = domain(tmp_path, "intel-rapl:2", "psys", 900)
    counter, why = find_counter(root=tmp_path)
    assert counter
    assert (counter.method, why) == ("RAPL, all 2 packages, with all else that ran on it", "")

    before = counter.read()
    for file, value in ((first, 1_100), (second, 500), (core, 800), (system, 5_000)):
        file.write_text(str(value))

    assert counter.spent(before, counter.read()) == pytest.approx(1_300e-6)


def test_a_counter_that_starts_again_loses_nothing(tmp_path: Path) -> None:
    file = domain(tmp_path, "intel-rapl:0", "package-0", 999_000, end=1_000_000)
    counter, _ = find_counter(root=tmp_path)
    assert counter
    before = counter.read()
    file.write_text("4000")

    assert counter.spent(before, counter.read()) == pytest.approx(5_000e-6)


def test_a_counter_that_only_root_may_read_says_what_allows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = domain(tmp_path, "intel-rapl:0", "package-0", 1)
    file.chmod(0)
    if os.geteuid() == 0:  # root may read everything: have the kernel's answer to others
        read = Path.read_text

        def refused(path: Path, *arguments: str, **more: str) -> str:
            if path == file:
                raise PermissionError(13, "Permission denied", str(path))
            return read(path, *arguments, **more)

        monkeypatch.setattr(Path, "read_text", refused)

    counter, why = find_counter(root=tmp_path)

    assert counter is None
    assert why.startswith("only root may read the processor's energy counter")
    assert "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj" in why


def test_a_counter_that_holds_no_number_is_none_with_the_reason(tmp_path: Path) -> None:
    domain(tmp_path, "intel-rapl:0", "package-0", 1).write_text("unknown")

    counter, why = find_counter(root=tmp_path)

    assert counter is None
    assert "cannot be read" in why


def test_a_machine_without_a_counter_says_so_and_a_virtual_one_that_it_is_one(tmp_path: Path) -> None:
    counter, why = find_counter(root=tmp_path)

    assert counter is None
    assert ("virtual machine" in why) == virtual_machine()


def test_each_subject_gets_the_energy_of_its_own_blocks_by_run(scripted: Measure) -> None:  # noqa: F811
    readings = iter(range(0, 10**9, 3))  # three joules for each block
    counter = Counter("scripted", lambda: [next(readings)], [10.0**9], 1.0)

    series, _ = scripted(QUICK, counter=counter, a={"ns": [1000]}, b={"ns": [2000]})

    for one in series:
        runs = sum(map(len, one.blocks_ns))
        assert one.joules == 3 * len(one.blocks_ns)
        assert one.metered_runs == runs + len(one.blocks_ns)  # the run ahead of each block takes energy too
        assert one.energy_mj == pytest.approx(3000 * len(one.blocks_ns) / one.metered_runs)


def test_a_slow_counter_gets_blocks_in_a_row(scripted: Measure) -> None:  # noqa: F811
    readings = iter((100, 107, 200, 203))
    counter = Counter("scripted", lambda: [next(readings)], [0.0], 1.0, slow_seconds=0.05)

    series, _ = scripted(QUICK, counter=counter, a={"ns": [1000]}, b={"ns": [2000]})

    assert [one.joules for one in series] == [7, 3]
    assert all(one.metered_runs >= 2 for one in series)


def test_without_a_counter_there_is_no_energy(scripted: Measure) -> None:  # noqa: F811
    series, _ = scripted(QUICK, a={"ns": [1000]}, b={"ns": [2000]})

    assert [one.energy_mj for one in series] == [None, None]
