"""How cost grows: latency and throughput over the batch, a line for each number of threads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from builder.report import format as words
from builder.report.findings import TIMES, Names
from builder.report.growth_chart import Curve, latency_panel, throughput_panel
from builder.report.subjects import shipped, subject_names, what_ran
from builder.report.views import heading, in_order

__all__ = ["ORDER", "context", "finding"]

ORDER = 34


def context(report: Mapping[str, Any]) -> dict[str, Any]:
    mine = {name: each for name, each in report["sections"].items() if each["section"] == "scaling"}
    return {"scalings": [_view(report, name, mine[name]) for name in in_order(report, mine)]}


def finding(names: Names, document: Mapping[str, Any]) -> str:
    """Say how what ships grows with the batch, or what threads bring, and where its throughput is highest."""
    ships = _ships(document)
    tied = len(ships["best"]["tied"])
    others = f"; {tied} other point{'' if tied == 1 else 's'} cannot be told from it" if tied else ""
    said = f"{_grown(ships) or _threads(ships)}; throughput is highest {_best(ships)}"
    return f"{said} {names.place(names.target_is_here)}{others}"


def _ships(document: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(each for each in document["subjects"] if each["name"] == shipped(document))
    return found


def _many(subject: Mapping[str, Any], name: str) -> bool:
    return len({point[name] for point in subject["points"]}) > 1


def _counted(threads: int) -> str:
    return f"{threads} thread{'' if threads == 1 else 's'}"


def _grown(subject: Mapping[str, Any]) -> str:
    if not subject["growth"]:
        return ""
    growth = subject["growth"][0]
    ratio, there = growth["longest"], f" with {_counted(growth['threads'])}" if _many(subject, "threads") else ""
    of, to = (ratio[end]["batch"] for end in ("of", "to"))
    if not ratio["ranked"]:
        return f"Batch {of} cannot be told from batch {to}{there}"
    took = f"{words.number(ratio['value'])} {TIMES} as long as batch {to}{there}"
    return f"Batch {of} takes {took} (grows as about batch^{words.number(growth['exponent'], 2)})"


def _threads(subject: Mapping[str, Any]) -> str:
    """Say what the most threads bring at the largest batch."""
    return _gained(subject["speedup"][-1]["ratios"][-1])


def _gained(ratio: Mapping[str, Any]) -> str:
    of, to = (ratio[end]["threads"] for end in ("of", "to"))
    shown = words.interval([words.number(end) for end in ratio["interval"]])
    if not ratio["ranked"]:
        return f"{_counted(to)} cannot be told from {of} at batch {ratio['of']['batch']}{shown}"
    factor = f"{words.number(ratio['value'])} {TIMES}"
    return f"{_counted(to)} are {factor} as fast as {of} at batch {ratio['of']['batch']}{shown}"


def _best(subject: Mapping[str, Any]) -> str:
    best = subject["best"]
    where = [f"at batch {best['batch']}"] if _many(subject, "batch") else []
    where += [f"with {_counted(best['threads'])}"] if _many(subject, "threads") else []
    return f"{' '.join(where)}: {words.number(best['samples_per_second'])} samples per second"


def _view(report: Mapping[str, Any], name: str, data: Mapping[str, Any]) -> dict[str, Any]:
    names = Names(report["manifest"])
    called = subject_names(names.candidate, names.reference, data)
    subjects = sorted(data["subjects"], key=lambda one: one["name"] != shipped(data))
    over = "batch" if any(_many(subject, "batch") for subject in subjects) else "threads"
    curves, ships = [*_curves(subjects, called, data, over)], _ships(data)
    return {
        **heading(report, name, data),
        "ran": {called[subject["name"]]: what_ran(subject) for subject in subjects},
        "panels": [
            latency_panel(_grown(ships).partition(" (")[0] or _threads(ships), curves, over),
            throughput_panel(f"Throughput is highest {_best(ships)}", curves, over),
        ],
        "over": over,
        "notes": [*_notes(subjects, called, data)],
        "rows": [(called[each["name"]], _role(each, data), point) for each in subjects for point in each["points"]],
    }


def _role(subject: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    return "candidate" if subject["name"] == shipped(data) else "baseline"


def _curves(
    subjects: Sequence[Mapping[str, Any]], called: Mapping[str, str], data: Mapping[str, Any], over: str
) -> Iterator[Curve]:
    """Yield a curve for each subject and, over the batch, each number of threads."""
    counts = sorted({point["threads"] for subject in subjects for point in subject["points"]})
    for subject in subjects:
        name, role = called[subject["name"]], _role(subject, data)
        if over == "threads":
            yield Curve(name, role, 0, subject["points"])
            continue
        for number, count in enumerate(counts):
            points = [point for point in subject["points"] if point["threads"] == count]
            yield Curve(f"{name}, {_counted(count)}", role, number, points)


def _notes(subjects: Sequence[Mapping[str, Any]], called: Mapping[str, str], data: Mapping[str, Any]) -> Iterator[str]:
    if left := data["threads_left_out"]:
        yield f"{', '.join(map(str, left))} threads were left out: {_processors(data['processors'])} may be used."
    for subject in subjects:
        name = called[subject["name"]]
        for each in subject["batches_left_out"][:1]:
            sizes = ", ".join(str(one["batch"]) for one in subject["batches_left_out"])
            yield f"{name} takes no batch of {sizes}: {each['why'].rstrip('.')}."
        for growth in subject["growth"]:
            shown = words.interval([words.number(end, 2) for end in growth["exponent_interval"]])
            grows = f"batch^{words.number(growth['exponent'], 2)}{shown}"
            off = f"no point is more than {words.number(100 * growth['misfit'], 2)} % off that law"
            yield f"{name} with {_counted(growth['threads'])} grows as {grows}; {off}."
        for speedup in subject["speedup"][-1:]:
            yield f"{name}: {_gained(speedup['ratios'][-1])}{_divided(speedup)}."


def _divided(speedup: Mapping[str, Any]) -> str:
    """Say what share of the work threads divide, by Amdahl's law; nothing where it may be none."""
    if "parallel_share" not in speedup or speedup["parallel_share_interval"][0] <= 0:
        return ""
    shown = words.interval([f"{words.number(100 * end, 2)} %" for end in speedup["parallel_share_interval"]])
    return f", so they divide {words.number(100 * speedup['parallel_share'], 2)} %{shown} of the work"


def _processors(count: int) -> str:
    return "one processor" if count == 1 else f"{count} processors"
