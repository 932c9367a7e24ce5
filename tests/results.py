"""Results as a device sends them, made by hand: real outputs of a real model, in the format of `resume.sh`."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from projects import Project

__all__ = ["ORIN", "Sent", "canonical_digest", "deferred_build", "latest", "read_manifest"]

ORIN = {
    "name": "NVIDIA Jetson Orin Nano",
    "arch": "aarch64",
    "compute_capability": "8.7",
    "tensorrt": "10.3.0",
    "cuda": "12.6",
    "driver": None,
    "l4t": "R36 (release), REVISION: 4.3",
    "power_mode": "MAXN",
    "clocks": "gpu 918 MHz",
}
HOST = {"system": "Linux 5.15.148-tegra", "python": "3.10.12", "processors": 6, "load_average": [0.1, 0.1, 0.1]}

RECIPE = """\
# @package _global_
defaults:
  - override /model: small
  - override /target: jetson_orin
  - override /steps: [simplify, quantize, evaluate, compile, benchmark]
  - _self_
name: small_jetson
summary: a small network for a Jetson
steps:
  quantize: {style: tensorrt, calibration: {samples: 16}}
  compile: {parser: never}
  benchmark: {runs: 20, blocks: 6, warmup_runs: 1, max_seconds: 2}
gates: {max_latency_ms: {p50: 1000}, max_accuracy_drop: 1, max_size_mib: 1}
"""


def read_manifest(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return document


def canonical_digest(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def deferred_build(project: Project, *words: str) -> Path:
    """Build the recipe for a Jetson as far as this machine can, and return the folder of the build."""
    project.write("recipes/small_jetson.yaml", RECIPE)
    done = project.run("recipe=small_jetson", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return latest(project)


def latest(project: Project) -> Path:
    """Return the folder of the last build of the recipe for a Jetson."""
    return (project.folder / "outputs" / "small_jetson" / "latest").resolve()


def outputs_of(project: Project, model: Path) -> Any:
    """Return what ONNX Runtime makes of the test samples with a model."""
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    with np.load(project.folder / "samples" / "test.npz") as data:
        samples = data["samples"]
    return np.concatenate([session.run(None, {"image": sample[None]})[0] for sample in samples])


def _entry(data: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


@dataclass
class Sent:
    """A result of a deferred build, to be spoilt before it is written."""

    project: Project
    build: Path
    device: dict[str, Any] = field(default_factory=lambda: dict(ORIN))
    taken_at: str = "2026-11-20T10:00:00+00:00"
    engine: bytes = b"an engine of a Jetson"
    latency_ns: int = 700_000
    failed: tuple[str, ...] = ()
    files: dict[str, bytes] = field(default_factory=dict)
    change: Callable[[dict[str, Any]], None] = lambda _document: None

    def __post_init__(self) -> None:
        manifest = read_manifest(self.build)
        self.portable = {each["name"]: each["portable"] for each in manifest["actions"] if each["portable"]}
        model = self.build / "artifacts" / "quantize" / "model.onnx"
        self.files = {"compile/engine/engine.plan": self.engine, "compile/engine/layers.json": b"[]"}
        self.predictions(outputs_of(self.project, model))
        self._times()

    def predictions(self, outputs: Any, *, split: str = "test") -> None:
        folder = "evaluate@tensorrt/predictions"
        named = {"name": "scores", "role": "output", "dtype": "float32", "shape": list(outputs.shape)}
        about = {"schema": 1, "split": split, "samples": len(outputs)}
        tensors = {**about, "tensors": [{**named, "file": "outputs/0.bin"}]}
        self.files[f"{folder}/tensors.json"] = json.dumps(tensors).encode()
        self.files[f"{folder}/outputs/0.bin"] = outputs.astype("<f4").tobytes()

    def _times(self) -> None:
        subjects = []
        for name, factor in (("candidate", 1), ("baseline", 3)):
            blocks = [[factor * (self.latency_ns + 10 * block + run) for run in range(5)] for block in range(8)]
            words = {"name": name, "runtime": "tensorrt", "runtime_version": self.device["tensorrt"]}
            numbers = {"warmup_ms": 500, "warmup_runs": None, "load_ms": 12.5, "memory_mib": None, "bytes": 21 * factor}
            subjects.append({**words, **numbers, "blocks_ns": blocks})
        more = {"energy_j": None, "energy_method": None, "power_mode": "MAXN", "clocks": "gpu 918 MHz"}
        document = {"subjects": subjects, **more, "temperature_c": 51.5}
        self.files["benchmark/times/times.json"] = json.dumps(document).encode()

    def document(self) -> dict[str, Any]:
        actions = {}
        for name in self.portable:
            files = {path: data for path, data in self.files.items() if path.startswith(f"{name}/")}
            entries = {path.removeprefix(f"{name}/"): _entry(data) for path, data in files.items()}
            done = {"status": "built", "error": None, "seconds": 1.5, "facts": {}, "files": entries}
            actions[name] = (
                done if name not in self.failed else {**done, "status": "failed", "error": "no", "files": {}}
            )
        return {
            "schema": 1,
            "kit": self.kit()["digest"],
            "program": self.kit()["program"],
            "name": "small_jetson",
            "portable": self.portable,
            "device": self.device,
            "host": HOST,
            "taken_at": self.taken_at,
            "actions": actions,
        }

    def kit(self) -> dict[str, str]:
        document: dict[str, str] = json.loads((self.build / "kit" / "kit.json").read_text(encoding="utf-8"))
        return document

    def write(self, path: Path, **extra: bytes) -> Path:
        """Write the archive; `extra` files are in it and result.json knows nothing of them."""
        document = self.document()
        self.change(document)
        sealed = {**document, "digest": canonical_digest(document)}
        named = {f"{name}/{path}" for name, done in document["actions"].items() for path in done["files"]}
        files = {name: data for name, data in self.files.items() if name in named}
        with tarfile.open(path, "w") as tar:
            for name, data in sorted({**files, "result.json": json.dumps(sealed).encode(), **extra}.items()):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        return path
