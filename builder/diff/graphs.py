"""Two ONNX graphs: operators, weights, inputs and outputs, versions. Weights beside the model are not read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builder.diff.changes import Change, changes

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto, ValueInfoProto

__all__ = ["GraphChange", "WeightChange", "graph_change"]


@dataclass(frozen=True)
class WeightChange:
    """How many initializers are new, gone, or hold other values; `outside` lie in files beside the model, unread."""

    added: int
    removed: int
    changed: int
    outside: int


@dataclass(frozen=True)
class GraphChange:
    """What differs between two graphs; with nothing in it only names, attributes or the order of nodes do."""

    operators: tuple[Change, ...]  # how many there are of each type, also inside control flow
    weights: WeightChange
    interface: tuple[Change, ...]  # inputs and outputs with type and shape
    versions: tuple[Change, ...]  # opset of each domain, IR version

    @property
    def empty(self) -> bool:
        weights = self.weights
        counted = weights.added, weights.removed, weights.changed
        return not (self.operators or self.interface or self.versions or any(counted))


def graph_change(old: Path, new: Path) -> GraphChange:
    """Return what differs between the models in two files. Raises ModelError where one is no ONNX model."""
    from builder.onnxtools.files import load_graph

    before, after = load_graph(old, str(old)), load_graph(new, str(new))
    return GraphChange(
        operators=tuple(changes(_operators(before), _operators(after))),
        weights=_weights(before, after),
        interface=tuple(changes(_interface(before), _interface(after))),
        versions=tuple(changes(_versions(before), _versions(after))),
    )


def _operators(model: ModelProto) -> dict[str, int]:
    from builder.onnxtools.graph import walk

    types = (f"{node.domain}:{node.op_type}" if node.domain else node.op_type for node in walk(model.graph))
    return dict(sorted(Counter(types).items()))


def _weights(old: ModelProto, new: ModelProto) -> WeightChange:
    before, after = _tensors(old), _tensors(new)
    both = before.keys() & after.keys()
    everything = [*before.items(), *after.items()]
    return WeightChange(
        added=len(after.keys() - both),
        removed=len(before.keys() - both),
        changed=sum(not _same(before[place], after[place]) for place in both),
        outside=len({place for place, tensor in everything if _is_outside(tensor)}),
    )


def _tensors(model: ModelProto) -> dict[tuple[int, str], TensorProto]:
    """Return the weights by name, those inside control flow by the number of their graph too."""
    from builder.onnxtools.graph import graphs

    return {
        (number, tensor.name): tensor
        for number, graph in enumerate(graphs(model.graph))
        for tensor in graph.initializer
    }


def _same(old: TensorProto, new: TensorProto) -> bool:
    from onnx import numpy_helper

    if old.data_type != new.data_type or list(old.dims) != list(new.dims):
        return False
    if _is_outside(old) or _is_outside(new):
        return True  # as far as this file says
    return old.raw_data == new.raw_data != b"" or bool(
        numpy_helper.to_array(old).tobytes() == numpy_helper.to_array(new).tobytes()
    )


def _is_outside(tensor: TensorProto) -> bool:
    from onnx import TensorProto as Proto

    return bool(tensor.data_location == Proto.EXTERNAL)


def _interface(model: ModelProto) -> dict[str, str]:
    inputs = {f"input {value.name}": _type(value) for value in model.graph.input}
    return {**inputs, **{f"output {value.name}": _type(value) for value in model.graph.output}}


def _type(value: ValueInfoProto) -> str:
    """Return a tensor's type as people write it: `float[batch,1,8,8]`; another kind of value by its name."""
    from onnx import TensorProto as Proto

    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        return str(kind)
    tensor = value.type.tensor_type
    sizes = [
        str(size.dim_param or (size.dim_value if size.HasField("dim_value") else "?")) for size in tensor.shape.dim
    ]
    return f"{Proto.DataType.Name(tensor.elem_type).lower()}[{','.join(sizes)}]"


def _versions(model: ModelProto) -> dict[str, int]:
    opsets = {f"opset {each.domain or 'ai.onnx'}": each.version for each in model.opset_import}
    return {**opsets, "IR version": model.ir_version}
