"""What the machine can at most, and the share of it that a run uses; no test judges a speed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from builder.measure.cost.limits import Limits, cache_bytes, machine_limits
from builder.measure.cost.roofline import Counted, compute
from builder.onnxtools.cost import QDQ, Cost

MIB = 1 << 20
COST = Cost({"int8": 10**9}, 1000, {"int8": 1000}, 3000, 2 * MIB, {"Add": 2}, ())
LIMITS = Limits(1, {"fp32": 50e9, "int8": 200e9}, 10e9, MIB)


def test_both_roofs_are_measured_in_a_process_of_its_own() -> None:
    found = machine_limits(threads=1, cores=[], device="cpu", max_seconds=0.1)

    assert found.reason == ""
    assert set(found.macs_per_s) == {"fp32", "int8"}
    assert min(found.macs_per_s.values()) > 1e6
    assert found.bytes_per_s
    assert found.plain()["threads"] == 1


def test_what_cannot_be_measured_has_a_reason_and_is_no_number() -> None:
    absent = machine_limits(threads=1, cores=[10**6], device="cpu", max_seconds=0.1)
    gpu = machine_limits(threads=1, cores=[], device="cuda", max_seconds=0.1)

    assert "there is no processor 1000000" in absent.reason
    assert "cuda" in gpu.reason
    assert (gpu.macs_per_s, gpu.bytes_per_s) == ({}, None)


def test_the_last_level_cache_is_that_of_the_highest_level(tmp_path: Path) -> None:
    for index, (level, size) in enumerate((("1", "48K"), ("3", "32M"), ("2", "1024K"))):
        (tmp_path / f"index{index}").mkdir()
        (tmp_path / f"index{index}/level").write_text(f"{level}\n")
        (tmp_path / f"index{index}/size").write_text(f"{size}\n")
    (tmp_path / "index3").mkdir()  # without a size

    assert cache_bytes(tmp_path) == 32 * MIB
    assert cache_bytes(tmp_path / "none") is None


def test_the_share_is_the_time_at_the_limit_over_the_time_that_it_took() -> None:
    found = compute(Counted(COST, "candidate"), LIMITS, 25.0, "int8, fp32")  # at best 5 ms

    assert (found["fraction"], found["limit"]) == (0.2, "compute")
    assert found["gmacs_per_s"] == 40
    assert found["macs_per_byte"] == 250_000
    assert found["words"] == "uses 20 % of what this machine computes in int8 with 1 thread"
    assert found["reason"] is None


def test_weights_that_no_cache_holds_are_bound_by_memory() -> None:
    large = replace(COST, macs={"fp32": 10**6}, least_bytes=100 * 10**6)

    found = compute(Counted(large, "candidate"), LIMITS, 20.0, "fp32")  # at best 10 ms

    assert (found["fraction"], found["limit"]) == (0.5, "memory")
    assert found["words"] == "moves its weights at 50 % of the rate at which this machine copies with 1 thread"


def test_weights_that_a_cache_holds_are_not() -> None:
    assert compute(Counted(replace(COST, least_bytes=MIB), "a"), LIMITS, 25.0, "int8")["limit"] == "compute"


def test_mixed_precisions_are_each_held_against_their_own_limit() -> None:
    mixed = replace(COST, macs={"fp32": 10**9, "int8": 2 * 10**9})  # 20 ms and 10 ms

    found = compute(Counted(mixed, "a"), replace(LIMITS, threads=2), 60.0, "int8, fp32")

    assert found["fraction"] == 0.5
    assert found["words"] == "uses 50 % of what this machine computes with 2 threads"


@pytest.mark.parametrize(("ran", "fraction"), [("fp32", 0.5), ("int8, fp32", 0.125), ("fp32, int8", None)])
def test_quantized_operands_are_held_against_what_they_ran_in(ran: str, fraction: float | None) -> None:
    pairs = replace(COST, macs={QDQ: 10**9})

    found = compute(Counted(pairs, "a"), LIMITS, 40.0, ran)

    assert found["fraction"] == fraction
    assert found["macs"] == 10**9
    if fraction is None:
        assert "does not tell which" in found["reason"]


def test_operators_of_whole_numbers_are_int8_whatever_most_nodes_are() -> None:
    assert compute(Counted(COST, "a"), LIMITS, 25.0, "fp32, int8")["fraction"] == 0.2


@pytest.mark.parametrize(
    ("cost", "limits", "reason"),
    [
        (replace(COST, uncounted=("Attention",)), LIMITS, "not counted: Attention"),
        (replace(COST, macs={"fp16": 5}), LIMITS, "fp16 at most is not measured"),
        (replace(COST, macs={}), LIMITS, "no operator that multiplies"),
        (COST, Limits(1, {}, None, None, "it could not be measured"), "it could not be measured"),
        (None, LIMITS, "it has no graph"),
    ],
)
def test_a_share_that_cannot_be_told_is_null_with_the_reason(cost: Cost | None, limits: Limits, reason: str) -> None:
    found = compute(Counted(cost, "a", "" if cost else "it has no graph"), limits, 1.0, "fp32, int8")

    assert found["fraction"] is None
    assert reason in found["reason"]
    assert found["words"] == ""
    if cost and cost.uncounted:
        assert found["macs"] is None
