"""A TensorRT engine from a model, on the machine that will run it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from builder.compilers.options import Options
from builder.errors import StepError
from builder.outcomes import Reproducible
from builder.step import Job, Kind, Need, Result, step

if TYPE_CHECKING:
    from onnx import ModelProto

    from builder.onnxtools.trt_rules import Finding

__all__ = ["compile"]

SHOWN = 3  # findings that a message spells out


@step(
    name="compile",
    options=Options,
    rank=80,
    inputs={"model": Kind.ONNX},
    outputs={"engine": Kind.ENGINE},
    reproducible=Reproducible.REPLAYABLE,
    packages=("onnx",),
    model_facts=("shapes",),
    target_facts=("runtime", "runtime_versions", "arch", "compute_capability", "precisions"),
    need=Need.TARGET,
    runtimes=("tensorrt",),
)
def compile(options: Options, job: Job) -> Result:  # noqa: A001  the step's name is what NVIDIA calls it
    """Check the model against TensorRT's rules, then build an engine where the target is at hand.

    Elsewhere the engine is deferred: an engine belongs to the GPU model it was built on. Raises StepError where a
    rule is broken, where the model's precision is not the target's, or where TensorRT refuses the model.
    """
    from builder.onnxtools.files import load
    from builder.onnxtools.trt_rules import RULES, Severity, check

    model = load(job.inputs["model"])
    findings = check(model)
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        raise StepError(_told(errors), errors[0].hint)
    precisions = _precisions(model)
    missing = precisions - set(job.target.get("precisions", precisions))
    if missing:
        raise StepError(
            f"the model holds {', '.join(sorted(missing))}, and the target takes {', '.join(job.target['precisions'])}",
            "choose another target, or leave out the step that made it so",
        )
    facts: dict[str, Any] = {"rules": f"{len(RULES)} checked, 0 broken", "precision": ", ".join(sorted(precisions))}
    if findings:
        facts["warnings"] = [str(finding) for finding in findings]
    if job.device is None:
        return Result(facts, deferred="a TensorRT engine is built on the target, and the target is not here")
    return Result(facts | _built(options, job, precisions))


def _built(options: Options, job: Job, precisions: set[str]) -> dict[str, Any]:
    from builder.runtimes.tensorrt import EngineRequest, build_engine

    return build_engine(
        EngineRequest(
            onnx=str(job.inputs["model"] / "model.onnx"),
            engine=str(job.folder("engine") / "engine.plan"),
            workspace_mib=options.workspace_mib,
            optimization_level=options.optimization_level,
            int8="int8" in precisions,
            fp16="fp16" in precisions,
            shapes=job.model.shapes,
        )
    )


def _told(errors: list[Finding]) -> str:
    """Say how many rules are broken, and the first finding of each."""
    first = {finding.code: finding for finding in reversed(errors)}
    shown = "; ".join(str(first[code]) for code in sorted(first)[:SHOWN])
    more = f"; and {len(errors) - min(len(first), SHOWN)} more" if len(errors) > min(len(first), SHOWN) else ""
    return f"TensorRT would refuse the model ({len(errors)} findings): {shown}{more}"


def _precisions(model: ModelProto) -> set[str]:
    """Return the precisions that the graph is written in: of its weights, and of its Q/DQ nodes."""
    from onnx import TensorProto

    from builder.onnxtools.graph import graphs, walk

    named = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16", TensorProto.BFLOAT16: "bf16"}
    held = {tensor.data_type for graph in graphs(model.graph) for tensor in graph.initializer}
    found = {name for kind, name in named.items() if kind in held}
    if any(node.op_type == "QuantizeLinear" for node in walk(model.graph)):
        found.add("int8")
    return found
