"""An exported model on its way into the build: without dates, paths and whatever else differs from export to export."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from builder.errors import ModelError
from builder.step import Job

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

__all__ = ["clean", "name_ports", "rename", "write_exported"]

_KEPT = ("classlabels", "classes", "names", "stride", "task", "imgsz")  # what runtimes and tools read of metadata


def write_exported(job: Job, model: ModelProto) -> dict[str, Any]:
    """Write the output port `model`, cleaned, and return facts about it: nodes, opset and size.

    Raises ModelError where the exporter took another opset than `model.opset` asks for: some do so without a word.
    """
    from builder.onnxtools.files import mib, save, size_bytes
    from builder.onnxtools.graph import walk
    from builder.onnxtools.opset import opset

    clean(model)
    nodes, version = sum(1 for _ in walk(model.graph)), opset(model)
    if job.model.opset not in (None, version):
        raise ModelError(
            f"model.opset asks for {job.model.opset}, and the exporter made opset {version}",
            f"set model.opset={version}, or leave it out",
        )
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
    versions = {entry.domain: entry.version for entry in model.opset_import}  # skl2onnx states some twice
    del model.opset_import[:]
    for domain, version in sorted(versions.items()):
        model.opset_import.add(domain=domain, version=version)
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


def name_ports(model: ModelProto, inputs: Sequence[str], outputs: Sequence[str] = ()) -> list[str]:
    """Name a model's inputs and outputs, in order, and return its outputs' names; without names those stay.

    Raises ModelError where the model has more or fewer of them, or two are to be called alike.
    """
    found = [_free(port.name, inputs) for port in model.graph.output]
    wanted = {"inputs": inputs, "outputs": outputs or found}
    if len({*inputs, *wanted["outputs"]}) < len(inputs) + len(wanted["outputs"]):
        raise ModelError("model.inputs and model.outputs give two tensors the same name", "choose another for one")
    names: dict[str, str] = {}
    for word, ports in (("inputs", model.graph.input), ("outputs", model.graph.output)):
        if len(ports) != len(wanted[word]):
            there = ", ".join(port.name for port in ports)
            raise ModelError(
                f"model.{word} names {len(wanted[word])}, and the exported model has {len(ports)}: {there}",
                f"name all of them in model.{word}, in this order",
            )
        names |= dict(zip((port.name for port in ports), wanted[word], strict=True))
    rename(model, names)
    return [port.name for port in model.graph.output]


def rename(model: ModelProto, names: Mapping[str, str]) -> None:
    """Rename tensors of the main graph, as `model.inputs` and `model.outputs` want them.

    Another tensor that has such a name gives way: a model in which two are called alike is refused by ONNX Runtime.
    """
    there = {name for graph in _graphs(model.graph) for node in graph.node for name in (*node.input, *node.output)}
    taken, moved = there | {*names.values()}, {}
    for name in sorted((there & {*names.values()}) - names.keys()):
        moved[name] = _free(f"{name}_inner", taken)
        taken.add(moved[name])
    renamed = {**names, **moved}
    for graph in _graphs(model.graph):  # graphs inside nodes see the tensors around them
        for node in graph.node:
            for tensors in (node.input, node.output):
                for index, name in enumerate(tensors):
                    tensors[index] = renamed.get(name, name)
        ports: Any = graph
        for value in (*ports.input, *ports.output, *ports.value_info, *ports.initializer):
            value.name = renamed.get(value.name, value.name)


def _free(name: str, taken: Collection[str]) -> str:
    while name in taken:
        name += "_"
    return name
