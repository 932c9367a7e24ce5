"""Limits: passed, failed, deferred, unmeasured, and what each says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from builder.gates import Evidence, Verdict, judge
from builder.outcomes import GateStatus
from builder.recipe.compose import compose
from builder.recipe.schema import Gate, Recipe


def evaluation(drop: float = 0.004, high: float = 0.012, **more: Any) -> dict[str, Any]:
    return {
        "primary": "top1",
        "metrics": {"top1": {"drop": drop, "interval": [drop - 0.01, high], "confidence": 0.95}},
        "fidelity": {"snr_db": 30.0, "agreement": 0.99, "cosine": 1.0, "identical": False},
        **more,
    }


def measurement(runs: int = 1000) -> dict[str, Any]:
    subject = {
        "name": "candidate",
        "runs": runs,
        "p99_valid": runs >= 1000,
        "latency_ms": {"p50": 2.0, "p90": 2.5, "p99": 4.0},
        "memory_mib": 30.0,
    }
    return {"subjects": [subject], "host": {"processor": "EPYC"}}


def evidence(**more: Any) -> Evidence:
    given: dict[str, Any] = {
        "evaluations": {"evaluate": evaluation()},
        "measurements": {"benchmark": measurement()},
        "elsewhere": {},
        "sizes": {"simplify": 3 << 20, "quantize": 1 << 20},
        "finals": ["quantize"],
        **more,
    }
    return Evidence(**given)


def recipe(*gates: str) -> Recipe:
    return compose(["model=fashion_mobilenet", "steps=[simplify,quantize,evaluate,benchmark]", *gates])


def verdict(gate: str, *more: str, **changed: Any) -> Verdict:
    (found,) = judge(recipe(gate, *more), evidence(**changed))
    return found


@pytest.mark.parametrize(
    ("gate", "status", "says"),
    [
        ("gates.max_accuracy_drop=0.01", "passed", "top1 drops by 0.0040 [-0.0060, 0.0120]; the limit is at most 0.01"),
        ("gates.max_accuracy_drop=0.003", "failed", "the limit is at most 0.003"),
        ("gates.min_agreement=0.999", "failed", "agreement is 0.99; the limit is at least 0.999"),
        ("gates.min_snr_db=20", "passed", "snr_db is 30; the limit is at least 20"),
        ("gates.max_size_mib=1", "passed", "the artifact has 1.000 MiB; the limit is at most 1"),
        ("gates.max_size_mib=0.9", "failed", "the artifact has 1.000 MiB; the limit is at most 0.9"),
        ("gates.max_latency_ms={p50: 1.5}", "failed", "p50 is 2.000 ms; the limit is at most 1.5"),
        ("gates.max_latency_ms={p99: 5}", "passed", "p99 is 4.000 ms; the limit is at most 5"),
        ("gates.max_memory_mib=31", "passed", "peak memory is 30.0 MiB; the limit is at most 31"),
    ],
)
def test_a_gate_says_limit_and_value(gate: str, status: str, says: str) -> None:
    found = verdict(gate)

    assert found.status.word == status
    assert says in found.message


@pytest.mark.parametrize(
    ("unequal", "gate", "status"),
    [(0, "", "passed"), (10, "", "failed"), (1, "", "failed"), (1, "0.0001", "failed"), (10, "0.0011", "passed"),
     (12, "0.0011", "failed")],
)  # fmt: skip
def test_labels_are_equal_unless_the_recipe_sets_a_larger_difference(unequal: int, gate: str, status: str) -> None:
    labels = {"kind": "labels", "unequal": unequal, "count": 10_000, "difference": unequal / 10_000}
    numbers = {"kind": "numbers", "apart": 0.0, "largest": 1.0, "difference": 0.0}
    document = {"source": "it", "words": "so far", "remedy": "", "outputs": {"label": labels, "scores": numbers},
                "difference": unequal / 10_000}  # fmt: skip
    gates = [f"gates.max_conversion_difference={gate}"] if gate else []
    exported = compose(["model.format=sklearn", "model.path=x.skops", "steps=[]", *gates])
    (found,) = judge(exported, evidence(conversions={"conversion": document}))

    assert found.status.word == status
    assert (f"labels equal: {unequal:,} of 'label' differ" in found.message) == (
        unequal in (1, 10) and status == "failed"
    )


def test_with_a_confidence_the_bound_counts() -> None:
    assert verdict("gates.max_accuracy_drop=0.01", "gates.confidence=0.95").status is GateStatus.FAILED


def test_without_labels_the_drop_is_unmeasured() -> None:
    unlabelled = evaluation() | {"primary": None, "metrics": {}}

    assert verdict("gates.max_accuracy_drop=1", evaluations={"evaluate": unlabelled}).status is GateStatus.UNMEASURED


def test_equal_outputs_pass_the_snr() -> None:
    equal = evaluation(fidelity={"snr_db": None, "identical": True})

    assert verdict("gates.min_snr_db=99", evaluations={"evaluate": equal}).status is GateStatus.PASSED


def test_without_an_evaluation_the_drop_is_unmeasured() -> None:
    assert verdict("gates.max_accuracy_drop=1", evaluations={}).status is GateStatus.UNMEASURED


def test_p99_needs_a_thousand_runs() -> None:
    found = verdict("gates.max_latency_ms={p99: 5}", measurements={"benchmark": measurement(runs=999)})

    assert found.status is GateStatus.UNMEASURED
    assert "needs 1,000 runs, there are 999" in found.message


def test_a_limit_on_latency_is_about_what_ships() -> None:
    compiled = {**measurement()["subjects"][0], "name": "openvino", "latency_ms": {"p50": 1.0}, "memory_mib": 40.0}
    both = {**measurement(), "subjects": [*measurement()["subjects"], compiled], "ships": "openvino"}

    assert verdict("gates.max_latency_ms={p50: 1.5}", measurements={"benchmark": both}).value == 1.0
    assert verdict("gates.max_memory_mib=35", measurements={"benchmark": both}).status is GateStatus.FAILED


def test_latency_on_an_absent_target_waits_and_is_not_judged_on_the_host() -> None:
    found = verdict(
        "gates.max_latency_ms=1000",
        measurements={},
        elsewhere={"benchmark@host": measurement()},
        waiting="jetson_orin is aarch64",
    )

    assert found.status is GateStatus.DEFERRED
    assert found.value is None
    assert "jetson_orin is aarch64" in found.message


def test_an_artifact_that_was_not_made_has_no_size() -> None:
    assert verdict("gates.max_size_mib=99", sizes={"simplify": 1}).status is GateStatus.UNMEASURED


def test_two_evaluations_need_the_action_in_the_gate() -> None:
    two = {"evaluate": evaluation(), "again": evaluation(drop=0.5)}
    unclear = verdict("gates.max_accuracy_drop=0.01", evaluations=two)
    (clear,) = judge(recipe("+gates.evaluate.max_accuracy_drop=0.01"), evidence(evaluations=two))

    assert unclear.status is GateStatus.UNMEASURED
    assert "write gates.<action>.max_accuracy_drop" in unclear.message
    assert (clear.status, clear.gate.label) == (GateStatus.PASSED, "evaluate.max_accuracy_drop")


@pytest.mark.parametrize(
    ("gate", "compiled", "status", "says"),
    [
        ("gates.max_accuracy_drop=0.01", evaluation(0.02), "failed", "top1 drops by 0.0200"),
        ("gates.max_accuracy_drop=0.01", evaluation(0.001), "passed", "top1 drops by 0.0040"),
        ("gates.min_agreement=0.95", evaluation(fidelity={"agreement": 0.9}), "failed", "agreement is 0.9;"),
        ("gates.min_agreement=0.95", evaluation(fidelity={"snr_db": 3}), "unmeasured", "have no agreement"),
        ("+gates.evaluate.max_accuracy_drop=0.01", evaluation(0.02), "passed", "top1 drops by 0.0040"),
    ],
)
def test_a_limit_that_names_neither_holds_for_the_model_and_for_what_is_compiled_of_it(
    gate: str, compiled: dict[str, Any], status: str, says: str
) -> None:
    found = verdict(gate, evaluations={"evaluate": evaluation(), "evaluate@openvino": compiled})

    assert (found.status.word, found.gate.label) == (status, gate.lstrip("+").removeprefix("gates.").partition("=")[0])
    assert says in found.message


WAITS = {"awaited": {"evaluate@tensorrt": "jetson_orin"}}


@pytest.mark.parametrize("gate", ["gates.max_accuracy_drop=0.01", "gates.min_agreement=0.9", "gates.min_snr_db=20"])
def test_a_limit_that_the_host_keeps_says_what_still_waits_for_the_target(gate: str) -> None:
    found = verdict(gate, **WAITS)

    assert (found.status, found.measured_on) == (GateStatus.PASSED, "host")
    assert found.message.endswith("; on the host: evaluate@tensorrt waits for jetson_orin")


def test_a_limit_that_the_host_breaks_waits_for_nothing() -> None:
    found = verdict("gates.max_accuracy_drop=0.001", **WAITS)

    assert found.status is GateStatus.FAILED
    assert "waits" not in found.message


@pytest.mark.parametrize("drop", [0.004, 0.5])
def test_an_evaluation_that_the_device_could_not_make_is_not_passed_over(drop: float) -> None:
    lost = {"evaluate@tensorrt": "was not finished on Orin"}
    found = verdict("gates.max_accuracy_drop=0.01", evaluations={"evaluate": evaluation(drop)}, lost=lost)

    assert found.status is (GateStatus.UNMEASURED if drop < 0.01 else GateStatus.FAILED)
    assert ("evaluate@tensorrt was not finished on Orin" in found.message) == (drop < 0.01)


def test_a_limit_that_names_what_is_still_to_come_waits() -> None:
    gates = (Gate("max_accuracy_drop", 1, action="evaluate@tensorrt"), Gate("max_size_mib", 1, action="compile"))
    drop, size = judge(replace(recipe(), gates=gates), evidence(**WAITS, unmade={"compile": "jetson_orin"}))

    assert (drop.status, size.status) == (GateStatus.DEFERRED, GateStatus.DEFERRED)
    assert "evaluate@tensorrt waits for jetson_orin" in drop.message
    assert "compile waits for jetson_orin" in size.message


def test_the_size_of_a_model_is_not_taken_for_that_of_the_engine_that_is_not_made() -> None:
    found = verdict("gates.max_size_mib=1", unmade={"compile": "jetson_orin"})

    assert found.status is GateStatus.PASSED
    assert "the model has 1.000 MiB, what is made of it does not exist yet (compile waits for jetson_orin)" in (
        found.message
    )
