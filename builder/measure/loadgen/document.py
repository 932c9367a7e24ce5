"""section.json: what each scenario gave, as a document and in a few words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from builder.measure.loadgen.scenarios import Load, Scenario
from builder.measure.loadgen.search import WITHIN
from builder.measure.loadgen.turns import Found
from builder.measure.ratio import Ratio, fewest, median

__all__ = ["in_words", "scenario_entry"]


def scenario_entry(
    scenario: Scenario, found: Sequence[Found], ratios: Sequence[Ratio], load: Load, confidence: float
) -> dict[str, Any]:
    """Return what section.json holds of a scenario."""
    too_few = len(found[0].values) < fewest(confidence)
    return {
        "name": scenario.value,
        "unit": scenario.metric.unit,
        "of": scenario.metric.latency or None,
        **_asked(scenario, load),
        "subjects": [_subject(one, scenario, confidence) for one in found],
        "ratios": [each.plain() for each in ratios],
        "noisy": any(each.noisy for each in ratios),
        "too_few": f"{len(found[0].values)} of {fewest(confidence)} turns" if too_few else "",
    }


def _asked(scenario: Scenario, load: Load) -> dict[str, Any]:
    if scenario is Scenario.MULTI_STREAM:
        return {"samples_per_query": load.multi_stream_samples}
    if scenario is Scenario.SERVER:
        return {
            "bound_ms": load.server_latency_ms,
            "bound_percentile": load.server_percentile,
            "searched_within": WITHIN,
        }
    return {}


def _subject(found: Found, scenario: Scenario, confidence: float) -> dict[str, Any]:
    """Return a subject's entry; of a server, the value is the rate of the last test, not that of the searches.

    `reasons` are LoadGen's own, of the last test that it found invalid.
    """
    server = scenario is Scenario.SERVER
    interval = found.interval(confidence)
    last = found.tests[-1:] if server else found.tests
    invalid = [test for test in last if not test.stated.valid]
    value = (last[0].stated.per_second if last else 0.0) if server else median(found.values)
    return {
        "name": found.name,
        "value": round(value or 0.0, 6),
        "interval": [round(end, 6) for end in interval] if interval else None,
        "turns": [round(each, 6) for each in found.values],
        "invalid": len(invalid),
        "reasons": [*invalid[-1].stated.reasons] if invalid else [],
        "tests": [test.plain() for test in found.tests],
    }


def in_words(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what was found of what ships, scenario by scenario, and whether it counts."""
    for scenario in document["scenarios"]:
        one = next(each for each in scenario["subjects"] if each["name"] == document["ships"])
        said = (_value(scenario, one), _compared(scenario, one["name"]), _verdict(one))
        yield scenario["name"], ", ".join(filter(None, said))
    if document["noisy"]:
        names = ", ".join(each["name"] for each in document["scenarios"] if each["noisy"])
        yield "noisy", f"too noisy to rank in {names}: {document['noisy']} Then it will be measured again next time"


def _value(scenario: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    if not one["value"]:
        return f"no rate holds the bound of {scenario['bound_ms']:g} ms"
    value = f"{one['value']:,.0f}" if one["value"] >= 100 else f"{one['value']:.3g}"
    return f"{value} {scenario['unit']}{' ' + scenario['of'] if scenario['of'] else ''}"


def _compared(scenario: Mapping[str, Any], name: str) -> str:
    if scenario["too_few"]:
        return f"too few runs to rank ({scenario['too_few']})"
    for each in scenario["ratios"]:
        if (each["of"], each["to"]) == (name, "baseline"):
            low, high = each["interval"]
            return Ratio(name, "baseline", each["value"], (low, high), each["confidence"]).short
    return "nothing to rank, since in some turn no rate held the bound"


def _verdict(one: Mapping[str, Any]) -> str:
    return "LoadGen: INVALID" if one["invalid"] else "LoadGen: VALID" if one["tests"] else ""
