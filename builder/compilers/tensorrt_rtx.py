"""A TensorRT-RTX engine from a model: built on any machine, for the compute capability of the target's GPU."""

from __future__ import annotations

from builder.compilers.options import Options
from builder.errors import StepError
from builder.outcomes import Reproducible
from builder.step import Job, Kind, Result, step
from builder.typed import to_plain

__all__ = ["BUILDS_FOR", "compile"]

# What TensorRT-RTX 1.7.1 can build for. Source: its `ComputeCapability`, and its Support Matrix.
BUILDS_FOR = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")


def _reproducible(options: Options) -> Reproducible:
    """Return how far the bytes can be had again: where no axis stays open, they are equal each time.

    Seen with 1.7.1, also on processors without AVX (under qemu). Else some differ from build to build, 764 of 575,844
    for one network: the order of something follows addresses, which the system draws by lot.
    """
    is_open = any(profile.min != profile.max for profile in options.profiles.values())
    return Reproducible.REPLAYABLE if is_open else Reproducible.BITWISE


@step(
    name="compile",
    options=Options,
    rank=80,
    inputs={"model": Kind.ONNX},
    outputs={"engine": Kind.ENGINE},
    reproducible=_reproducible,
    model_facts=("shapes",),
    target_facts=("compute_capability", "precisions"),
    runtimes=("tensorrt_rtx",),
    toolchain="tensorrt_rtx",
)
def compile(options: Options, job: Job) -> Result:  # noqa: A001  the step's name is what NVIDIA calls it
    """Build an engine for the target's GPU; no GPU is needed.

    Its kernels are made where it is loaded: that it was built says nothing of its speed. Raises StepError where a rule
    is broken, where TensorRT-RTX refuses the model, or does not build for the target.
    """
    from builder.device.trt_api import BuildRequest
    from builder.onnxtools.files import MODEL, load
    from builder.onnxtools.profiles import find_profiles, in_words
    from builder.onnxtools.trt_check import check_model
    from builder.runtimes.tensorrt import build_engine

    if options.dla_core is not None:
        raise StepError("TensorRT-RTX runs on GPUs alone, and steps.compile.dla_core asks for a DLA", "leave it out")
    model = load(job.inputs["model"])
    facts = check_model(model, job.target["precisions"], "TensorRT-RTX")
    profiles = find_profiles(model, to_plain(options.profiles), job.model.shapes)
    capability = job.target["compute_capability"]
    if not capability:
        raise StepError(
            "the target does not say for which compute capability the engine is", "write it: compute_capability: '8.9'"
        )
    request = BuildRequest(
        onnx=str(job.inputs["model"] / MODEL),
        engine=str(job.folder("engine") / "engine.plan"),
        runtime="tensorrt_rtx",
        workspace_mib=options.workspace_mib,
        optimization_level=options.optimization_level,
        profiles=profiles,
        compute_capabilities=(capability,),
    )
    built = build_engine(request)
    shapes = {"shapes": in_words(profiles)} if profiles else {}
    return Result({**facts, **shapes, **built, "compute_capability": capability})
