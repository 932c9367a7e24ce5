"""The child in which the Python package of TensorRT or TensorRT-RTX builds and runs engines: native code may crash."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from builder.device.child import answer, timed
from builder.device.cuda import CudaError
from builder.device.stop import Failed
from builder.device.trt_api import BuildRequest, TrtError, build, import_api
from builder.device.trt_engine import Engine


def _version(request: dict[str, Any]) -> dict[str, Any]:
    return {"version": import_api(request["runtime"]).__version__}


def _build(request: dict[str, Any]) -> dict[str, Any]:
    """Build an engine, load it, and write what its layers are."""
    wanted = BuildRequest(**request["request"])
    trt = import_api(wanted.runtime)
    facts = build(trt, wanted)
    engine = Engine(trt, Path(wanted.engine).read_bytes(), dla_core=wanted.dla_core)
    Path(request["layers"]).write_text(engine.layers(), encoding="utf-8")
    return facts


def _run(request: dict[str, Any]) -> dict[str, Any]:
    """Run each feed and write its outputs, one after another, to its file."""
    engine = _engine(request)
    for feed, file in zip(request["feeds"], request["files"]):
        _load(engine, request, feed)
        engine.execute()
        found = engine.fetch()
        Path(file).write_bytes(b"".join(_checked(found, output) for output in request["outputs"]))
    return {}


def _time(request: dict[str, Any]) -> dict[str, Any]:
    began = time.perf_counter()
    engine = _engine(request)
    load_ms = (time.perf_counter() - began) * 1e3
    _load(engine, request, request["feeds"][0])
    return {"load_ms": load_ms, **timed(engine.execute, request)}


def _engine(request: dict[str, Any]) -> Engine:
    plan = Path(request["engine"]).read_bytes()
    return Engine(import_api(request["runtime"]), plan, dla_core=request.get("dla_core"))


def _load(engine: Engine, request: dict[str, Any], feed: dict[str, str]) -> None:
    files = {name: Path(file).read_bytes() for name, file in feed.items()}
    engine.load({tensor["name"]: (tensor["shape"], files[tensor["name"]]) for tensor in request["inputs"]})


def _checked(found: dict[str, Any], output: dict[str, Any]) -> bytes:
    """Return an output's bytes. Raises Failed where it is not what the kit says."""
    dtype, shape, values = found.get(output["name"], ("", (), b""))
    if dtype != output["dtype"] or list(shape) != output["shape"]:
        wanted = f"{output['dtype']}{output['shape']}"
        raise Failed(f"the engine's output '{output['name']}' is {dtype}{list(shape)}, the kit says {wanted}")
    return bytes(values)


if __name__ == "__main__":
    answer({"version": _version, "build": _build, "run": _run, "time": _time}, (Failed, TrtError, CudaError))
