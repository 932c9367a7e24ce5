"""The child in which ONNX Runtime runs models on this device's processor."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from builder.device.child import answer, timed

__all__ = ["run", "version"]

THREADS = 1


def version(_request: dict[str, Any]) -> dict[str, Any]:
    """Return ONNX Runtime's version. Raises ImportError where it is not here."""
    import onnxruntime

    return {"version": onnxruntime.__version__}


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Run each feed and write its outputs, one after another, to its file."""
    session, names = _session(request), [tensor["name"] for tensor in request["outputs"]]
    for feed, file in zip(request["feeds"], request["files"]):
        found = session.run(names, _arrays(request, feed))
        Path(file).write_bytes(b"".join(array.tobytes() for array in found))
    return {}


def _time(request: dict[str, Any]) -> dict[str, Any]:
    began = time.perf_counter()
    session = _session(request)
    load_ms = (time.perf_counter() - began) * 1e3
    feed = _arrays(request, request["feeds"][0])
    return {"load_ms": load_ms, **timed(lambda: session.run(None, feed), request)}


def _session(request: dict[str, Any]) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = THREADS
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(request["engine"], options, providers=["CPUExecutionProvider"])


def _arrays(request: dict[str, Any], feed: dict[str, str]) -> dict[str, Any]:
    import numpy as np

    read = {name: Path(file).read_bytes() for name, file in feed.items()}
    return {
        tensor["name"]: np.frombuffer(read[tensor["name"]], tensor["dtype"]).reshape(tensor["shape"])
        for tensor in request["inputs"]
    }


if __name__ == "__main__":
    answer({"version": version, "run": run, "time": _time}, ())
