"""The numbers of two reports: metrics and their drops, latency, memory, size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from builder.diff.changes import How
from builder.report.format import in_percent
from builder.report.headline import system

__all__ = ["Number", "NumberChange", "measuring_notes", "number_changes"]

Report = Mapping[str, Any]


@dataclass(frozen=True)
class Number:
    """A value with its unit (`share` is of 1) and, where one is known, the bounds of its interval."""

    value: float
    unit: str = ""
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class NumberChange:
    """A number that is not the same; `overlap` says whether the two intervals do, None where there are not two."""

    action: str
    name: str
    how: How
    old: Number | None = None
    new: Number | None = None
    overlap: bool | None = None


def number_changes(old: Report, new: Report, names: Mapping[str, str]) -> list[NumberChange]:
    """Return the numbers that differ; `names` maps an action's name in the first build to that in the second."""
    before = {(names.get(action, action), name): number for action, name, number in _numbers(old)}
    after = {(action, name): number for action, name, number in _numbers(new)}
    found = []
    for place in dict.fromkeys([*before, *after]):
        left, right = before.get(place), after.get(place)
        if left is None or right is None:
            found.append(NumberChange(*place, How.ADDED if left is None else How.REMOVED, left, right))
        elif left.value != right.value:
            found.append(NumberChange(*place, How.CHANGED, left, right, _overlap(left.interval, right.interval)))
    return found


def measuring_notes(old: Report, new: Report, names: Mapping[str, str]) -> list[str]:
    """Return what must be known of measurements that were taken twice before anybody compares them."""
    notes = []
    before = {names.get(name, name): data for name, data in old["measurements"].items()}
    for name, data in new["measurements"].items():
        if name not in before or before[name] == data:
            continue
        notes.append(
            f"{name}: latencies of two runs are not ranked; a ratio was taken within one run, with its interval"
        )
        machines = [system(each["host"]) for each in (before[name], data)]
        if before[name]["host"] != data["host"]:
            where = f"{machines[0]} and {machines[1]}" if machines[0] != machines[1] else f"two states of {machines[0]}"
            notes.append(f"{name}: the machines differ: measured on {where}")
    return notes


def _numbers(report: Report) -> Iterator[tuple[str, str, Number]]:
    size = report["headline"]["size"]
    for name, key in (("size", "candidate"), ("size of the source model", "reference")):
        yield from _known("", name, size[key], "MiB")
    for action, data in report["evaluations"].items():
        yield from _evaluation(action, data)
    for action, data in report["measurements"].items():
        yield from _measurement(action, data)


def _evaluation(action: str, data: Mapping[str, Any]) -> Iterator[tuple[str, str, Number]]:
    yield from _known(action, "samples", data["samples"])
    for metric, result in data["metrics"].items():
        unit = "share" if in_percent(metric) else ""
        yield from _known(action, metric, result["candidate"], unit)
        yield from _known(action, f"{metric} of the source model", result["reference"], unit)
        yield from _known(action, f"{metric} drop", result["drop"], unit, result.get("interval"))
    for name, value in data["fidelity"].items():
        if not isinstance(value, bool):
            unit = "share" if in_percent(name) else "dB" if name.endswith("_db") else ""
            yield from _known(action, name.removesuffix("_db"), value, unit)


def _measurement(action: str, data: Mapping[str, Any]) -> Iterator[tuple[str, str, Number]]:
    for subject in data["subjects"]:
        latency = subject["latency_ms"]
        yield from _known(action, f"{subject['name']} p50", latency.get("p50"), "ms")
        if subject.get("p99_valid"):
            yield from _known(action, f"{subject['name']} p99", latency.get("p99"), "ms")
        yield from _known(action, f"{subject['name']} memory", subject.get("memory_mib"), "MiB")
    for ratio in data["ratios"]:
        yield from _known(action, f"{ratio['of']} / {ratio['to']}", ratio["value"], "", ratio["interval"])


def _known(
    action: str, name: str, value: float | None, unit: str = "", interval: list[float] | None = None
) -> Iterator[tuple[str, str, Number]]:
    if isinstance(value, int | float) and value == value:  # noqa: PLR0124  NaN says nothing
        yield action, name, Number(value, unit, (interval[0], interval[1]) if interval else None)


def _overlap(old: tuple[float, float] | None, new: tuple[float, float] | None) -> bool | None:
    if old is None or new is None:
        return None
    return old[0] <= new[1] and new[0] <= old[1]
