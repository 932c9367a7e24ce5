"""Stands in for NVIDIA's trtexec, with its words and files: an 'engine' is the ONNX file, and ONNX Runtime runs it.

With `TRTEXEC_RTX`, a Python, and `TRTEXEC_RTX_PATH`, where it finds tensorrt_rtx and us, every engine holds a real one
of TensorRT-RTX too. `TRTEXEC_VERSION` is what it says it is, `TRTEXEC_LOG` a file that gets a line for each call.
`TRTEXEC_WRONG` makes what it runs wrong, `TRTEXEC_REFUSES` makes it refuse every model.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MAGIC = b"ENGINE\n"
WORDS = {
    *("onnx", "saveEngine", "loadEngine", "memPoolSize", "builderOptimizationLevel", "timingCacheFile", "minShapes"),
    *("optShapes", "maxShapes", "shapes", "profilingVerbosity", "skipInference", "exportLayerInfo", "loadInputs"),
    *("iterations", "warmUp", "duration", "exportOutput", "exportTimes", "noDataTransfers", "useCudaGraph", "help"),
    *("useSpinWait", "useDLACore", "allowGPUFallback"),
}
RTX = """
import json, sys
from builder.device.trt_api import BuildRequest, build, import_api
build(import_api("tensorrt_rtx"), BuildRequest(**json.loads(sys.argv[1]), compute_capabilities=("8.6",)))
"""
GONE = {"int8", "fp16"}  # from 11 on


def main() -> int:
    version = os.environ.get("TRTEXEC_VERSION", "v100300")
    words = dict(word.lstrip("-").partition("=")[::2] for word in sys.argv[1:])
    print(f"&&&& RUNNING TensorRT.trtexec [TensorRT {version}] [b30] # {' '.join(sys.argv)}")
    if "help" in words:
        return 0
    if log := os.environ.get("TRTEXEC_LOG"):
        with Path(log).open("a") as file:
            file.write(" ".join(sys.argv[1:]) + "\n")
    major = int(version[1:]) // 10000
    known = WORDS | (GONE if major < 11 else set()) | ({"stronglyTyped"} if major >= 10 else set())
    if unknown := sorted(set(words) - known):
        print(f"[E] Unknown option: --{unknown[0]}")
        return 1
    return build(words) if "onnx" in words else run(words)


def build(words: dict[str, str]) -> int:
    import onnx

    if "TRTEXEC_REFUSES" in os.environ:
        print("[E] [graph] no implementation for node conv1")
        return 1
    onnx.checker.check_model(words["onnx"])
    model = Path(words["onnx"]).read_bytes()
    real = real_engine(words) if "TRTEXEC_RTX" in os.environ else b""
    random = os.urandom(8)  # two engines of a model are never the same
    Path(words["saveEngine"]).write_bytes(MAGIC + len(model).to_bytes(8, "little") + model + random + real)
    Path(words["exportLayerInfo"]).write_text(json.dumps({"Layers": [], "Bindings": []}))
    cache = Path(words["timingCacheFile"])
    cache.write_bytes((cache.read_bytes() if cache.exists() else b"") + b"times")
    return 0


def real_engine(words: dict[str, str]) -> bytes:
    """Return what TensorRT-RTX makes of the model, in a process that has it."""
    ends = {"min": words["minShapes"], "opt": words["optShapes"], "max": words["maxShapes"]}
    profiles: dict[str, dict[str, list[int]]] = {}
    for end, text in ends.items():
        for name, shape in (part.rsplit(":", 1) for part in text.split(",")):
            profiles.setdefault(name, {})[end] = [int(size) for size in shape.split("x")]
    with tempfile.NamedTemporaryFile() as plan:
        request = {"onnx": words["onnx"], "engine": plan.name, "runtime": "tensorrt_rtx", "profiles": profiles}
        command = [os.environ["TRTEXEC_RTX"], "-s", "-S", "-B", "-c", RTX, json.dumps(request)]
        subprocess.run(command, env={"PYTHONPATH": os.environ["TRTEXEC_RTX_PATH"]}, check=True)
        return Path(plan.name).read_bytes()


def parts(engine: bytes) -> tuple[bytes, bytes]:
    """Return the model that an engine holds, and the real engine, which is empty without `TRTEXEC_RTX`."""
    start = len(MAGIC) + 8
    end = start + int.from_bytes(engine[len(MAGIC) : start], "little")
    return engine[start:end], engine[end + 8 :]


def run(words: dict[str, str]) -> int:
    import onnxruntime

    engine = Path(words["loadEngine"]).read_bytes()
    if not engine.startswith(MAGIC):
        print("[E] the engine file cannot be deserialized")
        return 1
    model, _ = parts(engine)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    print("[I] Engine deserialized in 0.0123 sec.")
    feed = read_inputs(session, words)
    traces, began = [], time.perf_counter()
    for _ in range(int(words["iterations"])):
        before = time.perf_counter()
        outputs = session.run(None, feed)
        traces.append((time.perf_counter() - before) * 1e3)
    print(f"[I] Throughput: {len(traces) / (time.perf_counter() - began):.6g} qps")
    if "exportTimes" in words:
        Path(words["exportTimes"]).write_text(times(traces))
    if "exportOutput" in words:
        named = [value.name for value in session.get_outputs()]
        Path(words["exportOutput"]).write_text(values(dict(zip(named, outputs, strict=True))))
    print("&&&& PASSED TensorRT.trtexec")
    return 0


def read_inputs(session: Any, words: dict[str, str]) -> dict[str, Any]:
    import numpy as np

    shapes = dict(part.rpartition(":")[::2] for part in words.get("shapes", "").split(",") if part)
    files = dict(part.rpartition(":")[::2] for part in words["loadInputs"].split(","))
    feed = {}
    for value in session.get_inputs():
        shape = [int(size) for size in shapes[value.name].split("x")] if value.name in shapes else value.shape
        content = Path(files[value.name]).read_bytes()
        dtype = {"tensor(float)": np.float32, "tensor(int64)": np.int64}[value.type]
        feed[value.name] = np.frombuffer(content, dtype).reshape(shape)
    return feed


def times(traces: list[float]) -> str:
    """Write what exportJSONTrace does (samples/common/sampleReporting.cpp)."""
    rows = []
    for index, latency in enumerate(traces):
        stamps = {f"{end}{what}Ms": index for what in ("Enq", "H2d", "Compute", "D2h") for end in ("start", "end")}
        row = {**stamps, "h2dMs": 0, "computeMs": latency, "d2hMs": 0, "latencyMs": latency}
        rows.append("{ " + ", ".join(f'"{name}" : {value:g}' for name, value in row.items()) + " }\n")
    return "[\n  " + ", ".join(rows) + "]\n"


def values(outputs: dict[str, Any]) -> str:
    """Write what exportJSONOutput does: six digits, as C++ prints them."""
    wrong = os.environ.get("TRTEXEC_WRONG")
    parts = []
    for name, array in outputs.items():
        shown = [{"noise": -value, "nan": float("nan")}[wrong] if wrong else value for value in array.ravel().tolist()]
        numbers = ", ".join(f"{value:g}" for value in shown)
        shape = "x".join(map(str, array.shape))
        about = f'{{ "name" : "{name}"\n  , "dimensions" : "{shape}"'
        parts.append(f'{about}\n  , "values" : [ {numbers} ]\n  }}\n')
    return "[\n  " + ", ".join(parts) + "]\n"


if __name__ == "__main__":
    sys.exit(main())
