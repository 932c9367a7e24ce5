"""Folders in which a user works, with small but real models and data."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


class Project:
    """A folder in which a user works, with a store and a cache folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "XDG_CACHE_HOME": str(folder / ".cache"),
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LC_ALL": "C.UTF-8",
        }

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m builder` as a user would."""
        return subprocess.run(
            [sys.executable, "-m", "builder", *words],
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start `python -m builder` in a session of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "builder", *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def write(self, path: str, text: str) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def add_steps(self, **sources: str) -> None:
        """Install a package `extra` whose steps are offered as entry points, as somebody else's package would."""
        for name, source in sources.items():
            self.write(f"site/extra/{name}.py", source)
        self.write("site/extra/__init__.py", "")
        points = "\n".join(f"{name} = extra.{name}" for name in sources)
        self.write("site/extra-1.0.dist-info/entry_points.txt", f"[builder.steps]\n{points}\n")
        self.write("site/extra-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: extra\nVersion: 1.0\n")
        self.environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(self.folder / "site")])

    @property
    def store(self) -> Path:
        return self.folder / "outputs" / "store"


def small_model(path: Path, *, seed: int = 0, external: str = "") -> Path:
    """Write a real network of two convolutions and a classifier: image f32[batch,1,8,8] -> scores f32[batch,3]."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(seed)

    def weights(name: str, *shape: int) -> Any:
        return numpy_helper.from_array((random.standard_normal(shape) * 0.3).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["c1"], "conv1", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
        helper.make_node("Identity", ["r1"], ["i1"], "nothing"),
        helper.make_node("Conv", ["i1", "w2", "b2"], ["c2"], "conv2", kernel_shape=[3, 3], strides=[2, 2]),
        helper.make_node("Relu", ["c2"], ["r2"], "relu2"),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["scores"], "classifier"),
    ]
    initializers = [
        weights("w1", 8, 1, 3, 3), weights("b1", 8), weights("w2", 16, 8, 3, 3), weights("b2", 16),
        weights("w3", 16, 3), weights("b3", 3),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 3])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    if external:
        onnx.save(model, str(path), save_as_external_data=True, location=external, size_threshold=0)
    else:
        onnx.save(model, str(path))
    return path


def small_data(folder: Path, *, samples: int = 60, seed: int = 1) -> Path:
    """Write a labelled npz dataset that fits `small_model`, with the split files cal.npz and test.npz."""
    import numpy as np

    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("cal", "test"):
        images = random.standard_normal((samples, 1, 8, 8)).astype(np.float32)
        np.savez(folder / f"{name}.npz", samples=images, labels=random.integers(0, 3, samples))
    return folder


def write_small(project: Project) -> Project:
    small_model(project.folder / "models" / "small.onnx")
    small_data(project.folder / "samples")
    project.write("conf/model/small.yaml", "name: small\npath: models/small.onnx\ntask: classification\n")
    project.write(
        "conf/data/small.yaml",
        "name: small\nreader: npz\nroot: samples\nsplits:\n  calibration: {path: cal.npz}\n  test: {path: test.npz}\n",
    )
    project.write(
        "recipes/small.yaml",
        """\
# @package _global_
defaults:
  - override /model: small
  - override /steps: [simplify, quantize, evaluate]
  - _self_
name: small
summary: a small network
steps:
  quantize: {calibration: {samples: 16}}
gates: {max_size_mib: 1}
""",
    )
    return project
