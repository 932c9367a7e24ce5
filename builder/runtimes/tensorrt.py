"""TensorRT: is it here, and a model made into an engine, in a process of its own.

Looking whether it is here takes the standard library alone. `python -m builder.runtimes.tensorrt` is the child that
builds: native code may crash, prints on stdout, and gives other bytes when a Builder is used twice.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from builder.errors import StepError

__all__ = ["EngineRequest", "build_engine", "find_gpu", "make_engine", "probe"]

TIMEOUT_S = 4 * 3600
TEGRA_RELEASE = Path("/etc/nv_tegra_release")
GPU_NODES = ("/dev/nvidia0", "/dev/nvhost-gpu", "/dev/nvgpu")


@dataclass(frozen=True)
class EngineRequest:
    """One engine to build: all that the child process is told."""

    onnx: str
    engine: str
    module: str = "tensorrt"  # tensorrt_rtx has the same interface, and builds without a GPU
    workspace_mib: int = 1024
    optimization_level: int = 3
    int8: bool = False  # the graph has int8; read by versions below 10.12, the later ones take types from the graph
    fp16: bool = False
    shapes: Mapping[str, list[int]] = field(default_factory=dict)  # of inputs with open axes
    compute_capability: str = ""  # for a machine without a GPU; tensorrt_rtx only


def probe(target: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """Return the facts of this machine's device where it can build and run the target's engines, else the reason."""
    here = platform.machine()
    gpu = any(Path(node).exists() for node in GPU_NODES) or TEGRA_RELEASE.exists()
    wanted = f"{target['name']} is {target['arch']} with TensorRT"
    if target["arch"] not in {"any", here} or not gpu:
        return None, f"this machine is {here} {'with' if gpu else 'without'} an NVIDIA GPU; {wanted}"
    if importlib.util.find_spec("tensorrt") is None:
        remedy = "on a Jetson install python3-libnvinfer, elsewhere the extra [tensorrt]"
        return None, f"the Python package tensorrt is not installed here; {remedy}"
    version = _version()
    if not version_fits(version, target["runtime_versions"]):
        return None, f"TensorRT {version} is here; {target['name']} wants {target['runtime_versions']}"
    gpu_facts = _gpu()
    capability = target["compute_capability"]
    found = gpu_facts.get("compute_capability", capability)
    if capability and found != capability:
        return None, f"the GPU here has compute capability {found}; {target['name']} has {capability}"
    return {"tensorrt": version, "arch": here, **gpu_facts}, ""


def find_gpu() -> dict[str, str] | None:
    """Return what the driver says of this machine's first NVIDIA GPU, or None where there is none."""
    return _gpu() if any(Path(node).exists() for node in GPU_NODES) else None


def version_fits(version: str, limits: str) -> bool:
    """Say whether a version keeps limits such as '>=10.3,<12'; no limits take every version."""
    compare = {
        ">=": tuple.__ge__,
        "<=": tuple.__le__,
        "==": tuple.__eq__,
        ">": tuple.__gt__,
        "<": tuple.__lt__,
    }
    for limit in filter(None, (part.strip() for part in limits.split(","))):
        match = re.fullmatch(r"(>=|<=|==|>|<)\s*([\d.]+)", limit)
        if match is None:
            raise StepError(f"'{limit}' is no limit of a version", "write it like '>=10.3,<12'")
        if not compare[match[1]](_numbers(version, match[2]), _numbers(match[2], match[2])):
            return False
    return True


def _numbers(version: str, as_long_as: str) -> tuple[int, ...]:
    numbers = [int(number) for number in re.findall(r"\d+", version)]
    length = as_long_as.count(".") + 1
    return tuple((numbers + [0] * length)[:length])


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    for name in ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return ""


def _gpu() -> dict[str, str]:
    """Return what the driver says of the first GPU; a Jetson has no nvidia-smi of old, its L4T release stands in."""
    import subprocess

    if TEGRA_RELEASE.exists():
        return {"l4t": TEGRA_RELEASE.read_text().partition("\n")[0].strip()}
    query = ["nvidia-smi", "--query-gpu=name,compute_cap,driver_version,memory.total", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, check=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    values = [value.strip() for value in answer.partition("\n")[0].split(",")]
    return dict(zip(("name", "compute_capability", "driver", "memory"), values, strict=False))


def build_engine(request: EngineRequest) -> dict[str, Any]:
    """Build an engine in a fresh process and return what it says: version, layers, bytes.

    Raises StepError where TensorRT refuses the model, or the process dies.
    """
    import subprocess

    command = [sys.executable, "-m", "builder.runtimes.tensorrt"]
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
    try:
        child = subprocess.run(
            command,
            input=json.dumps(asdict(request)),
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
            env=environment,
        )
    except subprocess.TimeoutExpired as error:
        raise StepError(f"TensorRT took more than {TIMEOUT_S // 3600} hours") from error
    answer = child.stdout.rpartition("\x1e")[2].strip()  # all before is what native code printed
    if child.returncode != 0 or not answer.startswith("{"):
        last = " ".join(child.stderr.split())[-400:]
        raise StepError(f"TensorRT's process ended with {child.returncode}: {last or 'it said nothing'}")
    facts: dict[str, Any] = json.loads(answer)
    if "error" in facts:
        raise StepError(facts["error"])
    return facts


class TensorRT(Protocol):
    """The part of NVIDIA's Python interface that is used; `tensorrt` and `tensorrt_rtx` both have it."""

    __version__: str
    Logger: Any
    Builder: Any
    OnnxParser: Any
    NetworkDefinitionCreationFlag: Any
    MemoryPoolType: Any
    BuilderFlag: Any


def make_engine(trt: TensorRT, request: EngineRequest) -> dict[str, Any]:
    """Build an engine in this process and write it; return facts, or {"error": ...} where TensorRT refuses.

    Strongly typed from 10.12 on: precision is what the graph says. Before that, the flags allow int8 and fp16, and
    the Q/DQ nodes give the scales.
    """
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    typed = not hasattr(trt.BuilderFlag, "INT8") or _numbers(trt.__version__, "10.12") >= (10, 12)
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) if typed else 0
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(request.onnx):
        errors = [parser.get_error(i) for i in range(parser.num_errors)]
        said = "; ".join(
            f"{e.node_name() or e.node_operator()}: {' '.join(e.desc().split())[:300]}" for e in errors[:3]
        )
        return {"error": f"TensorRT {trt.__version__} does not take the model ({len(errors)} errors): {said}"}
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request.workspace_mib << 20)
    config.builder_optimization_level = request.optimization_level
    if not typed:
        for wanted, flag in ((request.int8, "INT8"), (request.fp16, "FP16")):
            if wanted:
                config.set_flag(getattr(trt.BuilderFlag, flag))
    if request.compute_capability:
        _set_capability(trt, config, request.compute_capability)
    _add_profile(builder, network, config, request.shapes)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        return {"error": f"TensorRT {trt.__version__} took the model and could not build an engine"}
    written = Path(request.engine).write_bytes(memoryview(plan))
    return {"tensorrt": trt.__version__, "layers": network.num_layers, "bytes": written, "strongly_typed": typed}


def _set_capability(trt: Any, config: Any, capability: str) -> None:
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, "SM" + capability.replace(".", "")), 0)


def _add_profile(builder: Any, network: Any, config: Any, shapes: Mapping[str, list[int]]) -> None:
    """Fix the open axes, which TensorRT calls -1: to the given shape, else to 1."""
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    if not any(-1 in tuple(tensor.shape) for tensor in inputs):
        return
    profile = builder.create_optimization_profile()
    for tensor in inputs:
        if -1 in tuple(tensor.shape):
            shape = shapes.get(tensor.name) or [1 if size == -1 else size for size in tuple(tensor.shape)]
            profile.set_shape(tensor.name, shape, shape, shape)
    config.add_optimization_profile(profile)


def _child() -> None:
    request = EngineRequest(**json.load(sys.stdin))
    trt: Any = importlib.import_module(request.module)
    sys.stdout.write("\x1e" + json.dumps(make_engine(trt, request)))


if __name__ == "__main__":
    _child()
