"""Looking at an ONNX graph, and the few changes that every later one relies on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

__all__ = [
    "attribute",
    "constants",
    "element_types",
    "graphs",
    "names",
    "normalize",
    "prune",
    "subgraphs",
    "trim",
    "uses",
    "walk",
]


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """Yield the graphs inside a node (the branches of If, the bodies of Loop and Scan)."""
    for attr in node.attribute:
        if attr.HasField("g"):
            yield attr.g
        yield from attr.graphs


def graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """Yield a graph and every graph inside it."""
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from graphs(inner)


def walk(graph: GraphProto) -> Iterator[NodeProto]:
    """Yield every node, also those inside control flow."""
    for node in graph.node:
        yield node
        for inner in subgraphs(node):
            yield from walk(inner)


def attribute(node: NodeProto, name: str, default: Any) -> Any:
    """Return the value of a node's attribute."""
    import onnx

    return next((onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def constants(graph: GraphProto) -> dict[str, TensorProto]:
    """Return the graph's weights by name."""
    return {tensor.name: tensor for tensor in graph.initializer}


def uses(graph: GraphProto) -> set[str]:
    """Return the names of the values that something reads: a node, a node inside control flow, or the caller."""
    read = {value.name for value in graph.output}
    for node in graph.node:
        read.update(node.input)
        for inner in subgraphs(node):
            read |= uses(inner)
    return read


def names(graph: GraphProto) -> set[str]:
    """Return every name in the graph, of values and of nodes, also inside control flow."""
    found = {value.name for value in (*graph.input, *graph.output, *graph.value_info)} | constants(graph).keys()
    for node in graph.node:
        found.update((node.name, *node.input, *node.output))
        for inner in subgraphs(node):
            found |= names(inner)
    return found


def element_types(graph: GraphProto) -> dict[str, int]:
    """Return the element type (a TensorProto.DataType) of each tensor whose type is known."""
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.HasField("tensor_type"):
            types[value.name] = value.type.tensor_type.elem_type
    return types


def normalize(model: ModelProto) -> None:
    """Give weights and nodes the one form that later changes expect; what the model computes stays.

    Constant nodes become initializers, initializers are no inputs (IR version 3 demanded that), every node has a name
    of its own.
    """
    graph = model.graph
    weights = constants(graph)
    for value in [value for value in graph.input if value.name in weights]:
        graph.input.remove(value)
    model.ir_version = max(model.ir_version, 4)  # the first that lets an initializer be no input
    outputs = {value.name for value in graph.output}
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        tensor = attribute(node, "value", None)
        if tensor is not None and node.output[0] not in outputs:
            graph.initializer.add().CopyFrom(tensor)
            graph.initializer[-1].name = node.output[0]
            graph.node.remove(node)
    taken = {node.name for node in walk(graph)}
    seen: set[str] = set()
    for index, node in enumerate(walk(graph)):
        if not node.name or node.name in seen:
            node.name = unused(f"{node.name or node.op_type}_{index}", taken)
        seen.add(node.name)


def unused(name: str, taken: set[str]) -> str:
    """Return a name that is not taken, and take it."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def prune(graph: GraphProto) -> None:
    """Remove nodes and weights that nothing reads."""
    size = -1
    while size != len(graph.node):
        size = len(graph.node)
        read = uses(graph)
        for node in [node for node in graph.node if not read.intersection(node.output)]:
            graph.node.remove(node)
    read = uses(graph)
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)
    for value in [value for value in graph.value_info if value.name not in read]:
        graph.value_info.remove(value)


def trim(model: ModelProto) -> None:
    """Drop what no runtime reads: dead nodes and weights, inferred shapes, notes of the tools (some hold paths)."""
    prune(model.graph)
    del model.graph.value_info[:]
    everything: tuple[Any, ...] = (model, *graphs(model.graph), *walk(model.graph))
    for noted in everything:
        noted.doc_string = ""
        del noted.metadata_props[:]
