"""A TensorRT engine from a model, on the machine that will run it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from builder.compilers.options import Options
from builder.errors import StepError
from builder.outcomes import Reproducible
from builder.step import Job, Kind, Need, Result, step
from builder.typed import to_plain

if TYPE_CHECKING:
    from builder.device.trt_api import BuildRequest

__all__ = ["compile"]

# How far an engine may be from ONNX Runtime, as a share of an output's largest value: a tenth where int8 is rounded at
# other places, a hundredth for TF32 and fp16. A wrong engine is off by the value itself.
INT8_LIMIT, FLOAT_LIMIT = 0.1, 0.01


@step(
    name="compile",
    options=Options,
    rank=80,
    inputs={"model": Kind.ONNX, "timing_cache": Kind.TIMING_CACHE},
    optional=("timing_cache",),
    outputs={"engine": Kind.ENGINE},
    reproducible=Reproducible.REPLAYABLE,
    packages=("onnx", "onnxruntime"),
    model_facts=("shapes", "constants"),
    target_facts=("runtime", "runtime_versions", "arch", "compute_capability", "precisions", "dla_cores"),
    need=Need.TARGET,
    runtimes=("tensorrt",),
)
def compile(options: Options, job: Job) -> Result:  # noqa: A001  the step's name is what NVIDIA calls it
    """Check the model against TensorRT's rules, then build an engine where the target is at hand.

    Elsewhere the engine is deferred: an engine belongs to the GPU model it was built on. Raises StepError where a
    rule is broken, where the model's precision is not the target's, where an open axis has no profile, where TensorRT
    refuses the model, or the engine computes something else.
    """
    from builder.onnxtools.files import load
    from builder.onnxtools.profiles import find_profiles, in_words
    from builder.onnxtools.trt_check import check_model, precisions_of

    cores = job.target["dla_cores"]
    if options.dla_core is not None and options.dla_core >= cores:
        raise StepError(
            f"steps.compile.dla_core is {options.dla_core}, and the target has {cores or 'no'} DLA cores",
            "leave it out, and the GPU does the work" if not cores else f"take one of 0 to {cores - 1}",
        )
    model = load(job.inputs["model"])
    facts = check_model(model, job.target["precisions"], "TensorRT")
    if options.dla_core is not None and not precisions_of(model) & {"int8", "fp16"}:
        raise StepError(
            "a DLA computes in int8 and fp16, and the model holds neither", "quantize, or leave dla_core out"
        )
    profiles = find_profiles(model, to_plain(options.profiles), job.model.shapes)
    facts = facts | ({"shapes": in_words(profiles)} if profiles else {})
    if job.device is None:
        return Result(facts, deferred="a TensorRT engine is built on the target, and the target is not here")
    request = _request(options, job, profiles, precisions_of(model))
    return Result(facts | _built(request, job))


def _request(options: Options, job: Job, profiles: dict[str, Any], precisions: set[str]) -> BuildRequest:
    from builder.device.trt_api import BuildRequest
    from builder.onnxtools.files import MODEL

    folder, cache = job.folder("engine"), job.inputs.get("timing_cache")
    return BuildRequest(
        onnx=str(job.inputs["model"] / MODEL),
        engine=str(folder / "engine.plan"),
        workspace_mib=options.workspace_mib,
        optimization_level=options.optimization_level,
        int8="int8" in precisions,
        fp16="fp16" in precisions,
        profiles=profiles,
        timing_cache=str(next(cache.iterdir())) if cache else "",
        timing_cache_out=str(folder / "timing.cache"),
        dla_core=options.dla_core,
        allow_gpu_fallback=options.allow_gpu_fallback,
    )


def _built(request: BuildRequest, job: Job) -> dict[str, Any]:
    """Build the engine, load it, and compare it with ONNX Runtime on a made-up input before it counts."""
    from builder.device.trt_api import NAMES
    from builder.onnxtools.compare import largest_difference
    from builder.runtimes import onnxruntime, tensorrt

    facts = tensorrt.build_engine(request)
    if request.dla_core is not None:
        said = json.dumps({"dla_core": request.dla_core}) + "\n"
        (job.folder("engine") / tensorrt.DLA).write_text(said, encoding="utf-8")
    engine = tensorrt.load(job.folder("engine"))
    reference = onnxruntime.load(job.inputs["model"])
    difference = largest_difference(reference, engine, job.model, 1)
    limit = INT8_LIMIT if request.int8 else FLOAT_LIMIT
    if not difference <= limit:
        raise StepError(
            f"the engine of {NAMES[request.runtime]} computes something else than ONNX Runtime: outputs differ by "
            f"{difference:.3g} of their largest value, and {limit:g} is what rounding can do",
            "look for the layer with: polygraphy run --onnxrt --trt --mark all",
        )
    (job.folder("engine") / "layers.json").write_text(engine.layers(), encoding="utf-8")
    return {**facts, "difference": difference}
