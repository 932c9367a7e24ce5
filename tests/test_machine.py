"""A measurement has the machine to itself, also beside the other builds of its user."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from projects import Project

from builder.store.machine import Machine

STEP = """
from __future__ import annotations
from dataclasses import dataclass
from builder.step import Job, Kind, Need, Result, step

@dataclass
class Options:
    text: str = ""

@step(options=Options, rank=80, inputs={{"model": Kind.ONNX}}, outputs={{"data": Kind.DATA}}{more})
def {name}(options: Options, job: Job) -> Result:
    import os, time
    log = os.open({log!r}, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    os.write(log, b"{name} begins\\n")
    time.sleep(0.5)
    os.write(log, b"{name} ends\\n")
    (job.folder("data") / "text").write_text(options.text)
    return Result()
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def machines() -> Iterator[list[Machine]]:
    made = [Machine() for _ in range(3)]
    yield made
    for machine in made:
        machine.release()


def test_ordinary_work_shares_the_machine_and_a_measurement_does_not(machines: list[Machine]) -> None:
    first, second, measuring = machines

    assert first.share()
    assert second.share()
    assert not measuring.alone()


def test_whoever_waits_to_measure_is_next(machines: list[Machine]) -> None:
    working, late, measuring = machines
    working.share()
    measuring.alone()

    assert not late.share()
    working.release()
    assert measuring.alone()
    assert not late.share()
    measuring.release()
    assert late.share()


def test_a_measurer_that_dies_frees_the_machine(machines: list[Machine]) -> None:
    child = os.fork()
    if not child:
        Machine().alone()
        os._exit(0)
    os.waitpid(child, 0)

    assert machines[0].share()


def test_the_actions_of_two_builds_keep_out_of_a_measurements_way(small: Project) -> None:
    log = small.folder / "log"
    small.add_steps(
        work=STEP.format(name="work", log=str(log), more=""),
        measured=STEP.format(name="measured", log=str(log), more=", need=Need.HOST"),
    )
    builders = [
        small.start(
            "recipe=small",
            "gates.max_size_mib=null",
            f"steps=[{name}]",
            f"steps.{name}.text={number}",
            f"store={small.folder}/{number}",
        )
        for number in ("one", "two")
        for name in ("work", "measured")
    ]
    said = [builder.communicate(timeout=120) for builder in builders]
    failed = [text for builder, texts in zip(builders, said, strict=True) if builder.returncode for text in texts]
    assert not failed, "\n".join(failed)
    lines = log.read_text().splitlines()

    assert len(lines) == 8
    for index, line in enumerate(lines):
        if line == "measured begins":
            assert lines[index + 1] == "measured ends", lines
