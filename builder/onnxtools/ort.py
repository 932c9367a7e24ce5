"""ONNX Runtime's own quantizers, fed with our ranges and kept to memory and one scratch folder."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from builder.onnxtools.graph import constants, names, unused, walk

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

__all__ = ["DYNAMIC_TYPES", "activations", "dynamic", "quantizable", "static"]

DYNAMIC_TYPES = ("Attention", "Conv", "EmbedLayerNormalization", "Gather", "Gemm", "LSTM", "MatMul")


def quantizable(graph: GraphProto, types: Mapping[str, int], excluded: Collection[str]) -> list[NodeProto]:
    """Return the nodes of the main graph that ONNX Runtime's static quantizer takes and that carry floats.

    Not a Relu or Clip behind one of the model's outputs: the quantizer would cut that output to the range behind it.
    """
    from onnx import TensorProto
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    floats = {TensorProto.FLOAT, TensorProto.FLOAT16}
    taken = {*QDQRegistry, *QLinearOpsRegistry}
    outputs = {value.name for value in graph.output}
    nodes = [node for node in graph.node if node.op_type in taken and node.name not in excluded]
    nodes = [node for node in nodes if not (node.op_type in {"Clip", "Relu"} and node.input[0] in outputs)]
    return [node for node in nodes if types.get(node.output[0]) in floats]


def separate_gemm_weights(graph: GraphProto) -> None:
    """Give each Gemm a weight of its own: the quantizers transpose it in place, for all who read it."""
    weights = constants(graph)
    taken = names(graph)
    readers = Counter(name for node in walk(graph) for name in node.input)
    for node in graph.node:
        if node.op_type == "Gemm" and node.input[1] in weights and readers[node.input[1]] > 1:
            graph.initializer.add().CopyFrom(weights[node.input[1]])
            readers[node.input[1]] -= 1
            node.input[1] = graph.initializer[-1].name = unused(node.input[1], taken)


def activations(graph: GraphProto, nodes: list[NodeProto], types: Mapping[str, int]) -> list[str]:
    """Return the float tensors that go into or out of the nodes, each once: these need a range."""
    from onnx import TensorProto

    touched = {name for node in nodes for name in (*node.input, *node.output)}
    floats = {name for name in touched if types.get(name) in {TensorProto.FLOAT, TensorProto.FLOAT16}}
    return sorted(floats - {tensor.name for tensor in graph.initializer})


def static(
    model: ModelProto,
    nodes: list[NodeProto],
    ranges: Mapping[str, tuple[float, float]],
    types: Mapping[str, int],
    *,
    per_channel: bool,
    reduce_range: bool,
) -> ModelProto:
    """Return the model with QDQ pairs for ONNX Runtime's CPU kernels: uint8 activations, int8 weights, int32 biases."""
    from onnx import helper
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorData, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.quant_utils import add_infer_metadata

    data = {}
    for name, (low, high) in ranges.items():
        kind = helper.tensor_dtype_to_np_dtype(types[name]).type
        data[name] = TensorData(lowest=kind(low), highest=kind(high))
    add_infer_metadata(model)
    separate_gemm_weights(model.graph)
    with _quiet():
        quantizer = QDQQuantizer(
            model,
            per_channel,
            reduce_range,
            QuantType.QInt8,
            QuantType.QUInt8,
            TensorsData(CalibrationMethod.MinMax, data),
            [node.name for node in nodes],
            [],
            sorted({node.op_type for node in nodes}),
            {},
        )
        quantizer.quantize_model()
    quantizer.model.topological_sort()
    result: ModelProto = quantizer.model.model
    return result


def dynamic(
    model: ModelProto, excluded: Collection[str], scratch: Path, *, per_channel: bool, reduce_range: bool
) -> ModelProto:
    """Return the model with int8 weights whose activations are quantized at each run, also inside control flow."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from builder.onnxtools.files import INLINE_LIMIT, save, weight_bytes

    separate_gemm_weights(model.graph)
    save(model, scratch)
    with _quiet():
        quantize_dynamic(
            scratch / "model.onnx",
            scratch / "quantized.onnx",
            op_types_to_quantize=[*DYNAMIC_TYPES, "Transpose"],
            per_channel=per_channel,
            reduce_range=reduce_range,
            weight_type=QuantType.QInt8,
            # a Gemm becomes a MatMul of this name before it is looked at
            nodes_to_exclude=sorted({name + end for name in excluded for end in ("", "_MatMul")}),
            use_external_data_format=weight_bytes(model) > INLINE_LIMIT,
            extra_options={"EnableSubgraph": True},
        )
    return onnx.load(str(scratch / "quantized.onnx"))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back the quantizer's advice to run its own preprocessing, which simplify has done better."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(previous)
