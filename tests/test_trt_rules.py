from __future__ import annotations

import onnx
import pytest
from onnx import helper
from trt_cases import CASES, CONV, KERNEL, model, pair, value

from builder.onnxtools.trt_rules import RULES, Severity, check


@pytest.mark.parametrize("code", CASES)
def test_each_rule_finds_what_it_is_for_and_nothing_else(code: str) -> None:
    findings = check(model(*CASES[code]))

    assert {finding.code for finding in findings} == {code}
    assert all(finding.message and finding.hint for finding in findings)
    expected = Severity.WARNING if code == "TRT007" else Severity.ERROR
    assert findings[0].severity is expected


def test_every_rule_has_a_case() -> None:
    assert [code for code, *_ in RULES] == sorted(CASES)


def test_a_missing_zero_point_of_quantize_linear_means_uint8() -> None:
    nodes = [("QuantizeLinear", ["x", "s"], ["q"]), ("DequantizeLinear", ["q", "s"], ["y"])]
    assert {finding.code for finding in check(model(nodes, []))} == {"TRT003"}


def test_a_pair_on_the_skip_branch_of_a_residual_add_is_fine() -> None:
    nodes = [CONV, *pair("x", "skip"), ("Add", ["c", "skip"], ["y"])]
    assert check(model(nodes, [KERNEL])) == []


def test_pairs_on_both_branches_of_a_residual_add_are_warned_of() -> None:
    nodes = [CONV, *pair("c", "main"), *pair("x", "skip"), ("Add", ["main", "skip"], ["y"])]
    assert [(f.code, f.node) for f in check(model(nodes, [KERNEL]))] == [("TRT007", "y")]


def test_nodes_inside_control_flow_are_looked_at() -> None:
    result = helper.make_tensor_value_info("t", onnx.TensorProto.FLOAT, None)
    branch = helper.make_graph([helper.make_node("Swirl", ["x"], ["t"], domain="my.ops")], "b", [], [result])
    nodes = [("If", ["yes"], ["y"], {"then_branch": branch, "else_branch": branch})]
    assert {f.code for f in check(model(nodes, [value("yes", 1, "bool")]))} == {"TRT006"}


def test_weights_inside_control_flow_are_looked_at() -> None:
    result = helper.make_tensor_value_info("t", onnx.TensorProto.FLOAT, None)
    inside = [value("inner_s", 0.1), value("three", 3, "int8")]
    nodes = [helper.make_node(op, read, made, name=made[0]) for op, read, made, _ in pair("x", "t", "three", "inner_s")]
    branch = helper.make_graph(nodes, "b", [], [result], inside)
    outer = [("If", ["yes"], ["y"], {"then_branch": branch, "else_branch": branch})]
    findings = check(model(outer, [value("yes", 1, "bool")]))
    assert {f.code for f in findings} == {"TRT002"}
    assert "is not 0" in findings[0].message
