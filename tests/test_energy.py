"""The energy counters of the machine, on trees made up like those of the kernel: wrap-around, permission, none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from kits import nvidia_library
from projects import ROOT
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


GPU = """
from builder.device.energy import find_meter
from builder.measure.cost.energy import find_counter
counter, why = find_counter("cuda")
meter, why_not = find_meter()
assert (meter is None) == (counter is None)
if counter:
    counter.spent([0.0], counter.read())
    why = counter.lost
print(counter and counter.method.partition(",")[0], counter and counter.read(), why)
"""
NEEDS = "energy needs a counter of the GPU that can be read"


@pytest.fixture(scope="module")
def nvidia(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nvidia")
    for name in ("libcuda", "libnvidia-ml"):
        nvidia_library(folder, name)
    return folder


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "NVML [1.0]"),
        ({"CUDA_VISIBLE_DEVICES": "1"}, "NVML [2.0]"),
        ({"CUDA_VISIBLE_DEVICES": "2"}, f"None None {NEEDS}: NVML does not know GPU-00000000-"),
        ({"STAND_IN_READS": "0"}, f"None None {NEEDS}: NVML answers with error 15"),
        ({"STAND_IN_READS": "2"}, "NVML () the energy counter (NVML, the whole GPU, without the processor) could not"),
    ],
)
def test_the_gpu_that_cuda_uses_is_the_one_whose_energy_is_read(nvidia: Path, more: dict[str, str], said: str) -> None:
    environment = {"PYTHONPATH": str(ROOT), "LD_LIBRARY_PATH": str(nvidia), **more}

    done = subprocess.run([sys.executable, "-c", GPU], env=environment, capture_output=True, text=True, check=False)

    assert done.stdout.startswith(said), done.stdout + done.stderr


def test_without_cudas_driver_no_gpu_is_taken_for_the_one_that_it_uses(nvidia: Path, tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").symlink_to(nvidia / "libnvidia-ml.so.1")
    environment = {"PYTHONPATH": str(ROOT), "LD_LIBRARY_PATH": str(tmp_path)}

    done = subprocess.run([sys.executable, "-c", GPU], env=environment, capture_output=True, text=True, check=False)

    assert "None None" in done.stdout, done.stderr
    assert "CUDA's driver does not tell" in done.stdout or "NVML does not know" in done.stdout  # its own, where it is


def test_a_management_library_that_counts_no_energy_is_no_counter(nvidia: Path, tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").symlink_to(nvidia / "libcuda.so.1")
    environment = {"PYTHONPATH": str(ROOT), "LD_LIBRARY_PATH": str(tmp_path)}

    done = subprocess.run([sys.executable, "-c", GPU], env=environment, capture_output=True, text=True, check=False)

    assert "counts no energy: " in done.stdout, done.stderr


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


@pytest.mark.parametrize("slow_seconds", [0.0, 0.01])
def test_a_counter_that_fails_midway_leaves_the_measurement_and_says_why(
    scripted: Measure,  # noqa: F811
    slow_seconds: float,
) -> None:
    readings = iter((1, 2, 3))

    def read() -> list[float]:
        if (value := next(readings, None)) is None:
            raise OSError(5, "Input/output error")
        return [value]

    counter = Counter("scripted", read, [10.0**9], 1.0, slow_seconds)

    series, _ = scripted(QUICK, counter=counter, a={"ns": [1000]}, b={"ns": [2000]})

    assert [one.energy_mj for one in series] == [None, None]
    assert all(len(one.blocks_ns) >= 6 for one in series)
    assert counter.lost == "the energy counter (scripted) could not be read any more: [Errno 5] Input/output error"


def test_without_a_counter_there_is_no_energy(scripted: Measure) -> None:  # noqa: F811
    series, _ = scripted(QUICK, a={"ns": [1000]}, b={"ns": [2000]})

    assert [one.energy_mj for one in series] == [None, None]
