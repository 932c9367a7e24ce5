"""The action after `model`: every operator, type and shape against the target, before any step that takes long."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from builder.step import Job, Kind, Result, Step
from builder.targets.facts import Asked, label

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import ModelProto

    from builder.onnxtools.trt_rules import Finding
    from builder.targets.facts import Facts

__all__ = ["CHECK", "target_check", "told"]

CHECK = "check"  # the action's name
_SMALL = 4096  # numbers; a scale or a zero point is read, weights are not


def _check(asked: Asked, job: Job) -> Result:
    """Write check.json: a verdict for each node. One that does not fit fails in engine/fitness.py."""
    from builder.targets.facts import Facts
    from builder.targets.rules import check_model

    folder = job.inputs["model"]
    facts = Facts(_load(folder), folds=asked.folds)
    stored = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    findings = check_model(facts, asked, job.target, job.model.shapes, stored)
    document = _document(facts, findings, asked, job.target)
    text = json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False) + "\n"
    (job.folder("check") / "check.json").write_text(text, encoding="utf-8")
    return Result(_facts(document))


def _load(folder: Path) -> ModelProto:
    """Return the model with its small tensors: scales and zero points, but no weights that lie beside it."""
    from math import prod

    from onnx import TensorProto
    from onnx.external_data_helper import load_external_data_for_tensor

    from builder.onnxtools.files import MODEL, load_graph
    from builder.onnxtools.graph import graphs

    model = load_graph(folder / MODEL, MODEL)
    for tensor in (tensor for graph in graphs(model.graph) for tensor in graph.initializer):
        if tensor.data_location == TensorProto.EXTERNAL and prod(tensor.dims) <= _SMALL:
            load_external_data_for_tensor(tensor, str(folder))
            tensor.data_location = TensorProto.DEFAULT
    return model


def _document(facts: Facts, findings: list[Finding], asked: Asked, target: Any) -> dict[str, Any]:
    worst = {finding.node: finding.severity.value for finding in reversed(findings)}
    worst |= {finding.node: "error" for finding in findings if finding.severity.value == "error"}
    nodes = [{"name": label(node), "op_type": node.op_type} for node in facts.nodes]
    return {
        "schema": 1,
        "target": target["name"],
        "runtime": asked.runtime or target["runtime"],
        "runtime_versions": target["runtime_versions"] if asked.runtime in ("", target["runtime"]) else "",
        "fits": "error" not in worst.values(),
        "nodes": [{**node, "verdict": worst.get(node["name"], "ok")} for node in nodes],
        "findings": [
            {
                "severity": finding.severity.value,
                "rule": finding.code,
                "node": finding.node,
                "message": finding.message,
                "hint": finding.hint,
            }
            for finding in findings
        ],
    }


def _facts(document: dict[str, Any]) -> dict[str, Any]:
    """Return what is told of a check; `refused` is there only where the target cannot do what the model needs."""
    found = Counter(finding["severity"] for finding in document["findings"])
    facts: dict[str, Any] = {"nodes": f"{len(document['nodes']):,} looked at, for {document['target']}"}
    if found["warning"]:
        warnings = [finding for finding in document["findings"] if finding["severity"] == "warning"]
        facts["warnings"] = [f"{finding['node']}: {finding['message']}" for finding in warnings]
    if found["error"]:
        facts["refused"] = told(document["findings"])
    return facts


def told(findings: list[dict[str, str]]) -> dict[str, str]:
    """Return one sentence about findings, the first error in full, and the nearest thing that works instead."""
    errors = [finding for finding in findings if finding["severity"] == "error"]
    first = errors[0]
    more = f"; and {len(errors) - 1:,} more: python -m builder check" if len(errors) > 1 else ""
    return {"message": f"{first['node']}: {first['message']}{more}", "hint": first["hint"]}


target_check = Step(
    name=CHECK,
    options=Asked,
    run=_check,
    rank=6,
    inputs={"model": Kind.ONNX},
    outputs={"check": Kind.CHECK},
    packages=("onnx",),
    model_facts=("shapes",),
    target_facts=("name", "runtime", "runtime_versions", "precisions", "memory_mib"),
    summary="Check a model's operators, types and shapes against the target.",
)
