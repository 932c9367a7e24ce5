"""The same model in fewer nodes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import ModelError, StepError
from builder.outcomes import Reproducible
from builder.step import Job, Kind, Result, step

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Options", "simplify"]

TOLERANCE = 1e-3  # of the largest output; folding and fusing reorder float32 sums
TOLERANCE_FP16 = 2e-2
REMOVE = "remove the step: '~steps.simplify'"
BREAKS_NESTED_IF = "eliminate_if_with_const_cond"


@dataclass
class Options:
    checks: int = 3  # made-up inputs on which the result must compute what the source does; 0: none
    fold_constants: bool = True  # compute now what depends on no input
    skip_fusion: bool = False  # leave out onnxsim's fusions and eliminations

    def __post_init__(self) -> None:
        if self.checks < 0:
            raise ValueError(f"checks is {self.checks}; it must be 0 or more")


@step(
    options=Options,
    rank=20,
    inputs={"model": Kind.ONNX},
    outputs={"model": Kind.ONNX},
    reproducible=Reproducible.PER_CPU,  # constants are folded by running them in ONNX Runtime
    packages=("onnx", "onnxsim", "onnxruntime", "numpy"),
    model_facts=("constants", "shapes"),
)
def simplify(options: Options, job: Job) -> Result:
    """Fold constants and fuse nodes with onnxsim, then check that the model still computes the same.

    Raises StepError where onnxsim cannot do it or the result differs, ModelError where ONNX Runtime rejects a model.
    """
    from builder.onnxtools.files import load, mib, save, size_bytes
    from builder.onnxtools.graph import walk

    source = load(job.inputs["model"])
    simplified = _simplified(job.inputs["model"] / "model.onnx", source, options)
    nodes = f"{sum(1 for _ in walk(source.graph))} -> {sum(1 for _ in walk(simplified.graph))}"
    folder = job.folder("model")
    save(simplified, folder)
    facts = {"nodes": nodes, "size": f"{mib(size_bytes(job.inputs['model']))} -> {mib(size_bytes(folder))}"}
    if options.checks:
        facts["check"] = _checked(job, folder, options.checks, source)
    return Result(facts)


def _simplified(path: Path, source: ModelProto, options: Options) -> ModelProto:
    import onnxsim

    from builder.onnxtools.files import PROTOBUF_LIMIT, weight_bytes

    tool = f"onnxsim {onnxsim.__version__.removeprefix('v')}"
    if weight_bytes(source) >= PROTOBUF_LIMIT:
        raise StepError(
            f"the model holds {weight_bytes(source) / 2**30:.1f} GiB, and {tool} ends at 2 GiB",
            REMOVE,
        )
    # onnxsim 0.8.1 lifts the nodes of a branch out without sorting them where the branch holds control flow
    skipped = [BREAKS_NESTED_IF] if _nested(source) else []
    try:
        model: ModelProto
        model, valid = onnxsim.simplify(
            str(path),
            perform_optimization=not options.skip_fusion,
            skip_constant_folding=not options.fold_constants,
            skipped_optimizers=skipped,
        )
    except Exception as error:  # its C++ part raises RuntimeError, protobuf and onnx classes of their own
        first = str(error).partition("\n")[0]
        raise StepError(f"{tool} fails on this model: {first}", REMOVE) from error
    if not valid:
        raise StepError(f"{tool} made an invalid model", REMOVE)
    for entry in [entry for entry in model.metadata_props if entry.key.startswith("onnxsim.")]:
        model.metadata_props.remove(entry)
    return model


def _nested(model: ModelProto) -> bool:
    """Say whether control flow stands inside control flow."""
    from builder.onnxtools.graph import subgraphs, walk

    inner = (node for outer in model.graph.node for graph in subgraphs(outer) for node in walk(graph))
    return any(True for node in inner for _ in subgraphs(node))


def _checked(job: Job, folder: Path, checks: int, source: ModelProto) -> str:
    """Compare the outputs on made-up inputs and say what came out; a model that takes none is left to `evaluate`."""
    from onnx import TensorProto

    from builder.onnxtools.compare import largest_difference, random_feeds
    from builder.runtimes.onnxruntime import Session

    before, after = (Session(path / "model.onnx", optimize=False) for path in (job.inputs["model"], folder))
    try:
        before.run(next(random_feeds(before, job.model, 1)))
    except ModelError:
        return "not run: the model takes no made-up input; its input shapes belong in model.shapes"
    try:
        difference = largest_difference(before, after, job.model, checks)
    except ModelError as error:
        raise StepError(f"the simplified model is broken: {error.message}", REMOVE) from error
    half = TensorProto.FLOAT16 in {tensor.data_type for tensor in source.graph.initializer}
    if difference > (TOLERANCE_FP16 if half else TOLERANCE):
        raise StepError(
            f"the simplified model's outputs differ by {difference:.1e} of the largest one",
            f"try steps.simplify.skip_fusion=true, or {REMOVE}",
        )
    return f"{checks} made-up inputs, largest difference {difference:.2g}"
