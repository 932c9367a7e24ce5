"""What a device sent is refused in a sentence where it is nothing that can have been measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.errors import StepError
from builder.measure.sent import read_outputs, read_times


def times(change: Callable[[dict[str, Any]], object] = lambda _: None) -> str:
    one = {"runtime": "tensorrt", "runtime_version": "10.3", "load_ms": 2.5, "memory_mib": 30.0, "bytes": 100}
    subjects = [{**one, "name": name, "blocks_ns": [[1000, 1100], [1000, 1200]]} for name in ("candidate", "baseline")]
    document: dict[str, Any] = {"subjects": subjects, "energy_j": 0.2, "power_mode": "MAXN", "temperature_c": -3.5}
    change(document)
    return json.dumps(document)


def of_candidate(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["subjects"][0].update(values)


ABSURD = {
    "no number": times(of_candidate(blocks_ns=[[float("nan")], [1]])),
    "more than any number": times(of_candidate(blocks_ns=[[7], [1]])).replace("[7]", "[1e999]"),
    "a run of a thousand years": times(of_candidate(blocks_ns=[[10**30], [1]])),
    "a run that took less than nothing": times(of_candidate(blocks_ns=[[-5], [1]])),
    "a memory of less than nothing": times(of_candidate(memory_mib=-1.0)),
    "a memory that is no number": times(of_candidate(memory_mib=float("nan"))),
    "a load time of less than nothing": times(of_candidate(load_ms=-1)),
    "a list for a size": times(of_candidate(bytes=[1, [2]])),
    "an energy of less than nothing": times(lambda document: document.update(energy_j=-1)),
    "an endless energy": times(lambda document: document.update(energy_j=float("inf"))),
    "a mapping for a power mode": times(lambda document: document.update(power_mode={"a": {"b": 1}})),
    "one subject twice": times(of_candidate(name="baseline")).replace('"baseline"', '"candidate"'),
    "nothing at all": "[[" * 100_000,
}


@pytest.mark.parametrize("what", ABSURD)
def test_times_that_cannot_be_are_refused(tmp_path: Path, what: str) -> None:
    (tmp_path / "times.json").write_text(ABSURD[what], encoding="utf-8")

    with pytest.raises(StepError, match=r"times\.json of the device"):
        read_times(tmp_path)


def test_times_that_can_be_are_read(tmp_path: Path) -> None:
    (tmp_path / "times.json").write_text(times(), encoding="utf-8")
    found = read_times(tmp_path)

    assert [one.name for one in found.series] == ["baseline", "candidate"]
    assert found.conditions["energy_j"] == 0.2
    assert found.conditions["temperature_c"] == -3.5
    assert found.conditions["clocks"] is None
    assert found.told["candidate"]["bytes"] == 100


@pytest.mark.parametrize("shape", [[10**30], [0], [2, 3]])
def test_a_shape_that_does_not_fit_its_file_is_refused(tmp_path: Path, shape: list[int]) -> None:
    (tmp_path / "0.bin").write_bytes(b"\0" * 16)
    tensor = {"name": "scores", "role": "output", "dtype": "float32", "shape": shape, "file": "0.bin"}
    (tmp_path / "tensors.json").write_text(json.dumps({"samples": 4, "tensors": [tensor]}), encoding="utf-8")

    with pytest.raises(StepError, match="'scores' of the device cannot be read"):
        read_outputs(tmp_path, 4)
