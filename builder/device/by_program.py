"""TensorRT by NVIDIA's program trtexec: one process for each engine, feed and block.

Its JSON is that of NVIDIA/TensorRT, samples/common/sampleReporting.cpp; outputs have six digits there.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from builder.device import trtexec
from builder.device.driver import Block, Driver, Feed
from builder.device.files import remove
from builder.device.programs import run
from builder.device.stop import Failed
from builder.device.tensors import pack_values
from builder.device.trt_api import BuildRequest

__all__ = ["Program", "find_program"]

_TYPED = ("--int8", "--fp16", "--stronglyTyped")  # what decides the types of an engine
_NOT_JSON = {"nan": "NaN", "-nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}  # as C++ writes them


def find_program() -> Program | None:
    """Return the trtexec on PATH or where JetPack puts it; None without one that says its version."""
    program = trtexec.find()
    version = trtexec.version(program) if program else ""
    return Program(program, version) if version else None


class Program(Driver):
    name = "trtexec"

    def __init__(self, program: str, version: str) -> None:
        super().__init__(version)
        self._program = program

    def build(self, request: BuildRequest, layers: Path, log: Path) -> dict[str, Any]:
        command = trtexec.build_command(request, self.version, self._program, str(layers))
        trtexec.begin_cache(request)
        run(command, log)
        if not Path(request.engine).is_file():
            raise Failed("trtexec ended well and left no engine")
        typed = [word for word in command if word in _TYPED]
        return {"bytes": Path(request.engine).stat().st_size, "built_with": " ".join(["trtexec", *typed])}

    def run(self, engine: Path, feeds: Sequence[Feed], tensors: Mapping[str, Any], files: Sequence[Path]) -> None:
        for feed, file in zip(feeds, files):
            answer = file.with_suffix(".json")
            log = file.with_suffix(".log")
            inputs = _seen_from(log.parent, feed)
            run(trtexec.run_command(str(engine), inputs, tensors, str(answer), self._program), log)
            found = {entry["name"]: entry["values"] for entry in _read(answer)}
            file.write_bytes(b"".join(_bytes_of(output, found) for output in tensors["outputs"]))
            answer.unlink()
            log.unlink()

    def time(self, engine: Path, feed: Feed, tensors: Mapping[str, Any], log: Path, **how: float) -> Block:
        times, exported = log.with_suffix(".json"), not how["seconds"]  # a steady run has too many to write them
        inputs, wanted = _seen_from(log.parent, feed), str(times) if exported else ""
        command = trtexec.measure_command(str(engine), inputs, tensors, self.version, wanted, self._program, **how)
        said = run(command, log)
        latencies = [round(entry["latencyMs"] * 1e6) for entry in _read(times)] if exported else []
        remove(times)
        loaded = re.search(r"Engine deserialized in ([\d.]+) sec", said)
        rate = re.search(r"Throughput: ([\d.]+) qps", said)
        load_ms = float(loaded.group(1)) * 1e3 if loaded else None
        return Block(latencies, load_ms, per_second=float(rate.group(1)) if rate else None)

    @property
    def timed_by(self) -> str:
        return " ".join(["trtexec", *trtexec.timed_by(self.version)])


def _seen_from(place: Path, feed: Feed) -> dict[str, str]:
    """Return inputs by their way from a folder in which we run trtexec: such a way holds no comma."""
    return {name: str(file.relative_to(place.resolve())) for name, file in feed.items()}


def _read(file: Path) -> Any:
    try:
        text = file.read_text(encoding="utf-8")
        return json.loads(re.sub(r"(?<=[\s,\[])-?(?:nan|inf)(?=[\s,\]])", lambda word: _NOT_JSON[word.group()], text))
    except (OSError, ValueError) as error:
        raise Failed(f"trtexec wrote no {file.name} that can be read: {error}") from error


def _bytes_of(output: Mapping[str, Any], found: Mapping[str, Sequence[float]]) -> bytes:
    name = output["name"]
    if name not in found:
        raise Failed(f"the engine has no output '{name}'; it has {', '.join(sorted(found)) or 'none'}")
    try:
        return pack_values(found[name], output["dtype"], output["shape"])
    except (ValueError, OverflowError, struct.error) as error:
        raise Failed(f"the engine's output '{name}': {error}") from error
