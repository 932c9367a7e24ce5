"""What the runs of each subject take, counted in the ONNX graph that it is, or that it was compiled from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import BuilderError, ModelError
from builder.measure.cost.roofline import Counted

if TYPE_CHECKING:
    from onnx import ModelProto

    from builder.measure.series import Series
    from builder.onnxtools.cost import Cost

__all__ = ["counted"]


def counted(folders: Mapping[str, Path], series: Sequence[Series], spec: Mapping[str, Any]) -> dict[str, Counted]:
    """Return what a run of each subject takes; what has no graph of its own is counted in the candidate's."""
    found: dict[str, Counted] = {}
    for one in series:
        if (folders[one.name] / "model.onnx").is_file():
            found[one.name] = _counted(one, folders[one.name], spec)
        else:
            found[one.name] = found.get("candidate", Counted(None, one.name, "it has no ONNX graph to count in"))
            found[one.name] = replace(found[one.name], of="candidate" if found[one.name].cost else one.name)
    return found


def _counted(one: Series, folder: Path, spec: Mapping[str, Any]) -> Counted:
    try:
        return Counted(_cost(one, folder / "model.onnx", spec), one.name)
    except BuilderError as error:
        return Counted(None, one.name, error.message)


def _cost(one: Series, path: Path, spec: Mapping[str, Any]) -> Cost:
    """Count in the graph; where that does not tell all, a run of it as it is written does."""
    from builder.onnxtools.cost import cost
    from builder.onnxtools.files import load_graph
    from builder.onnxtools.ran import ran

    found = cost(load_graph(path, path.name), one.shapes)
    if not found.uncounted and found.activation_bytes is not None:
        return found
    graph = load_graph(path, path.name)
    try:
        return cost(graph, one.shapes, ran(path, _feed(graph, one.shapes, spec)))
    except (ModelError, MemoryError):  # then the graph is all there is
        return found


def _feed(graph: ModelProto, shapes: Mapping[str, Sequence[int]], spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return inputs of these shapes, as the subject made them up."""
    from onnx import helper

    from builder.runtimes.inputs import made_up
    from builder.runtimes.interface import Tensor

    kinds = {value.name: value.type.tensor_type.elem_type for value in graph.graph.input if value.name in shapes}
    tensors = [
        Tensor(name, tuple(shapes[name]), helper.tensor_dtype_to_np_dtype(kind).name) for name, kind in kinds.items()
    ]
    return made_up(tensors, shapes={}, constants=spec["constants"], states=spec["states"], seed=spec["seed"])
