"""TensorRT's Python API: parsing and building, for `tensorrt` (8.5 to 11) and for `tensorrt_rtx` alike.

What was built is loaded and run by `trt_engine`, with the same few calls for both.
Native code may end its process, prints on stdout, and makes other bytes when a Builder is used twice: `trt_child` runs
this in a process of its own. What differs between the two, each difference marked `RTX` below:

- Import: `tensorrt_rtx`, or `tensorrt_rtx_bindings` where only NVIDIA's wheels are installed.
- GPU: RTX builds without one, for the compute capabilities it is told. TensorRT's Builder raises TypeError without one,
  and builds for the one at hand.
- Types: RTX takes them from the graph alone, as TensorRT does from 11 on, and from 10.12 on by a flag; before that,
  flags allow int8 and fp16, and the Q/DQ nodes give the scales.
- Tactics: TensorRT times them and keeps the times in a timing cache. RTX chooses its kernels where the engine is
  loaded: the cache and the optimization level change nothing, and a fresh Builder makes the same bytes, unless an axis
  stays open.
- DLA: RTX has none.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["BuildRequest", "TrtError", "build", "import_api", "judge", "logger_of", "version_of"]

MODULES = {"tensorrt": ("tensorrt",), "tensorrt_rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings")}
NAMES = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}
SHOWN = 3  # refusals that a message spells out


class TrtError(Exception):
    """TensorRT is not here, or does not do what it is asked; the words are for people."""


@dataclass(frozen=True)
class BuildRequest:
    """One engine to build. Paths are files; an empty one means: none."""

    onnx: str
    engine: str
    runtime: str = "tensorrt"
    workspace_mib: int = 1024
    optimization_level: int = 3
    int8: bool = False  # the graph has int8; read where types do not come from the graph alone
    fp16: bool = False
    profiles: Mapping[str, Mapping[str, Sequence[int]]] = field(default_factory=dict)  # input -> {min, opt, max}
    compute_capabilities: Sequence[str] = ()  # such as '8.6'; RTX only
    timing_cache: str = ""  # to begin with
    timing_cache_out: str = ""
    dla_core: int | None = None
    allow_gpu_fallback: bool = False


def import_api(runtime: str) -> Any:
    """Import the API of a runtime. Raises TrtError with the reason where it is not here."""
    reasons = []
    for name in MODULES[runtime]:
        try:
            return importlib.import_module(name)
        except (ImportError, OSError) as error:  # noqa: PERF203  one of two; OSError: a library that it loads is missing
            reasons.append(f"{name}: {error}")
    raise TrtError(f"{NAMES[runtime]} cannot be imported: {'; '.join(reasons)}")


def build(trt: Any, request: BuildRequest) -> dict[str, Any]:
    """Build an engine in this process and write it; return facts. Raises TrtError where TensorRT refuses."""
    logger = logger_of(trt)
    builder = _builder(trt, logger)
    network = builder.create_network(_network_flags(trt, request))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(request.onnx):
        raise TrtError(_refusal(trt, request.runtime, parser))
    config = _config(trt, builder, network, request)
    cache = _timing_cache(config, request)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        last = f": {logger.errors[-1]}" if logger.errors else ""
        raise TrtError(f"{_title(trt, request.runtime)} took the model and could not build an engine{last}")
    size = Path(request.engine).write_bytes(memoryview(plan))
    if cache is not None and request.timing_cache_out:
        Path(request.timing_cache_out).write_bytes(memoryview(config.get_timing_cache().serialize()))
    typed = "the graph's alone" if _strongly_typed(trt, request) else "the graph's, and what flags allow"
    return {request.runtime: trt.__version__, "layers": network.num_layers, "bytes": size, "types": typed}


def judge(trt: Any, runtime: str, onnx: str) -> dict[str, Any]:
    """Return what the parser says of each node of a model: taken, refused with the reason, or not objected to.

    A node is `taken` only where the whole model is: the parser does not go on behind the first that it cannot make
    into layers, though it looks at the operators of all.
    """
    logger = logger_of(trt)
    builder = _builder(trt, logger)
    network = builder.create_network(_network_flags(trt, BuildRequest(onnx, "", runtime)))
    parser = trt.OnnxParser(network, logger)  # which does not keep the network alive
    taken = parser.supports_model_v2(Path(onnx).read_bytes(), onnx)
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    refused = [{"index": each.node(), **_error(each)} for each in errors]
    return {"parser": _title(trt, runtime), "taken": bool(taken), "refused": refused}


def _strongly_typed(trt: Any, request: BuildRequest) -> bool:
    """Say whether types come from the graph alone.

    A DLA is told by flags what it may compute in as long as there are such flags (trtexec asks for --int8 or --fp16).
    """
    if not hasattr(trt.BuilderFlag, "INT8"):  # RTX, and TensorRT 11
        return True
    return version_of(trt.__version__) >= (10, 12) and request.dla_core is None


def version_of(text: str) -> tuple[int, ...]:
    """Return a version as numbers."""
    return tuple(int(number) for number in re.findall(r"\d+", text))


def logger_of(trt: Any) -> Any:
    """Return a logger that keeps what goes wrong, in `errors`, besides printing it."""

    class Log(trt.ILogger):  # type: ignore[misc]  # it is known only where TensorRT is
        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # pybind11 wants its own, not super()'s
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(" ".join(message.split())[:400])
                print(message, flush=True)

    return Log()


def _builder(trt: Any, logger: Any) -> Any:
    try:
        return trt.Builder(logger)
    except TypeError as error:  # what pybind11 makes of a null pointer: no CUDA device (NVIDIA/TensorRT issue 308)
        last = logger.errors[-1] if logger.errors else str(error)
        raise TrtError(f"TensorRT {trt.__version__} finds no GPU that it can build for: {last}") from error


def _network_flags(trt: Any, request: BuildRequest) -> int:
    flags, bits = trt.NetworkDefinitionCreationFlag, 0
    if version_of(trt.__version__)[0] < 10 and hasattr(flags, "EXPLICIT_BATCH"):
        bits |= 1 << int(flags.EXPLICIT_BATCH)
    if _strongly_typed(trt, request) and hasattr(flags, "STRONGLY_TYPED"):
        bits |= 1 << int(flags.STRONGLY_TYPED)
    return bits


def _config(trt: Any, builder: Any, network: Any, request: BuildRequest) -> Any:
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request.workspace_mib << 20)
    if hasattr(config, "builder_optimization_level"):  # from 8.6 on
        config.builder_optimization_level = request.optimization_level
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if not _strongly_typed(trt, request):
        for wanted, name in ((request.int8, "INT8"), (request.fp16, "FP16")):
            if wanted:
                config.set_flag(getattr(trt.BuilderFlag, name))
    if request.dla_core is not None:
        _use_dla(trt, builder, config, request)
    if request.runtime == "tensorrt_rtx" and request.compute_capabilities:
        config.num_compute_capabilities = len(request.compute_capabilities)
        for index, capability in enumerate(request.compute_capabilities):
            config.set_compute_capability(_capability(trt, capability), index)
    _add_profile(builder, network, config, request.profiles)
    return config


def _capability(trt: Any, capability: str) -> Any:
    known = trt.ComputeCapability.__members__
    name = "SM" + capability.replace(".", "")
    if name not in known:
        able = ", ".join(each[2:-1] + "." + each[-1] for each in known if each.startswith("SM"))
        raise TrtError(f"TensorRT-RTX {trt.__version__} does not build for compute capability {capability}, but {able}")
    return known[name]


def _use_dla(trt: Any, builder: Any, config: Any, request: BuildRequest) -> None:
    if (request.dla_core or 0) >= builder.num_DLA_cores:
        raise TrtError(f"there is no DLA core {request.dla_core} here: it has {builder.num_DLA_cores}")
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = request.dla_core
    if request.allow_gpu_fallback:
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)


def _timing_cache(config: Any, request: BuildRequest) -> Any:
    """Attach the timing cache, an empty one where there is none yet. Raises TrtError for another device's."""
    if not request.timing_cache and not request.timing_cache_out:
        return None
    held = Path(request.timing_cache).read_bytes() if request.timing_cache else b""
    cache = config.create_timing_cache(held)
    if cache is None or not config.set_timing_cache(cache, False):
        raise TrtError("the timing cache was made by another TensorRT or on another device; leave it out to begin anew")
    return cache


def _add_profile(builder: Any, network: Any, config: Any, profiles: Mapping[str, Any]) -> None:
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    open_inputs = [tensor for tensor in inputs if -1 in tuple(tensor.shape)]
    if not open_inputs:
        return
    profile = builder.create_optimization_profile()
    for tensor in open_inputs:
        if tensor.name not in profiles:
            raise TrtError(f"input '{tensor.name}' has open axes {tuple(tensor.shape)} and no optimization profile")
        shapes = profiles[tensor.name]
        profile.set_shape(tensor.name, *(tuple(shapes[name]) for name in ("min", "opt", "max")))
    config.add_optimization_profile(profile)


def _title(trt: Any, runtime: str) -> str:
    return f"{NAMES[runtime]} {trt.__version__}"


def _error(error: Any) -> dict[str, str]:
    return {
        "name": error.node_name(),
        "operator": error.node_operator() or _imported(error.func()),
        "code": str(error.code()).rpartition(".")[2],
        "reason": " ".join(error.desc().split())[:400],
    }


def _imported(function: str) -> str:
    """Return the operator that a function of the parser imports: not every error says which node it is about."""
    found = re.fullmatch(r"import(\w+)", function or "")
    return found[1] if found else ""


def _refusal(trt: Any, runtime: str, parser: Any) -> str:
    errors = [_error(parser.get_error(index)) for index in range(parser.num_errors)]
    said = "; ".join(f"{each['name'] or each['operator']}: {each['reason']}" for each in errors[:SHOWN])
    return f"{_title(trt, runtime)} does not take the model ({len(errors)} errors): {said}"
