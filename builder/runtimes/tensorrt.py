"""TensorRT: whether it is here, a model made into an engine, and an engine run on this machine's GPU.

Looking whether it is here takes the standard library alone.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.device.trt_api import MODULES, NAMES, import_api
from builder.errors import StepError

if TYPE_CHECKING:
    from builder.device.trt_api import BuildRequest
    from builder.runtimes.engine import Session

__all__ = [
    "ENGINES",
    "NAME",
    "TITLE",
    "build_engine",
    "find_gpu",
    "has_gpu",
    "holds",
    "load",
    "missing",
    "prepare",
    "probe",
]

NAME = "tensorrt"
TITLE = NAMES[NAME]
ENGINES = True
ENGINE = "engine.plan"
DLA = "dla.json"  # beside an engine that runs on a DLA: {"dla_core": 0}
RTX_MAGIC = b"vtrt"  # the first bytes of TensorRT-RTX's engines; TensorRT's are 'ftrt'
_NODES = ("/dev/nvidia0", "/dev/nvhost-gpu", "/dev/nvgpu", "/etc/nv_tegra_release")


def holds(folder: Path) -> bool:
    return (folder / ENGINE).is_file() and _magic(folder) != RTX_MAGIC


def missing(runtime: str = NAME) -> str:
    """Return why engines of a runtime cannot run here, in one sentence; '' where they can."""
    if not has_gpu():
        return "this machine has no NVIDIA GPU"
    if not any(find_spec(module) for module in MODULES[runtime]):
        return f"the Python package {MODULES[runtime][0]} is not installed here"
    return ""


def prepare() -> None:
    import_api(NAME)


def load(folder: Path, *, threads: int = 1, spin: bool = True, device: str = "") -> Session:
    """Load an engine on the first GPU. Raises ModelError where it does not belong to it."""
    from builder.runtimes.engine import Session

    del threads, spin, device  # all of an engine runs on the GPU
    core = json.loads((folder / DLA).read_text(encoding="utf-8"))["dla_core"] if (folder / DLA).is_file() else None
    return Session(folder / ENGINE, NAME, dla_core=core)


def probe(target: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """Return the facts of this machine's device where it can build and run the target's engines, else the reason."""
    from builder.device.fit import difference
    from builder.device.machine import describe_device
    from builder.runtimes.machine import other_device

    here, runtime = platform.machine(), str(target["runtime"])
    wanted = f"{target['name']} is {target['arch']} with {NAMES[runtime]}"
    other = difference(target, {"arch": here})
    if not has_gpu() or (other and other.what == "arch"):
        return None, f"this machine is {here} {'with' if has_gpu() else 'without'} an NVIDIA GPU; {wanted}"
    version = _version(runtime)
    if not version:
        remedy = "on a Jetson install python3-libnvinfer, elsewhere the extra [tensorrt]"
        return None, f"neither the Python package {runtime} nor trtexec is here; {remedy}"
    facts = {name: value for name, value in describe_device(runtime, version).items() if value}
    reason = other_device(target, facts, title=NAMES[runtime])
    return (None, reason) if reason else (facts, "")


def has_gpu() -> bool:
    """Say whether the kernel shows an NVIDIA GPU; nothing of NVIDIA's is loaded for it."""
    return any(Path(node).exists() for node in _NODES)


def find_gpu() -> dict[str, Any] | None:
    """Return what is known of this machine's first NVIDIA GPU, or None where there is none."""
    from builder.device.machine import describe_device

    return {name: value for name, value in describe_device("", "").items() if name and value} if has_gpu() else None


def build_engine(request: BuildRequest) -> dict[str, Any]:
    """Build an engine in a fresh process and return what it says: version, layers, bytes.

    Through the Python API where that can be imported, else with `trtexec`. Raises StepError where TensorRT refuses the
    model, is not here, or its process dies.
    """
    from builder.device import trt_child, trtexec
    from builder.device.trt_api import TrtError

    with_python = any(find_spec(module) for module in MODULES[request.runtime])
    program = "" if with_python else trtexec.find()
    try:
        if program and request.runtime == NAME:
            return trtexec.build(program, request)
        return trt_child.call({"do": "build", "request": asdict(request)})
    except TrtError as error:
        raise StepError(str(error)) from error


def _version(runtime: str) -> str:
    """Return the version of a runtime that is here, or ''."""
    from importlib.metadata import PackageNotFoundError, version

    from builder.device import trtexec

    name = runtime.replace("_", "-")
    for package in (name, f"{name}-cu13", f"{name}-cu13-bindings", f"{name}-cu12"):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    program = trtexec.find() if runtime == NAME else ""
    return trtexec.version(program) if program else ""


def _magic(folder: Path) -> bytes:
    with (folder / ENGINE).open("rb") as file:
        return file.read(len(RTX_MAGIC))
