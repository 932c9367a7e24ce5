"""The types and shapes that the nodes of an ONNX file had in one run: those that the graph alone does not tell."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Ran", "ran"]

_END = "_kernel_time"


@dataclass(frozen=True)
class Ran:
    """One execution of a node: type and shape of each input and output that it has, as the runtime names types."""

    inputs: tuple[tuple[str, tuple[int, ...]], ...]
    outputs: tuple[tuple[str, tuple[int, ...]], ...]


def ran(model: Path, feed: Mapping[str, NDArray[Any]]) -> dict[str, list[Ran]]:
    """Return the executions of each named node in one run, also inside control flow, from ONNX Runtime's profiler.

    The graph runs as it is written (nothing fused), on the processor. Nodes that share a name are left out.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level, options.enable_profiling = 4, True
    with tempfile.TemporaryDirectory(prefix="ran-") as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        session.run(None, dict(feed))
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    found: dict[str, list[Ran]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_END):
            one = Ran(*(_tensors(event["args"].get(f"{end}_type_shape", [])) for end in ("input", "output")))
            found.setdefault(event["name"].removesuffix(_END), []).append(one)
    return found


def _tensors(told: list[dict[str, list[int]]]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((kind, tuple(shape)) for each in told for kind, shape in each.items())
