"""The page's figure of sizes: by precision where a benchmark counted the weights."""

from __future__ import annotations

from typing import Any

from test_report_page import INT8_BYTES, SOURCE_BYTES, cpu_int8, measurement

from builder.report.page import render
from builder.report.sections.size import context

MIB = 2**20


def counted(weights: dict[str, int], of: str = "candidate") -> dict[str, Any]:
    timed = measurement()
    for one in timed["subjects"]:
        one["compute"] = {"of": of, "weights_by_precision": weights} if one["name"] == "candidate" else None
    return context(cpu_int8(timed=timed))


def test_a_model_is_divided_into_its_precisions_and_the_rest() -> None:
    source, _, candidate = counted({"int8": 120_000, "fp32": 40_000})["sizes"]["rows"]

    assert [(part["name"], round(part["mib"] * MIB)) for part in candidate["parts"]] == [
        ("fp32", 40_000),
        ("int8", 120_000),
        ("graph and scales", INT8_BYTES - 160_000),
    ]
    assert source["parts"] == []
    assert round(source["mib"] * MIB) == SOURCE_BYTES


def test_weights_of_another_graph_or_more_than_the_file_holds_divide_nothing() -> None:
    elsewhere = counted({"int8": 120_000}, of="baseline")["sizes"]["rows"][-1]
    too_many = counted({"int8": 2 * INT8_BYTES})["sizes"]["rows"][-1]

    assert (elsewhere["parts"], too_many["parts"]) == ([], [])


def test_what_was_compiled_is_not_divided_as_the_model_that_it_was_compiled_of() -> None:
    timed = measurement()
    timed["subjects"][1] |= {
        "bytes": INT8_BYTES // 2,
        "compute": {"of": "candidate", "weights_by_precision": {"int8": 9}},
    }

    assert context(cpu_int8(timed=timed))["sizes"]["rows"][-1]["parts"] == []


def test_the_parts_are_told_in_words() -> None:
    timed = measurement()
    timed["subjects"][1]["compute"] = {
        **dict.fromkeys(("macs", "fraction", "limit", "reason")),
        "of": "candidate",
        "weights_by_precision": {"int8": 131_072},
        "words": "",
    }

    assert "quantize: int8 0.125" in render(cpu_int8(timed=timed)).replace("\N{NO-BREAK SPACE}", " ")
