"""MLPerf's scenarios: what ships beside the source model in each of them, with LoadGen's own verdict."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from builder.report import charts
from builder.report import format as words
from builder.report.findings import TIMES, Names
from builder.report.subjects import shipped, subject_names, what_ran
from builder.report.views import heading, in_order

__all__ = ["ORDER", "context", "finding"]

ORDER = 32

_TOLD = ("offline", "server", "single_stream", "multi_stream")  # the first that ranks is the section's finding
_ROLES = {"baseline": "baseline"}
_TITLES = {
    "single_stream": "Single-stream",
    "multi_stream": "Multi-stream",
    "offline": "Offline",
    "server": "Server",
}


def context(report: Mapping[str, Any]) -> dict[str, Any]:
    mine = {name: each for name, each in report["sections"].items() if each["section"] == "loadgen"}
    return {"loadgens": [_view(report, name, mine[name]) for name in in_order(report, mine)]}


def finding(names: Names, document: Mapping[str, Any]) -> str:
    """Compare what ships with the source model in the first scenario that ranks the two, best one without doubt."""
    scenarios = {each["name"]: each for each in document["scenarios"]}
    place, called = names.place(names.target_is_here), subject_names(names.candidate, names.reference, document)
    ratios = {name: _ratio(document, scenarios[name]) for name in _TOLD if name in scenarios}
    ranked = {name: ratio for name, ratio in ratios.items() if ratio and ratio["ranked"]}
    if ranked:
        name = min(ranked, key=lambda name: bool(_doubt(scenarios[name], ranked[name])))
        doubt = _doubt(scenarios[name], ranked[name])
        said = _compared(scenarios[name], ranked[name], called[shipped(document)], called["baseline"])
        return f"{said} {place}{doubt}{_rest(len(ratios) - len(ranked), len(ratios))}"
    why = next((f": {each['too_few']} were taken" for each in scenarios.values() if each["too_few"]), "")
    return f"No scenario ranks {called[shipped(document)]} and {called['baseline']} {place}{why}"


def _rest(unranked: int, scenarios: int) -> str:
    many = f"{unranked} of {scenarios} scenarios {'does' if unranked == 1 else 'do'} not rank them"
    return f"; {many}" if unranked else ""


def _ratio(document: Mapping[str, Any], scenario: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return next(
        (each for each in scenario["ratios"] if (each["of"], each["to"]) == (document["ships"], "baseline")), None
    )


def _compared(scenario: Mapping[str, Any], ratio: Mapping[str, Any], of: str, to: str) -> str:
    """Say a ratio of times in a scenario's own terms, more being better: 0.5 is twice as many, or twice as fast."""
    ends = sorted(1 / end for end in ratio["interval"])
    factor = f"{words.number(1 / ratio['value'])} {TIMES}"
    shown = words.interval([words.number(end, 5 if round(end, 2) == 1 else 3) for end in ends])  # ranked: no end is 1
    match scenario["name"]:
        case "offline":
            return f"Offline, {of} answers {factor} as many samples per second as {to}{shown}"
        case "server":
            bound = f"{words.plain(scenario['bound_ms'])} ms"
            return f"Within {bound}, {of} serves {factor} as many queries per second as {to}{shown}"
        case "multi_stream":
            return f"{scenario['samples_per_query']} samples at a time, {of} is {factor} as fast as {to}{shown}"
        case _:
            return f"One sample at a time, {of} is {factor} as fast as {to}{shown}"


def _view(report: Mapping[str, Any], name: str, data: Mapping[str, Any]) -> dict[str, Any]:
    names = Names(report["manifest"])
    called = subject_names(names.candidate, names.reference, data)
    return {
        **heading(report, name, data),
        "ran": {called[each["name"]]: what_ran(each) for each in data["subjects"]},
        "scenarios": [_scenario(data, each, called) for each in data["scenarios"]],
        "noisy": [_TITLES[each["name"]] for each in data["scenarios"] if each["noisy"]],
        "reasons": list(dict.fromkeys(_reasons(data["scenarios"], called))),
    }


def _scenario(data: Mapping[str, Any], scenario: Mapping[str, Any], called: Mapping[str, str]) -> dict[str, Any]:
    """Return a scenario's bars, what ships first, on an axis of its own that starts at 0."""
    order = {data["ships"]: 0, "baseline": 2}
    subjects = sorted(scenario["subjects"], key=lambda one: order.get(one["name"], 1))
    ends = [end for one in subjects for end in (one["value"], *(one["interval"] or ()))]
    scale = charts.axis(0, 1.02 * max(ends) or 1)
    return {
        "title": _TITLES[scenario["name"]],
        "measure": _measure(scenario),
        "says": _says(data, scenario, called),
        "rows": [
            {
                "name": called[one["name"]],
                "role": "candidate" if one["name"] == data["ships"] else _ROLES.get(one["name"], "other"),
                "value": f"{words.number(one['value'])} {scenario['unit']}" if one["value"] else "no rate holds",
                "width": scale.percent(one["value"]),
                "interval": [scale.percent(end) for end in one["interval"]] if one["interval"] else None,
                "bounds": words.interval([words.number(end) for end in one["interval"]]) if one["interval"] else "",
                "latency": {share: _latency(one, scenario, share) for share in ("p50", "p90", "p99")},
                "tests": len(one["tests"]),
                "samples": sum(test["recorded"]["samples"] for test in one["tests"]),
                "invalid": one["invalid"],
            }
            for one in subjects
        ],
    }


def _measure(scenario: Mapping[str, Any]) -> str:
    match scenario["name"]:
        case "offline":
            return "samples per second, all of them known at once; more is better"
        case "server":
            share = f"{words.plain(100 * scenario['bound_percentile'])} %"
            bound = f"{words.plain(scenario['bound_ms'])} ms"
            return f"queries per second, {share} of them answered within {bound}; more is better"
        case "multi_stream":
            each = f"{scenario['samples_per_query']} samples"
            return f"99th percentile of queries of {each}, one after another; less is better"
        case _:
            return "90th percentile of queries of one sample, one after another; less is better"


def _says(data: Mapping[str, Any], scenario: Mapping[str, Any], called: Mapping[str, str]) -> str:
    ratio = _ratio(data, scenario)
    if scenario["too_few"]:
        return f"{_TITLES[scenario['name']]}: too few runs to rank ({scenario['too_few']})"
    if ratio is None:
        return f"{_TITLES[scenario['name']]}: nothing to rank, since in some turn no rate held the bound"
    if not ratio["ranked"]:
        shown = words.interval([words.number(end) for end in ratio["interval"]])
        return f"{_TITLES[scenario['name']]}: the two cannot be ranked, the interval of their ratio,{shown}, contains 1"
    return f"{_compared(scenario, ratio, called[data['ships']], called['baseline'])}{_doubt(scenario, ratio)}"


def _doubt(scenario: Mapping[str, Any], ratio: Mapping[str, Any]) -> str:
    """Say where LoadGen does not accept a test of the two that a ratio compares."""
    doubted = any(one["invalid"] for one in scenario["subjects"] if one["name"] in (ratio["of"], ratio["to"]))
    return "; LoadGen calls tests of it INVALID" if doubted else ""


def _latency(one: Mapping[str, Any], scenario: Mapping[str, Any], share: str) -> float | None:
    """Return the median over the tests of a latency that LoadGen states; of a server, that of the last one."""
    tests = one["tests"][-1:] if scenario["name"] == "server" else one["tests"]
    found = [test["latency_ms"][share] for test in tests if test["latency_ms"]]
    return median(found) if found else None


def _reasons(scenarios: Any, called: Mapping[str, str]) -> Any:
    for scenario in scenarios:
        for one in scenario["subjects"]:
            if one["invalid"]:
                yield f"{_TITLES[scenario['name']]}, {called[one['name']]}: {' '.join(one['reasons'])}"
