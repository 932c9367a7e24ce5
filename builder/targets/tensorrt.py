"""What TensorRT, and TensorRT-RTX, cannot do with a model that has not been through any step yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from builder.device.trt_api import NAMES
from builder.onnxtools.profiles import check_profiles
from builder.onnxtools.trt_rules import Finding, Severity
from builder.onnxtools.trt_rules import check as check_static
from builder.targets.facts import Asked, Facts, label
from builder.targets.operators import DLA, NEAREST, bounds, in_rtx, max_opset, since

__all__ = ["check_tensorrt"]

# Types that TensorRT's parser does not know. Source: onnx-tensorrt, docs/operators.md, "supports the following ONNX
# data types"; INT16 and STRING were seen to fail in TensorRT-RTX 1.7.1. DOUBLE it takes, and computes in float32.
_UNKNOWN = ("STRING", "INT16", "UINT16", "UINT32", "UINT64", "COMPLEX64", "COMPLEX128")

error = partial(Finding, severity=Severity.ERROR)
warning = partial(Finding, severity=Severity.WARNING)


def check_tensorrt(
    facts: Facts, asked: Asked, target: Mapping[str, Any], shapes: Mapping[str, list[int]]
) -> list[Finding]:
    """Return what TensorRT refuses in a model, and what it takes only from some version on."""
    runtime = asked.runtime or target["runtime"]
    found = [*_types(facts, NAMES[runtime]), *_shapes(facts, asked, shapes), *_static(facts)]
    said = {finding.node for finding in found}
    operators = _rtx_operators(facts) if runtime == "tensorrt_rtx" else _operators(facts, target)
    found += [finding for finding in operators if finding.node not in said]
    return [*found, *(_opset(facts, target) if runtime == "tensorrt" else ()), *_dla(facts, asked)]


def _types(facts: Facts, runtime: str) -> Iterator[Finding]:
    """Yield the nodes that compute on a type that TensorRT does not have."""
    from onnx import TensorProto

    for node in facts.nodes:
        if node.op_type in {"QuantizeLinear", "DequantizeLinear"}:
            continue
        named = ((name, TensorProto.DataType.Name(kind)) for name, kind in facts.touched(node))
        for name, kind in ((name, kind) for name, kind in named if name not in facts.known):
            if kind == "DOUBLE":
                reason = f"{node.op_type} works on float64 ('{name}'), of which {runtime} makes float32 without a word"
                yield error("dtype", node=label(node), message=reason, hint="export the model in float32")
            elif kind in _UNKNOWN:
                reason = f"{node.op_type} works on {kind.lower()} ('{name}'), a type that {runtime} does not have"
                nearest = "do it in data.preprocess" if kind == "STRING" else "export the model with int32 in its place"
                yield error("dtype", node=label(node), message=reason, hint=nearest)
            else:
                continue
            break


def _shapes(facts: Facts, asked: Asked, shapes: Mapping[str, list[int]]) -> list[Finding]:
    """Return what is wrong with the shapes of the inputs and the profiles of what is compiled, each once."""
    steps = asked.profiles or {"": {}}
    found = [each for step, given in steps.items() for each in check_profiles(facts.model, given, shapes, step)]
    return list({finding.node: finding for finding in reversed(found)}.values())[::-1]


def _static(facts: Facts) -> Iterator[Finding]:
    """Yield what TensorRT refuses of a model that came quantized: the builder quantizes none twice."""
    for finding in check_static(facts.model):
        restyle = finding.code != "TRT006"
        hint = "bring the model in floating point, and quantize it with steps.quantize.style=tensorrt"
        yield Finding(finding.code, finding.severity, finding.node, finding.message, hint if restyle else finding.hint)


def _operators(facts: Facts, target: Mapping[str, Any]) -> Iterator[Finding]:
    oldest, newest = bounds(target["runtime_versions"])
    for node in (node for node in facts.nodes if node.domain in {"", "ai.onnx"}):
        first, name = since(node.op_type), node.op_type
        later = f"TensorRT's parser takes {name} from {first[0]}.{first[1]} on" if first else ""
        if first is None and in_rtx(name) and newest >= (11, 0):
            yield warning("operator", node=label(node), message=f"{name} is new; only TensorRT 11 may take it", hint="")
        elif first is None:
            words = f"{name} is no operator that TensorRT's parser takes"
            yield error("operator", node=label(node), message=words, hint=_nearest(name))
        elif first > newest:
            words = f"{later}, and {target['name']} has {target['runtime_versions']}"
            yield error("operator", node=label(node), message=words, hint=_nearest(name))
        elif first > oldest:
            words = f"{later}; {target['name']} may have an older one ({target['runtime_versions']})"
            yield warning("operator", node=label(node), message=words, hint=_nearest(name))


def _rtx_operators(facts: Facts) -> Iterator[Finding]:
    for node in facts.nodes:
        if node.domain in {"", "ai.onnx"} and not in_rtx(node.op_type):
            words = f"{node.op_type} is no operator that TensorRT-RTX's parser takes"
            yield error("operator", node=label(node), message=words, hint=_nearest(node.op_type))


def _nearest(operator: str) -> str:
    other = NEAREST.get(operator)
    return f"export the model with {other} in its place" if other else "replace it before the export"


def _opset(facts: Facts, target: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield a finding where the documents of the target's TensorRT do not name the model's opset."""
    opset = max((each.version for each in facts.model.opset_import if each.domain in {"", "ai.onnx"}), default=0)
    oldest, newest = (max_opset(version) for version in bounds(target["runtime_versions"]))
    node = label(facts.model.graph.node[0])
    words = f"the model is of opset {opset}; TensorRT's parser in {target['name']} is documented up to"
    if opset > newest:
        yield error("opset", node=node, message=f"{words} {newest}", hint=f"export it with opset {newest}")
    elif opset > oldest:
        yield warning("opset", node=node, message=f"{words} {oldest} in its oldest version", hint="")


def _dla(facts: Facts, asked: Asked) -> Iterator[Finding]:
    """Yield the nodes that run on no DLA: refused, or on the GPU where the recipe lets them."""
    if asked.dla_core is None:
        return
    for node in facts.nodes:
        if node.op_type not in DLA and node.op_type != "Constant":
            if asked.allow_gpu_fallback:
                yield warning(
                    "dla", node=label(node), message=f"no DLA runs {node.op_type}; it runs on the GPU", hint=""
                )
            else:
                hint = "let it run on the GPU: steps.compile.allow_gpu_fallback=true"
                yield error("dla", node=label(node), message=f"no DLA runs {node.op_type}", hint=hint)
