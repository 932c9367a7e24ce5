"""OpenVINO's intermediate representation (IR) of a model: any machine makes the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from builder.compilers.openvino_ir import write_ir
from builder.compilers.options import Options, Stored
from builder.errors import ModelError, StepError
from builder.outcomes import Reproducible
from builder.step import Job, Kind, Result, step

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["BOUNDS", "compile"]

CHECKS = 8  # made-up inputs
# How far outputs may be from ONNX Runtime's, in parts of the largest one. Seen on this project's models: 1e-6, 1e-3 and
# 6e-2; in int8 each of the two rounds every activation its own way.
BOUNDS = {Stored.F32: 1e-3, Stored.F16: 5e-2, Stored.INT8: 0.25}
_REMOVE = "leave the step out: '~steps.compile'"


@step(
    name="compile",
    options=Options,
    rank=80,
    inputs={"model": Kind.ONNX},
    outputs={"ir": Kind.OPENVINO},
    reproducible=Reproducible.BITWISE,  # also on emulated processors with and without AVX-512
    packages=("openvino", "onnxruntime", "onnx", "numpy"),
    model_facts=("shapes", "constants", "state"),
    toolchain="openvino",
)
def compile(options: Options, job: Job) -> Result:  # noqa: A001  the step's name is what NVIDIA calls it
    """Write OpenVINO's files of a model, load them, and compare what they compute with ONNX Runtime.

    Raises StepError where the model is not of the precision that is wanted, OpenVINO refuses it, or outputs differ.
    """
    from builder.onnxtools.files import load

    stored = _stored(options, load(job.inputs["model"]))
    folder = job.folder("ir")
    write_ir(job.inputs["model"] / "model.onnx", folder, stored.value, _REMOVE)
    return Result({"weights": stored.value, **_checked(job, folder, stored)})


def _stored(options: Options, model: ModelProto) -> Stored:
    """Return what the weights are to be stored as. Raises StepError where the model does not have that."""
    from builder.onnxtools.graph import walk

    quantized = any(node.op_type == "DequantizeLinear" for node in walk(model.graph))
    wanted = options.precision
    if wanted is Stored.AUTO:
        return Stored.INT8 if quantized else Stored.F32
    if wanted is Stored.INT8 and not quantized:
        raise StepError(
            "precision is int8, and the model is not quantized", "put a step quantize before: +steps=quantize"
        )
    if wanted is not Stored.INT8 and quantized:
        raise StepError(
            f"precision is {wanted.value}, and the model is quantized: its weights are int8",
            "leave steps.compile.precision at auto, or leave out quantize",
        )
    return wanted


def _checked(job: Job, folder: Path, stored: Stored) -> dict[str, str]:
    """Load what was written and run it beside ONNX Runtime, where the model takes made-up inputs."""
    from builder.onnxtools.compare import largest_difference, random_feeds
    from builder.runtimes.find import load

    before, after = load(job.inputs["model"]), load(folder)
    try:
        before.run(next(random_feeds(before, job.model, 1)))
    except ModelError:
        return {"check": "loaded, not run: the model takes no made-up input; its input shapes belong in model.shapes"}
    difference = largest_difference(before, after, job.model, CHECKS)
    if difference > BOUNDS[stored]:
        raise StepError(
            f"OpenVINO's outputs differ from ONNX Runtime's by {difference:.1e} of the largest one; "
            f"with {stored.value} the limit is {BOUNDS[stored]:g}",
            _REMOVE,
        )
    ran = after.describe()
    return {
        "check": f"{CHECKS} made-up inputs, largest difference to ONNX Runtime {difference:.2g}",
        "ran": f"{ran.precision} in OpenVINO {ran.version}",
    }
