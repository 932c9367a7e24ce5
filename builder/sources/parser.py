"""What TensorRT-RTX's parser says of a model that goes to TensorRT, node by node; it needs no GPU.

It is NVIDIA's own, but of another product: TensorRT's versions differ in operators. What it refuses fails here; that it
takes a model is strong evidence, no proof.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from builder.errors import StepError
from builder.step import Job, Kind, Result, Step

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["PARSER", "parser_check"]

PARSER = "parser"  # the action's name
SHOWN = 3  # refusals that a message spells out
_EVIDENCE = "strong evidence, no proof: the target's TensorRT is another version"


def _check(_options: None, job: Job) -> Result:
    """Ask the parser about each node and write parser.json; print what it refuses. Raises StepError."""
    from builder.device.trt_api import TrtError
    from builder.device.trt_child import call
    from builder.onnxtools.files import MODEL, load

    model = load(job.inputs["model"])
    try:
        verdict = call({"do": "judge", "runtime": "tensorrt_rtx", "onnx": str(job.inputs["model"] / MODEL)})
    except TrtError as error:
        raise StepError(str(error), "leave the parser out: steps.compile.parser=never") from error
    nodes = _judged(model, verdict)
    document = {"schema": 1, "parser": verdict["parser"], "taken": verdict["taken"], "nodes": nodes}
    text = json.dumps(document, sort_keys=True, indent=1) + "\n"
    print(text)
    refused = [node for node in nodes if node["verdict"] == "refused"]
    if refused or not verdict["taken"]:
        raise StepError(_told(refused, verdict["parser"]), _way_out(model, refused))
    (job.folder("parser") / "parser.json").write_text(text, encoding="utf-8")
    facts = {"parser": f"{len(nodes)} of {len(nodes)} nodes taken by {verdict['parser']}'s parser"}
    own = job.target["runtime"] == "tensorrt_rtx"
    return Result(facts if own else {**facts, "that is": _EVIDENCE})


def _judged(model: ModelProto, verdict: dict[str, Any]) -> list[dict[str, Any]]:
    """Return every node with its verdict; where another one was refused, what is left was not made into layers."""
    refusals = {_index(model, refusal): refusal for refusal in verdict["refused"]}
    nodes = []
    for index, node in enumerate(model.graph.node):
        name = node.name or next(iter(node.output), "")
        judged: dict[str, Any] = {"index": index, "name": name, "operator": node.op_type}
        if refusal := refusals.pop(index, None):
            reason = {"verdict": "refused", "code": refusal["code"], "reason": refusal["reason"]}
            nodes.append({**judged, **reason})
        else:
            nodes.append({**judged, "verdict": "taken" if verdict["taken"] else "no objection"})
    unnamed = [{**refusal, "verdict": "refused"} for refusal in refusals.values()]  # or inside of a branch
    return [*nodes, *unnamed]


def _index(model: ModelProto, refusal: dict[str, Any]) -> int:
    """Return which node is refused; where the parser says the operator alone, the only one of it, else -1."""
    if refusal["index"] >= 0:
        return int(refusal["index"])
    same = [index for index, node in enumerate(model.graph.node) if node.op_type == refusal["operator"]]
    return same[0] if len(same) == 1 else -1


def _told(refused: list[dict[str, Any]], parser: str) -> str:
    shown = "; ".join(f"{_words(node)}: {node['reason']}" for node in refused[:SHOWN])
    more = f"; and {len(refused) - SHOWN} more" if len(refused) > SHOWN else ""
    return f"{parser}'s parser refuses {len(refused) or 'the'} of the model's nodes: {shown or 'it says no more'}{more}"


def _words(node: dict[str, Any]) -> str:
    operator = node["operator"]
    return f"{node['name']} ({operator})" if node["name"] else f"one of the {operator}" if operator else "a node"


def _way_out(model: ModelProto, refused: list[dict[str, Any]]) -> str:
    """Return what works: of a rule of ours that says the same of the node, else what a user can try."""
    from builder.onnxtools.trt_rules import check

    names = {node["name"] for node in refused}
    known = next((finding for finding in check(model) if finding.node in names), None)
    if known:
        return f"{known.hint} ({known.code})"
    if any("Plugin not found" in node["reason"] for node in refused):
        return "export the model with standard ONNX operators: TensorRT has no plugin of that name"
    return "simplify the model (steps.simplify), export it with another opset, or run it on another runtime"


parser_check = Step(
    name=PARSER,
    options=type(None),
    run=_check,
    rank=78,
    inputs={"model": Kind.ONNX},
    outputs={"parser": Kind.PARSER},
    target_facts=("runtime",),
    toolchain="tensorrt_rtx",
    summary="Ask TensorRT-RTX's parser about each node of the model that is compiled.",
)
