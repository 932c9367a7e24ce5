"""A model as a check sees it: its nodes with their types, less what is known before it runs. No weight is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from builder.onnxtools.graph import constants, element_types, graphs, subgraphs, walk

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

__all__ = ["Asked", "Facts", "label"]

_NEVER_FOLDED = ("Random", "Bernoulli", "Multinomial")  # how the names of operators begin that are new at each run


@dataclass
class Asked:
    """What a recipe asks for that the check of its model must know."""

    runtime: str = ""  # what the model is compiled for; empty: the runtime of the target
    folds: bool = False  # a step before it replaces what does not depend on the inputs by what it computes
    quantizes: bool = False  # a step before it makes the weights int8
    profiles: dict[str, dict[str, Any]] = field(default_factory=dict)  # of each step that compiles, as its options say
    dla_core: int | None = None
    allow_gpu_fallback: bool = False


class Facts:
    """The nodes that the runtime will see, the inputs of the graph, and the element type of each value."""

    def __init__(self, model: ModelProto, *, folds: bool) -> None:
        self.model = _typed(model)
        self.types: dict[str, int] = {}
        self.weights: set[str] = set()
        for graph in graphs(self.model.graph):
            self.types |= element_types(graph)
            self.weights |= constants(graph).keys()
        self.known = self.weights | set(_known(self.model.graph, self.weights))
        every = list(walk(self.model.graph))
        self.nodes = [node for node in every if not (folds and node.output and {*node.output} <= self.known)]

    @property
    def inputs(self) -> list[ValueInfoProto]:
        """The inputs of the graph, but those that are weights with a name (IR version 3)."""
        return [value for value in self.model.graph.input if value.name not in self.weights]

    def touched(self, node: NodeProto) -> Iterator[tuple[str, int]]:
        """Yield the name and element type of each value that a node reads or makes, where the type is known."""
        for name in (*node.input, *node.output):
            if name in self.types:
                yield name, self.types[name]


def label(node: NodeProto) -> str:
    """Return what a node is called: its name, or else its operator and what it makes."""
    return node.name or f"{node.op_type}({next(iter(node.output), '')})"


def _typed(model: ModelProto) -> ModelProto:
    """Return the model with its functions written out, and the types of its inner values as far as onnx infers them."""
    import onnx

    if model.functions:
        import onnx.inliner

        model = onnx.inliner.inline_local_functions(model)
    try:
        return onnx.shape_inference.infer_shapes(model)
    except (onnx.shape_inference.InferenceError, ValueError):  # it contradicts itself, or is too large
        return model


def _known(graph: GraphProto, outer: set[str]) -> Iterator[str]:
    """Yield the values that do not depend on the inputs."""
    known = set(outer)
    for node in graph.node:
        for inner in subgraphs(node):
            yield from _known(inner, known)
        random = node.op_type.startswith(_NEVER_FOLDED)
        if not random and not list(subgraphs(node)) and {name for name in node.input if name} <= known:
            known.update(node.output)
            yield from node.output
