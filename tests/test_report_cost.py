"""What the page says of the cost of a run: beside the machine's limit, energy, and what disturbed it."""

from __future__ import annotations

import json
from typing import Any

from schemas import validator
from test_report_page import Page, cpu_int8, measurement

from builder.measure.conditions import Conditions
from builder.measure.cost.limits import Limits
from builder.measure.cost.roofline import Counted, compute
from builder.onnxtools.cost import Cost
from builder.report.page import render

LIMITS = Limits(1, {"fp32": 117e9, "int8": 436e9}, 36.8e9, 32 << 20)
COST = Cost(
    {"int8": 21_058_304}, 324_570, {"int8": 320_480, "int32": 16_360}, 787_002, 340_000, {"Add": 4, "Flatten": 1}, ()
)


def measured(cost: Cost = COST, limits: Limits = LIMITS, **more: Any) -> dict[str, Any]:
    found = measurement() | {"limits": limits.plain(), "warnings": [], **more}
    found["conditions"] = Conditions(8.0, 0.0, 0.02, None, None, (2596.0, 2596.0)).plain()
    known = {
        "cores": [1],
        "first_inference_ms": 0.718,
        "memory_loaded_mib": 11.6,
        "energy_mj": None,
        "interruptions": 3,
    }
    for one in found["subjects"]:
        one.update(known, compute=compute(Counted(cost, one["name"]), limits, one["latency_ms"]["p50"], "int8"))
    return found


def test_a_run_is_held_against_the_machines_limit_and_every_number_is_in_the_table() -> None:
    report = cpu_int8(timed=measured())
    validator().validate(json.loads(json.dumps(report)))

    text = Page(render(report)).text

    assert "cpu_int8 uses 12 % of what this machine computes in int8 with 1 thread; fashion_mobilenet uses" in text
    assert "computed 117 GMAC/s in fp32 and 436 GMAC/s in int8 and moved 36.8 GB/s, with 1 thread" in text
    assert "not counted are Add, Flatten" in text
    assert "1 thread, kept on processor 1" in text
    for number in ("0.718 ms", "11.6 MiB", "21.1", "324,570", "1.07 MiB"):
        assert number in text


def test_a_share_that_is_not_known_says_why_in_place_of_a_number() -> None:
    unknown = Cost({}, 10, {"fp32": 40}, None, None, {}, ("Attention",))

    text = Page(render(cpu_int8(timed=measured(unknown)))).text

    assert "cpu_int8: the share of the machine's limit is not known: not counted: Attention." in text
    assert "% of what this machine computes" not in text


def test_energy_is_a_number_with_its_counter_or_a_reason() -> None:
    counted = measured(energy_method="RAPL, the whole package, with all else that ran on it", energy_reason=None)
    for one in counted["subjects"]:
        one["energy_mj"] = 4.56

    text = Page(render(cpu_int8(timed=counted))).text
    reason = Page(render(cpu_int8(timed=measured(energy_method=None, energy_reason="this machine shows none")))).text

    assert "4.56 mJ" in text
    assert "Energy: RAPL, the whole package, with all else that ran on it." in text
    assert "Energy is not known: this machine shows none." in reason


def test_what_disturbed_a_measurement_is_said_with_its_remedy() -> None:
    why = "Too noisy to rank: 4.0 % of the processors' time was stolen. Measure on a machine of your own."

    assert why in Page(render(cpu_int8(timed=measured(noisy=why)))).text
    assert "Its speed moved." in Page(render(cpu_int8(timed=measured(warnings=["Its speed moved."])))).text


def test_words_of_a_measurement_are_never_markup() -> None:
    hostile = "<script>alert(1)</script>"
    found = measured(warnings=[hostile], energy_method=None, energy_reason=hostile)
    found["subjects"][0]["compute"]["reason"] = hostile

    assert hostile not in render(cpu_int8(timed=found))
