"""Weights and activations as 8-bit integers."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from builder.errors import DataError, ModelError, StepError
from builder.onnxtools.calibration import Method
from builder.outcomes import Reproducible
from builder.step import Job, Kind, Result, step

if TYPE_CHECKING:
    from onnx import ModelProto

    from builder.onnxtools.calibration import Observer

__all__ = ["Calibration", "Exclude", "Kernels", "Mode", "Options", "Style", "quantize"]

CALIBRATION = "calibration"  # the split; `evaluate` refuses it, so that no model is judged on what it was fitted to
QDQ_OPSET = 13  # QuantizeLinear-13 brought the axis
FP16_OPSET = 19  # QuantizeLinear-19 brought float16


class Mode(Enum):
    """When the ranges of activations are found."""

    STATIC = "static"  # beforehand, from calibration samples
    DYNAMIC = "dynamic"  # at each run


class Kernels(Enum):
    """What computes the activations of the calibration samples."""

    ONNXRUNTIME = "onnxruntime"  # any model; the last bits are those of this processor's instruction set
    EXACT = "exact"  # equal bytes on every processor, several times slower; the usual operators of vision and text


class Style(Enum):
    """Whose kernels the graph is laid out for."""

    ONNXRUNTIME = "onnxruntime"  # uint8 activations with zero points, int32 biases
    TENSORRT = "tensorrt"  # symmetric int8, float biases, pairs on inputs only


@dataclass
class Calibration:
    """How many samples of the split `calibration` show the ranges of activations, and how a range is chosen."""

    method: Method = Method.MINMAX
    samples: int = 128
    percentile: float = 99.99  # of the values, kept by method percentile
    kernels: Kernels = Kernels.ONNXRUNTIME

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"calibration.samples is {self.samples}; it must be at least 1")
        if not 50 < self.percentile <= 100:
            raise ValueError(f"calibration.percentile is {self.percentile}; it must be above 50 and at most 100")


@dataclass
class Exclude:
    """Nodes that stay in floating point. One that matches nothing is an error."""

    names: list[str] = field(default_factory=list)
    patterns: list[str] = field(default_factory=list)  # of names, such as '/head/*'
    op_types: list[str] = field(default_factory=list)


@dataclass
class Options:
    mode: Mode = Mode.STATIC
    style: Style = Style.ONNXRUNTIME
    per_channel: bool = True  # a scale for each output channel of a weight; else one for the whole weight
    reduce_range: bool = False  # 7-bit weights, for x86 processors without VNNI; style onnxruntime only
    calibration: Calibration = field(default_factory=Calibration)
    exclude: Exclude = field(default_factory=Exclude)

    def __post_init__(self) -> None:
        if self.style is Style.TENSORRT and self.mode is Mode.DYNAMIC:
            raise ValueError("style tensorrt needs mode static: TensorRT has no dynamic quantization")
        if self.style is Style.TENSORRT and self.reduce_range:
            raise ValueError("reduce_range is for style onnxruntime: TensorRT's int8 uses all 8 bits")


def _reproducible(options: Options) -> Reproducible:
    """Weights take single operations, which IEEE 754 defines; activations take sums, whose order kernels choose."""
    exact = options.mode is Mode.DYNAMIC or options.calibration.kernels is Kernels.EXACT
    return Reproducible.BITWISE if exact else Reproducible.PER_CPU


def _splits(options: Options) -> tuple[str, ...]:
    return (CALIBRATION,) if options.mode is Mode.STATIC else ()


@step(
    options=Options,
    rank=50,
    inputs={"model": Kind.ONNX},
    outputs={"model": Kind.ONNX},
    reproducible=_reproducible,
    packages=("onnx", "onnxruntime", "numpy", "pillow"),
    model_facts=("constants", "state", "shapes"),
    splits=_splits,
)
def quantize(options: Options, job: Job) -> Result:
    """Turn weights and activations into 8-bit integers.

    Static quantization runs calibration samples through the model, single-threaded, and writes QuantizeLinear and
    DequantizeLinear nodes (QDQ). Raises StepError where nothing can be quantized or an exclusion matches nothing,
    DataError where there are too few samples, ModelError where ONNX Runtime rejects the result.
    """
    from builder.onnxtools.files import load, mib, save, size_bytes
    from builder.onnxtools.graph import normalize, trim, walk
    from builder.onnxtools.opset import opset
    from builder.onnxtools.select import excluded_names, refuse_quantized

    model = load(job.inputs["model"])
    before = opset(model)
    normalize(model)
    refuse_quantized(model)
    exclude = options.exclude
    excluded = excluded_names(list(walk(model.graph)), exclude.names, exclude.patterns, exclude.op_types)
    folder = job.folder("model")
    with TemporaryDirectory(dir=job.output, prefix="scratch") as name:
        if options.mode is Mode.DYNAMIC:
            model, facts = _dynamic(model, options, excluded, Path(name))
        else:
            model, facts = _static(model, options, excluded, job, Path(name))
    trim(model)
    after = opset(model)
    save(model, folder)
    _loads(folder)
    if after != before:
        facts["opset"] = f"{before} -> {after}"
    return Result(facts | {"size": f"{mib(size_bytes(job.inputs['model']))} -> {mib(size_bytes(folder))}"})


def _loads(folder: Path) -> None:
    from builder.runtimes.onnxruntime import Session

    try:
        Session(folder / "model.onnx")
    except ModelError as error:
        hint = "leave the node that it names out with steps.quantize.exclude"
        raise ModelError(f"the quantized model does not load: {error.message}", hint) from error


def _static(
    model: ModelProto, options: Options, excluded: set[str], job: Job, scratch: Path
) -> tuple[ModelProto, dict[str, Any]]:
    from onnx import TensorProto

    from builder.onnxtools import ort, qdq
    from builder.onnxtools.files import infer_shapes
    from builder.onnxtools.graph import element_types
    from builder.onnxtools.opset import raise_opset
    from builder.onnxtools.select import census

    half = TensorProto.FLOAT16 in {tensor.data_type for tensor in model.graph.initializer}
    model = infer_shapes(raise_opset(model, FP16_OPSET if half else QDQ_OPSET, "static quantization"), scratch)
    types = element_types(model.graph)
    symmetric = options.style is Style.TENSORRT
    places = qdq.placements(model.graph, types, excluded) if symmetric else []
    nodes = [node for node, _ in places] if symmetric else ort.quantizable(model.graph, types, excluded)
    facts = {"nodes": census(nodes, model)}
    tensors = qdq.activations(model.graph, places) if symmetric else ort.activations(model.graph, nodes, types)
    calibration = options.calibration
    ranges = {
        name: observer.range(calibration.method, calibration.percentile, symmetric=symmetric)
        for name, observer in _observed(model, tensors, calibration, job, scratch).items()
    }
    if symmetric:
        qdq.insert_pairs(model.graph, places, ranges, types, per_channel=options.per_channel)
    else:
        model = ort.static(
            model, nodes, ranges, types, per_channel=options.per_channel, reduce_range=options.reduce_range
        )
    facts |= _left_inside(model) | {"calibration": f"{calibration.samples} samples, {calibration.method.value}"}
    return model, facts


def _left_inside(model: ModelProto) -> dict[str, Any]:
    """Say how many convolutions and matrix products inside control flow static quantization does not reach."""
    from builder.onnxtools.graph import graphs
    from builder.onnxtools.qdq import WEIGHTED

    _, *inner = graphs(model.graph)
    left = sum(node.op_type in WEIGHTED for graph in inner for node in graph.node)
    return {"in subgraphs": f"{left} left in float"} if left else {}


def _dynamic(
    model: ModelProto, options: Options, excluded: set[str], scratch: Path
) -> tuple[ModelProto, dict[str, Any]]:
    from onnx import TensorProto

    from builder.onnxtools import ort
    from builder.onnxtools.graph import walk
    from builder.onnxtools.opset import raise_opset
    from builder.onnxtools.select import census

    if TensorProto.FLOAT16 in {tensor.data_type for tensor in model.graph.initializer}:
        raise StepError("dynamic quantization takes float32, and the model holds float16", "set mode=static")
    model = raise_opset(model, QDQ_OPSET, "dynamic quantization")
    quantized = ort.dynamic(
        model, excluded, scratch, per_channel=options.per_channel, reduce_range=options.reduce_range
    )
    left = {node.name.removesuffix("_MatMul") for node in walk(quantized.graph)}  # which a Gemm becomes first
    changed = [node for node in walk(model.graph) if node.op_type in ort.DYNAMIC_TYPES and node.name not in left]
    return quantized, {"nodes": census(changed, model), "calibration": "none: ranges are found at each run"}


def _observed(
    model: ModelProto, tensors: list[str], calibration: Calibration, job: Job, scratch: Path
) -> dict[str, Observer]:
    """Run the samples through a copy of the model that hands out the tensors."""
    from builder.data.dataset import samples
    from builder.data.feeder import Feeder
    from builder.onnxtools.calibration import observe
    from builder.onnxtools.exact_session import ExactSession
    from builder.onnxtools.files import save
    from builder.runtimes.onnxruntime import Session

    if job.data is None:
        raise DataError(
            "static quantization needs calibration samples, and there is no data",
            "name some with data=NAME, or set steps.quantize.mode=dynamic",
        )
    watched = type(model)()
    watched.CopyFrom(model)
    known = {value.name for value in (*model.graph.input, *model.graph.output)}
    inner = [value for value in model.graph.value_info if value.name in tensors and value.name not in known]
    watched.graph.output.extend(inner)
    save(watched, scratch)
    asked = calibration.samples
    source, watched_file = job.inputs["model"] / "model.onnx", scratch / "model.onnx"
    exact, stateful = calibration.kernels is Kernels.EXACT, bool(job.model.state)
    feeder = Feeder(ExactSession(source) if exact and stateful else Session(source), job.model, job.data, batch=1)
    feds = feeder.run(islice(samples(job.data, CALIBRATION), asked), outputs=stateful)
    watching = ExactSession(watched_file) if exact else Session(watched_file, optimize=False)
    observers, count = observe(watching, feds, tensors, lambda done: job.progress(done, asked, "calibrating"))
    if count < asked:
        raise DataError(
            f"split '{CALIBRATION}' holds {count} samples, and {asked} are asked for",
            f"set steps.quantize.calibration.samples={count}" if count else "look at the split's path and portion",
        )
    return observers
