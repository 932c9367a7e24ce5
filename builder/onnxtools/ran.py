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

    The graph runs as it is written (nothing fused), on the processor; nodes that share a name share their executions.
    Raises ModelError where ONNX Runtime does not run it so.
    """
    import onnxruntime as ort

    from builder.errors import ModelError

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level, options.enable_profiling = 4, True
    with tempfile.TemporaryDirectory(prefix="ran-") as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        try:
            session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
            session.run(None, dict(feed))
        except Exception as error:  # ONNX Runtime's own exceptions share no base class
            raise ModelError(f"ONNX Runtime does not run the graph as it is written: {error}") from error
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    found: dict[str, list[Ran]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_END):
            one = Ran(*(_tensors(event["args"].get(f"{end}_type_shape", [])) for end in ("input", "output")))
            found.setdefault(event["name"].removesuffix(_END), []).append(one)
    return found


def _tensors(told: list[dict[str, list[int]]]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((kind, tuple(shape)) for each in told for kind, shape in each.items())
