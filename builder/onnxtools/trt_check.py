"""A model before it is compiled for TensorRT: our rules, its precisions against the target's, its open axes."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from builder.errors import StepError
from builder.onnxtools.graph import graphs, walk
from builder.onnxtools.trt_rules import RULES, Severity, check

if TYPE_CHECKING:
    from onnx import ModelProto

    from builder.onnxtools.trt_rules import Finding

__all__ = ["check_model", "precisions_of"]

SHOWN = 3  # findings that a message spells out


def check_model(model: ModelProto, able: Collection[str], runtime: str) -> dict[str, Any]:
    """Return what is to be said of a model that may be compiled; `able` is what the target computes in.

    Raises StepError where a rule is broken, or where the graph holds a precision that the target has not.
    """
    findings = check(model)
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        raise StepError(_told(errors, runtime), errors[0].hint)
    precisions = precisions_of(model)
    if missing := precisions - set(able):
        raise StepError(
            f"the model holds {', '.join(sorted(missing))}, and the target takes {', '.join(able)}",
            "choose another target, or leave out the step that made it so",
        )
    facts: dict[str, Any] = {"rules": f"{len(RULES)} checked, 0 broken", "precision": ", ".join(sorted(precisions))}
    return facts | ({"warnings": [str(finding) for finding in findings]} if findings else {})


def precisions_of(model: ModelProto) -> set[str]:
    """Return the precisions that the graph is written in: of its weights, and of its Q/DQ nodes."""
    from onnx import TensorProto

    named = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16", TensorProto.BFLOAT16: "bf16"}
    held = {tensor.data_type for graph in graphs(model.graph) for tensor in graph.initializer}
    found = {name for kind, name in named.items() if kind in held}
    if any(node.op_type == "QuantizeLinear" for node in walk(model.graph)):
        found.add("int8")
    return found


def _told(errors: list[Finding], runtime: str) -> str:
    """Say how many rules are broken, and the first finding of each."""
    first = {finding.code: finding for finding in reversed(errors)}
    shown = "; ".join(str(first[code]) for code in sorted(first)[:SHOWN])
    more = f"; and {len(errors) - min(len(first), SHOWN)} more" if len(errors) > min(len(first), SHOWN) else ""
    return f"{runtime} would refuse the model ({len(errors)} findings): {shown}{more}"
