"""What happens where a GPU is, with stand-ins for NVIDIA's driver and for its package: nothing here ran on a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from kits import nvidia_standins
from projects import ROOT, small_model

_COMPILE = """\
import json, sys
from pathlib import Path
from builder.compilers.options import Options, Profile
from builder.compilers.tensorrt import compile
from builder.runtimes import tensorrt
from builder.specs import Model
from builder.step import Job
from builder.typed import from_plain

folder, options, cache = Path(sys.argv[1]), from_plain(Options, json.loads(sys.argv[2]), ""), sys.argv[3]
inputs = {"model": folder / "in", **({"timing_cache": Path(cache)} if cache else {})}
target = {"precisions": ["fp32", "fp16", "int8"], "dla_cores": 2}
job = Job(inputs, folder / "out", Model("m"), target=target, device={"name": "stand-in"})
result = compile.run(options, job)
session = tensorrt.load(folder / "out/engine")
import numpy as np
shape = [4, 1, 8, 8] if options.profiles else [1, 1, 8, 8]
session.run({"image": np.ones(shape, np.float32)})
said = {"facts": dict(result.facts), "ran": session.describe().plain(), "deferred": result.deferred}
sys.stderr.write("\\x1e" + json.dumps(said))
"""


@pytest.fixture(scope="module")
def nvidia(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a driver library and a package `tensorrt` that stand in for NVIDIA's."""
    return nvidia_standins(tmp_path_factory.mktemp("nvidia"))


def start(nvidia: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    paths = {"PYTHONPATH": os.pathsep.join([str(nvidia), str(ROOT)]), "LD_LIBRARY_PATH": str(nvidia)}
    return subprocess.run(
        [sys.executable, "-B", "-c", *words],
        env={"PATH": os.environ["PATH"], "ORT_DISABLE_TELEMETRY": "1", **paths, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def compiled(nvidia: Path, folder: Path, options: dict[str, Any] | None = None, **more: str) -> dict[str, Any]:
    """Compile a small model where the stand-ins are; return what came of it, and how the engine says it was built."""
    if not (folder / "in").exists():
        small_model(folder / "in/model.onnx")
    cache = more.pop("cache", "")
    done = start(nvidia, _COMPILE, str(folder), json.dumps(options or {}), cache, **more)
    assert done.returncode == 0, done.stderr[-3000:]
    said: dict[str, Any] = json.loads(done.stderr.rpartition("\x1e")[2])
    plan = (folder / "out/engine/engine.plan").read_bytes()
    return {**said, "built": json.loads(plan[4:].partition(b"\0")[0])}


def test_an_engine_is_built_loaded_run_and_compared_before_it_counts(nvidia: Path, tmp_path: Path) -> None:
    made = compiled(nvidia, tmp_path)

    assert made["deferred"] == ""
    assert made["facts"]["difference"] < 1e-6
    assert made["facts"]["tensorrt"] == "10.3.0"
    assert made["facts"]["shapes"] == "image 1x1x8x8"
    assert sorted(path.name for path in (tmp_path / "out/engine").iterdir()) == [
        "engine.plan",
        "layers.json",
        "timing.cache",
    ]


def test_what_ran_is_what_the_inspector_says(nvidia: Path, tmp_path: Path) -> None:
    ran = compiled(nvidia, tmp_path)["ran"]

    assert (ran["runtime"], ran["device"], ran["precision"], ran["accelerated"]) == ("tensorrt", "Orin", "int8", 1.0)


def test_an_engine_that_computes_something_else_does_not_count(nvidia: Path, tmp_path: Path) -> None:
    small_model(tmp_path / "in/model.onnx")
    done = start(nvidia, _COMPILE, str(tmp_path), "{}", "", STAND_IN_FACTOR="1.5")

    assert done.returncode != 0
    assert "StepError: the engine of TensorRT computes something else than ONNX Runtime" in done.stderr


def quantized(folder: Path) -> None:
    """Write a model with a pair of Q and DQ, and with weights in fp16 that nobody reads."""
    model = onnx.load(small_model(folder / "in/model.onnx"))
    extra = [onnx.helper.make_tensor(name, kind, [], [value]) for name, kind, value in _SCALES]
    model.graph.initializer.extend(extra)
    pair = [
        onnx.helper.make_node("QuantizeLinear", ["image", "scale", "zero"], ["q"]),
        onnx.helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
    ]
    model.graph.node[0].input[0] = "d"
    nodes = [*pair, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, folder / "in/model.onnx")


_SCALES = (("scale", onnx.TensorProto.FLOAT, 0.05), ("zero", onnx.TensorProto.INT8, 0))
_TYPED, _WEAKLY = 1 << 1, 0


@pytest.mark.parametrize(
    ("version", "dla", "network", "flags"),
    [
        ("10.3.0", None, _WEAKLY, ["INT8"]),
        ("10.13.3", None, _TYPED, []),
        ("10.13.3", 1, _WEAKLY, ["INT8", "GPU_FALLBACK"]),
        ("11.4.1", None, _TYPED, []),
        ("8.5.2", None, 1 << 0, ["INT8"]),
    ],
)
def test_types_are_said_in_the_words_of_the_version(
    nvidia: Path, tmp_path: Path, version: str, dla: int | None, network: int, flags: list[str]
) -> None:
    quantized(tmp_path)
    options = {"dla_core": dla, "allow_gpu_fallback": dla is not None}
    built = compiled(nvidia, tmp_path, options, STAND_IN_VERSION=version)["built"]

    assert (built["network"], built["flags"]) == (network, flags)
    assert (built["device"], built["core"]) == (("GPU", -1) if dla is None else ("DLA", dla))


def test_profiles_and_scratch_memory_are_those_of_the_recipe(nvidia: Path, tmp_path: Path) -> None:
    shapes = {"min": [1, 1, 8, 8], "opt": [4, 1, 8, 8], "max": [16, 1, 8, 8]}
    made = compiled(nvidia, tmp_path, {"profiles": {"image": shapes}, "workspace_mib": 64})

    assert made["built"]["profiles"] == {"image": [*shapes.values()]}
    assert made["built"]["WORKSPACE"] == 64 << 20
    assert made["facts"]["shapes"] == "image 1x1x8x8 to 16x1x8x8"


def test_a_timing_cache_goes_in_and_comes_out(nvidia: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "weights").write_bytes(b"times")
    compiled(nvidia, tmp_path, cache=str(cache))

    assert (tmp_path / "out/engine/timing.cache").read_bytes() == b"times+"


def test_a_timing_cache_of_another_device_is_refused(nvidia: Path, tmp_path: Path) -> None:
    small_model(tmp_path / "in/model.onnx")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/weights").write_bytes(b"other")
    done = start(nvidia, _COMPILE, str(tmp_path), "{}", str(tmp_path / "cache"))

    assert "StepError: the timing cache was made by another TensorRT or on another device" in done.stderr


def test_tensorrt_without_a_gpu_is_a_clear_error(nvidia: Path, tmp_path: Path) -> None:
    small_model(tmp_path / "in/model.onnx")
    done = start(nvidia, _COMPILE, str(tmp_path), "{}", "", STAND_IN_NO_GPU="1")

    assert "StepError: TensorRT 10.3.0 finds no GPU that it can build for" in done.stderr


_LOAD = """\
import sys
from pathlib import Path
from builder.runtimes import tensorrt
import numpy as np
session = tensorrt.load(Path(sys.argv[1]))
session.run({"image": np.zeros(eval(sys.argv[2]), sys.argv[3])})
"""


def load_error(nvidia: Path, folder: Path, shape: str = "[1, 1, 8, 8]", dtype: str = "float32", **more: str) -> str:
    done = start(nvidia, _LOAD, str(folder), shape, dtype, **more)
    assert done.returncode != 0
    return done.stderr.strip().splitlines()[-1]


def test_what_an_engine_does_not_take_is_said(nvidia: Path, tmp_path: Path) -> None:
    compiled(nvidia, tmp_path)
    engine = tmp_path / "out/engine"

    assert "input 'image' is float32[1, 1, 8, 8], and 512 bytes were given" in load_error(
        nvidia, engine, dtype="float64"
    )
    (engine / "engine.plan").write_bytes(b"none of ours")
    assert "TensorRT 10.3.0 cannot load the engine here" in load_error(nvidia, engine)


def test_memory_that_runs_out_is_said_in_the_driver_s_words(nvidia: Path) -> None:
    script = "from builder.device.cuda import Cuda; cuda = Cuda(); print(cuda.describe()); cuda.allocate(2 << 30)"
    done = start(nvidia, script)

    assert "'compute_capability': '8.7', 'cuda': '12.6'" in done.stdout
    assert "cuMemAlloc_v2: out of memory (CUDA error 2)" in done.stderr


def test_without_a_driver_the_reason_is_given(tmp_path: Path) -> None:
    done = start(tmp_path, "from builder.device.cuda import Cuda; Cuda()")
    assert "CudaError: there is no NVIDIA driver here" in done.stderr
