"""An exported model on its way into the build: without dates, paths and whatever else differs from export to export."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from builder.step import Job

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

__all__ = ["clean", "rename", "write_exported"]

_KEPT = ("classlabels", "classes", "names", "stride", "task", "imgsz")  # what runtimes and tools read of metadata


def write_exported(job: Job, model: ModelProto) -> dict[str, Any]:
    """Write the output port `model`, cleaned, and return facts about it: nodes, opset and size."""
    from builder.onnxtools.files import mib, save, size_bytes
    from builder.onnxtools.graph import walk
    from builder.onnxtools.opset import opset

    clean(model)
    nodes, version = sum(1 for _ in walk(model.graph)), opset(model)
    folder = job.folder("model")
    save(model, folder)
    return {"nodes": nodes, "opset": version, "size": mib(size_bytes(folder))}


def clean(model: ModelProto) -> None:
    """Take out of a model what its export left about itself: who made it stays, when and where goes.

    Exporters keep stack traces with absolute paths in the metadata of nodes, and name graphs at random.
    """
    kept = [(entry.key, entry.value) for entry in model.metadata_props if entry.key in _KEPT]
    del model.metadata_props[:]
    for key, value in sorted(kept):
        model.metadata_props.add(key=key, value=value)
    model.doc_string = ""
    for graph in _graphs(model.graph):
        for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
            _forget(part)
    for function in model.functions:
        for part in (function, *function.node):
            _forget(part)
    model.graph.name = "model"


def _forget(part: Any) -> None:
    part.doc_string = ""
    del part.metadata_props[:]


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            inner = [attribute.g] if attribute.HasField("g") else []
            for below in (*inner, *attribute.graphs):
                yield from _graphs(below)


def rename(model: ModelProto, names: Mapping[str, str]) -> None:
    """Rename tensors of the main graph, as `model.inputs` and `model.outputs` want them."""
    for node in model.graph.node:
        for tensors in (node.input, node.output):
            for index, name in enumerate(tensors):
                tensors[index] = names.get(name, name)
    graph: Any = model.graph
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = names.get(value.name, value.name)
