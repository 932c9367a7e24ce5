"""NVIDIA's program `trtexec`: where it is, which TensorRT it belongs to, and the words each version wants.

Sources: `trtexec --help` of 8.5, 10.3, 10.13 and 11.1; NVIDIA, "TensorRT 11 migration": precision flags are gone, types
come from the graph.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from builder.device.trt_api import BuildRequest, TrtError, version_of

__all__ = ["begin_cache", "build", "build_command", "find", "measure_command", "run_command", "timed_by", "version"]

_PLACES = ("/usr/src/tensorrt/bin/trtexec", "/opt/tensorrt/bin/trtexec")
_BANNER = re.compile(r"\[TensorRT v(\d+)\](?: \[b(\d+)\])?")
_TIMEOUT_S = 4 * 3600


def find() -> str:
    """Return where `trtexec` is: on PATH, or where JetPack puts it; '' where it is not."""
    return shutil.which("trtexec") or next((place for place in _PLACES if Path(place).is_file()), "")


def version(program: str) -> str:
    """Return the version that a `trtexec` says it is, such as '10.3.0' or '10.16.2.10'; '' where it says none."""
    try:
        said = subprocess.run([program, "--help"], capture_output=True, check=False, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return ""
    found = _BANNER.search((said.stdout + said.stderr).decode(errors="replace"))
    return _numbered(found[1], found[2]) if found else ""


def build(program: str, request: BuildRequest) -> dict[str, Any]:
    """Build an engine with `trtexec` and return facts. Raises TrtError with what it said last."""
    known = version(program)
    if not known:
        raise TrtError(f"{program} does not say which TensorRT it belongs to")
    command = build_command(request, known, program)
    begin_cache(request)
    print(" ".join(command), flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=_TIMEOUT_S)
    said = done.stdout.decode(errors="replace")
    print(said, flush=True)
    engine = Path(request.engine)
    if done.returncode or not engine.is_file():
        errors = [line.partition("[E] ")[2] for line in said.splitlines() if "[E] " in line]
        raise TrtError(f"trtexec {known} built no engine: {' '.join(errors[:1]) or f'exit code {done.returncode}'}")
    return {request.runtime: known, "bytes": engine.stat().st_size, "built_with": "trtexec"}


def begin_cache(request: BuildRequest) -> None:
    """Let trtexec, which knows one file of times, read those that are given and write to the file that is asked for."""
    if request.timing_cache and request.timing_cache_out:
        shutil.copyfile(request.timing_cache, request.timing_cache_out)


def build_command(request: BuildRequest, tensorrt: str, program: str = "trtexec", layers: str = "") -> list[str]:
    """Return the command that builds an engine, in the words of a version of TensorRT; `layers` tells of it."""
    numbers = version_of(tensorrt)
    words = [program, f"--onnx={request.onnx}", f"--saveEngine={request.engine}"]
    words += [f"--memPoolSize=workspace:{request.workspace_mib}"]
    words += [f"--builderOptimizationLevel={request.optimization_level}"] if numbers >= (8, 6) else []
    words += _types(request, numbers)
    for name in ("min", "opt", "max"):
        shapes = {each: profile[name] for each, profile in request.profiles.items()}
        words += [f"--{name}Shapes={_shapes(shapes)}"] if shapes else []
    if request.timing_cache_out or request.timing_cache:
        words += [f"--timingCacheFile={request.timing_cache_out or request.timing_cache}"]  # read, then written
    if request.dla_core is not None:
        words += [f"--useDLACore={request.dla_core}", *(["--allowGPUFallback"] if request.allow_gpu_fallback else [])]
    words += ["--profilingVerbosity=detailed", "--skipInference" if numbers >= (8, 6) else "--buildOnly"]
    return [*words, *([f"--exportLayerInfo={layers}"] if layers else [])]


def run_command(
    engine: str, inputs: Mapping[str, str], tensors: Mapping[str, Any], outputs: str, program: str = "trtexec"
) -> list[str]:
    """Return the command that runs an engine once on files of numbers and exports its outputs.

    `tensors` is as a driver gets it (driver.py).
    """
    words = [program, *_load(engine, inputs, tensors), "--iterations=1", "--warmUp=0", "--duration=0"]
    return [*words, f"--exportOutput={outputs}"]


def measure_command(
    engine: str,
    inputs: Mapping[str, str],
    tensors: Mapping[str, Any],
    tensorrt: str,
    times: str,
    program: str = "trtexec",
    *,
    runs: float,
    warmup_ms: float,
    seconds: float = 0,
) -> list[str]:
    """Return the command that times an engine; a steady run has too many times to export them: `times` is ''."""
    counted = [f"--iterations={runs:.0f}", f"--duration={seconds:.0f}", f"--warmUp={warmup_ms:.0f}"]
    words = [program, *_load(engine, inputs, tensors), *counted, *timed_by(tensorrt)]
    return [*words, *([f"--exportTimes={times}"] if times else [])]


def timed_by(tensorrt: str) -> list[str]:
    """Return the words for times without copies to and from the GPU, which 11 leaves out if nothing is said."""
    return [] if version_of(tensorrt) >= (11,) else ["--noDataTransfers", "--useCudaGraph", "--useSpinWait"]


def _load(engine: str, inputs: Mapping[str, str], tensors: Mapping[str, Any]) -> list[str]:
    given = ",".join(f"{_named(name)}:{file}" for name, file in sorted(inputs.items()))
    shapes = _shapes({tensor["name"]: tensor["shape"] for tensor in tensors["inputs"] if tensor.get("open")})
    words = [f"--loadEngine={engine}", f"--loadInputs={given}", *([f"--shapes={shapes}"] if shapes else [])]
    core = tensors.get("dla_core")
    return words if core is None else [*words, f"--useDLACore={core}"]


def _types(request: BuildRequest, numbers: tuple[int, ...]) -> list[str]:
    """Return what says how types are found; as `trt_api` does."""
    if numbers >= (11,):
        return []
    if numbers >= (10, 12) and request.dla_core is None:
        return ["--stronglyTyped"]
    return [*(["--int8"] if request.int8 else []), *(["--fp16"] if request.fp16 else [])]


def _shapes(shapes: Mapping[str, Sequence[int]]) -> str:
    return ",".join(f"{_named(name)}:{'x'.join(map(str, shape))}" for name, shape in shapes.items())


def _named(name: str) -> str:
    return f"'{name}'" if ":" in name else name  # else the colon would end the name


def _numbered(digits: str, build_number: str) -> str:
    """Return '100300' as 10.3.0 and '8502' as 8.5.2: two digits each from the end, from 10 on; else one and two."""
    if len(digits) == 4:
        numbers = [digits[0], digits[1], digits[2:]]
    else:
        numbers = [digits[:-4], digits[-4:-2], digits[-2:]]
    return ".".join([*(str(int(number)) for number in numbers), *([build_number] if build_number else [])])
