"""What one run of an ONNX graph takes: multiply-accumulates (MACs), parameters, and bytes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.onnxtools.graph import graphs, normalize, subgraphs, walk
from builder.onnxtools.macs import COUNTED, macs, operands, unknown
from builder.onnxtools.tensors import FLOATS, Tensors, n_bytes, of_run, tensors, type_name

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

    from builder.onnxtools.ran import Ran

__all__ = ["QDQ", "Cost", "cost"]

QDQ = "QDQ"

_VIEWS = {"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"}  # the same bytes under another shape
_QUANTIZES = {"DequantizeLinear", "QuantizeLinear"}  # runtimes fuse them with the operators beside them


@dataclass(frozen=True)
class Cost:
    """What one run takes, for one shape of the inputs.

    `macs` is by the precision of the operands in the graph (fp32, int8, ...), or `QDQ` for int8 operands behind
    DequantizeLinear, which a runtime multiplies in int8 where it has a kernel, else in fp32. `uncounted` names
    operators that multiply and could not be counted; `light` counts the others (elementwise, pooling, moves), whose
    operations are in no number here. `activation_bytes` is what the operators read and write beside weights, as the
    graph is written, with Q/DQ pairs taken as fused: None where a shape is not known. `least_bytes` is what must come
    from and go to memory in any case, once: weights that are read, inputs, outputs.
    """

    macs: Mapping[str, int]
    parameters: int
    weights: Mapping[str, int]
    activation_bytes: int | None
    least_bytes: int | None
    light: Mapping[str, int]
    uncounted: tuple[str, ...]

    @property
    def weight_bytes(self) -> int:
        """Return the bytes of all parameters."""
        return sum(self.weights.values())


def cost(
    model: ModelProto, shapes: Mapping[str, Sequence[int]], ran: Mapping[str, Sequence[Ran]] | None = None
) -> Cost:
    """Count one run of a model whose inputs have these shapes; what inference does not find is taken from a run of it.

    `model` is changed; its weights may lie elsewhere (external data that was not loaded).
    """
    from onnx.inliner import inline_local_functions

    if model.functions:
        model = inline_local_functions(model)
    names = Counter(node.name for node in walk(model.graph))
    normalize(model)
    held = _weights(model.graph)
    weights = Tensors({each.name: each.shape for each in held}, {each.name: each.type for each in held})
    told = {name: runs for name, runs in (ran or {}).items() if name and names[name] == 1}
    known = tensors(model, shapes, told, weights)
    count = _Counter(model.graph, known, told, weights)
    count.named = {name for name in names if names[name] == 1}
    macs, light, uncounted = count.counted()
    parameters = _parameters(model.graph, held)
    return Cost(
        macs=macs,
        parameters=sum(math.prod(each.shape) for each in parameters),
        weights=_by_type(parameters),
        activation_bytes=_moved(model.graph, known, {each.name for each in held}),
        least_bytes=_least(model.graph, known, held),
        light=light,
        uncounted=uncounted,
    )


class _Counter:
    """The nodes of a graph, one after the other."""

    def __init__(self, graph: GraphProto, known: Tensors, ran: Mapping[str, Sequence[Ran]], weights: Tensors) -> None:
        self.graph, self.known, self.ran, self.weights = graph, known, ran, weights
        self.named: set[str] = set()  # nodes that can be told by their name
        self.origins = _origins(graph)
        self.macs: Counter[str] = Counter()
        self.light: Counter[str] = Counter()
        self.uncounted: dict[str, None] = {}

    def counted(self) -> tuple[dict[str, int], dict[str, int], tuple[str, ...]]:
        """Return MACs by precision, other operators, and what could not be counted."""
        for node in self.graph.node:
            inner = [each for graph in subgraphs(node) for each in walk(graph)]
            heavy = [each for each in inner if each.op_type in COUNTED or unknown(each)]
            if heavy:
                self._inside(node, heavy)
            elif node.op_type in COUNTED:
                self._add(node, self.known)
            elif not inner and unknown(node):
                self.uncounted[f"{node.domain}.{node.op_type}".lstrip(".")] = None
            elif node.op_type not in _QUANTIZES:
                self.light[node.op_type] += 1
        return dict(self.macs), dict(self.light), tuple(self.uncounted)

    def _inside(self, node: NodeProto, heavy: Sequence[NodeProto]) -> None:
        """Count the nodes inside control flow as often as they ran, where each can be told by its name."""
        if node.name not in self.ran or not self.named.issuperset(each.name for each in heavy):
            inside = ", ".join(sorted({each.op_type for each in heavy}))
            self.uncounted[f"{node.op_type} (with {inside} inside)"] = None
            return
        for each in heavy:
            for one in self.ran.get(each.name, ()):
                if each.op_type in COUNTED:
                    self._add(each, of_run(each, one, self.weights))
                elif not list(subgraphs(each)):
                    self.uncounted[each.op_type] = None

    def _add(self, node: NodeProto, known: Tensors) -> None:
        try:
            self.macs[self._precision(node, known)] += macs(node, known.shapes)
        except (KeyError, IndexError, ValueError):  # a shape that is not known, or that the operator does not have
            self.uncounted[f"{node.op_type} of a shape that the graph does not tell"] = None

    def _precision(self, node: NodeProto, known: Tensors) -> str:
        """Return what a node multiplies in: int8 where both operands are."""
        if node.op_type.startswith("DynamicQuantize"):  # takes fp32, and makes int8 of it first
            return "int8"
        operand = [self.origins.get(node.input[at], node.input[at]) for at in operands(node)]
        found = {known.types.get(name, "") for name in operand}
        if found <= {"int8", "uint8"}:
            return QDQ if node.input[0] in self.origins else "int8"
        return next(iter(sorted(found & {*FLOATS.values()})), "fp32")


def _moved(graph: GraphProto, known: Tensors, weights: set[str]) -> int | None:
    """Return the bytes of activations that the operators read and write; None where one cannot be told."""
    origins = _origins(graph)
    kept = {node.input[0]: node.output[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    total = 0
    for node in graph.node:
        if list(subgraphs(node)):
            return None
        if node.op_type in _VIEWS | _QUANTIZES:
            continue
        read = [origins.get(name, name) for name in node.input if name]
        written = [kept.get(name, name) for name in node.output if name]
        names = [*(name for name in read if name not in weights), *written]
        if not known.shapes.keys() >= {*names}:
            return None
        total += sum(map(known.n_bytes, names))
    return total


def _least(graph: GraphProto, known: Tensors, held: Sequence[_Weight]) -> int | None:
    """Return the bytes of weights, inputs and outputs; of a table that only Gather reads, few rows are."""
    gathered = {node.input[0] for node in graph.node if node.op_type == "Gather"}
    read = {name for node in walk(graph) for name in node.input[node.op_type == "Gather" :]}
    ends = {value.name for value in (*graph.input, *graph.output)} - {each.name for each in held}
    if not ends <= known.shapes.keys():
        return None
    weights = sum(each.n_bytes for each in held if each.name in read or each.name not in gathered)
    return weights + sum(map(known.n_bytes, ends))


def _origins(graph: GraphProto) -> dict[str, str]:
    """Return what each tensor was dequantized from."""
    return {node.output[0]: node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"}


class _Weight:
    """Name, shape and type of a weight, without its numbers."""

    def __init__(self, name: str, tensor: TensorProto) -> None:
        self.name, self.shape, self.type = name, tuple(tensor.dims), type_name(tensor.data_type)
        self.n_bytes = n_bytes(self.shape, self.type)


def _weights(graph: GraphProto) -> list[_Weight]:
    """Return all weights, also those inside control flow."""
    held = [(tensor.name, tensor) for each in graphs(graph) for tensor in each.initializer]
    constants = [node for node in walk(graph) if node.op_type == "Constant"]
    held += [(node.output[0], attr.t) for node in constants for attr in node.attribute if attr.t.data_type]
    return [_Weight(name, tensor) for name, tensor in held]


def _parameters(graph: GraphProto, held: Sequence[_Weight]) -> list[_Weight]:
    """Return the weights without scales, zero points, shapes, indices and single numbers (the bounds of a Clip)."""
    scales = {name for node in walk(graph) if node.op_type in _QUANTIZES for name in node.input[1:]}
    kept = [each for each in held if each.shape and each.name not in scales]
    return [each for each in kept if each.type not in ("", "bool", "int64")]


def _by_type(parameters: Sequence[_Weight]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for each in parameters:
        found[each.type] += each.n_bytes
    return dict(found)
