"""What a device sent: what a model made of the samples, how long its runs took, and which machine it was.

A folder of the result of a kit, with its result.json beside: tensors.json names files of plain little-endian numbers,
times.json holds the time of every run, block by block.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from builder.errors import StepError
from builder.measure.series import Series
from builder.runtimes.interface import Execution
from builder.specs import Runtime

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Machine", "Times", "check_samples", "read_machine", "read_outputs", "read_times"]

_TENSORS, _TIMES, _RESULT = "tensors.json", "times.json", "result.json"
_KEPT = ("energy_j", "energy_method", "power_mode", "clocks", "temperature_c")  # of times.json
_OF_SUBJECTS = ("batch", "bytes", "driver", "energy_j", "load_ms", "timed_by", "warmup_ms", "warmup_runs")
_LONGEST_NS = 10**15  # a run of eleven days

T = TypeVar("T")


@dataclass(frozen=True)
class Machine:
    """The device that sent something: its facts, more about its system, and when it was done."""

    device: Mapping[str, Any]
    host: Mapping[str, Any]
    taken_at: str

    @property
    def name(self) -> str:
        return str(self.device["name"])

    def facts(self) -> dict[str, Any]:
        """Return what a document says of the machine that it was measured on."""
        more = {name: value for name, value in self.device.items() if name != "name" and value is not None}
        return {**self.host, "processor": self.name, **more}

    def execution(self) -> Execution:
        """Return what ran there, as far as the device tells: the runtime is one of its facts."""
        found = next((name.value for name in Runtime if name in self.device), "")
        return Execution(found, str(self.device.get(found, "")), self.name, {}, {})


@dataclass(frozen=True)
class Times:
    """The runs of each subject, the baseline first, more of what the device told of each, and the conditions."""

    series: list[Series]
    told: Mapping[str, Mapping[str, Any]]
    conditions: Mapping[str, Any]


def read_machine(folder: Path) -> Machine:
    """Return which machine a folder came from. Raises StepError."""
    return _read(folder, _RESULT, lambda found: Machine(found["device"], found["host"], found["taken_at"]))


def check_samples(folder: Path, given: Path, split: str) -> int:
    """Return how many samples a device ran: those it was given, of this split. Raises StepError where it ran others."""

    def samples(found: Any) -> tuple[str, int]:
        return str(found["split"]), int(found["samples"])

    (theirs, count), (_, wanted) = _read(folder, _TENSORS, samples), _read(given, _TENSORS, samples)
    if theirs != split:
        raise StepError(f"the device ran the split '{theirs}', and '{split}' is asked for", "resume the kit again")
    if count != wanted:
        raise StepError(f"the device ran {count:,} samples, and {wanted:,} were given to it", "resume the kit again")
    return count


def read_outputs(folder: Path, count: int) -> NDArray[Any]:
    """Return the model's first output for so many samples, [count, ...]. Raises StepError where there are others."""
    tensors = _read(folder, _TENSORS, lambda found: [each for each in found["tensors"] if each["role"] == "output"])
    if not tensors:
        raise StepError(f"{_TENSORS} of the device names no output")
    found = _tensor(folder, tensors[0])
    if len(found) != count:
        raise StepError(f"the device sent outputs of {len(found):,} samples for {count:,}", "resume the kit again")
    return found


def read_times(folder: Path) -> Times:
    """Return what was timed, the baseline first. Raises StepError where no runs are there, or none of a candidate."""
    document = _read(folder, _TIMES, lambda found: (found["subjects"], found))
    subjects = sorted(document[0], key=lambda one: one["name"] != "baseline")
    read = [_read(folder, _TIMES, lambda _, one=one: _series(one)) for one in subjects]  # type: ignore[misc]
    if "candidate" not in [one.name for one in read]:
        raise StepError(f"{_TIMES} of the device has no candidate")
    if len({len(one.blocks_ns) for one in read}) > 1:
        raise StepError(f"{_TIMES} of the device has not as many blocks of one subject as of the other")
    if len({one.name for one in read}) < len(read):
        raise StepError(f"{_TIMES} of the device names a subject twice")
    told = {one["name"]: _words(one, _OF_SUBJECTS) for one in subjects}
    conditions = dict.fromkeys(_KEPT) | _words(document[1], _KEPT)
    return Times(read, told, conditions)


def _words(found: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return what is told under some names: text, or numbers that can be; nothing else is shown to people."""
    told = {name: found[name] for name in names if found.get(name) is not None}
    for name, value in told.items():
        least = -300 if name == "temperature_c" else 0
        if not (isinstance(value, str) or (isinstance(value, int | float) and least <= value < _LONGEST_NS)):
            raise StepError(f"{_TIMES} of the device says {name} {str(value)[:40]!a}", "resume the kit again")
    return told


def _series(subject: Mapping[str, Any]) -> Series:
    blocks = [[int(sample) for sample in block] for block in subject["blocks_ns"]]
    if not blocks or not all(blocks) or min(min(block) for block in blocks) <= 0:
        raise ValueError("a block without runs, or a run that took no time")
    memory = subject.get("memory_mib")
    if max(max(block) for block in blocks) > _LONGEST_NS or not 0 <= float(memory or 0) < _LONGEST_NS:
        raise ValueError("a run or a memory that cannot be")
    return Series(
        name=str(subject["name"]),
        load_ms=float(subject.get("load_ms") or 0),
        warmup_runs=int(subject.get("warmup_runs") or 0),
        memory_mib=None if memory is None else float(memory),
        execution={"runtime": str(subject["runtime"]), "runtime_version": str(subject["runtime_version"])},
        blocks_ns=blocks,
    )


def _tensor(folder: Path, tensor: Mapping[str, Any]) -> NDArray[Any]:
    import numpy as np

    try:
        kind = np.dtype(str(tensor["dtype"])).newbyteorder("<")
        file = (folder / str(tensor["file"])).resolve()
        file.relative_to(folder.resolve())  # no path leads out
        numbers = np.frombuffer(file.read_bytes(), dtype=kind)
        return numbers.reshape([int(size) for size in tensor["shape"]]).astype(kind.newbyteorder("="))
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError) as error:
        raise StepError(f"output '{tensor.get('name')}' of the device cannot be read: {error}") from error


def _read(folder: Path, name: str, take: Callable[[Any], T]) -> T:
    try:
        return take(json.loads((folder / name).read_bytes(), parse_float=_finite, parse_constant=_finite))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise StepError(f"{name} of the device cannot be read: {error}", "resume the kit again") from error


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number that was measured")
    return number
