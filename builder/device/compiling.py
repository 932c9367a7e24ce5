"""Builds engines on the device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from builder.device.calls import compare, run_calls
from builder.device.files import remove
from builder.device.trt_api import BuildRequest
from builder.device.work import Work

__all__ = ["build_engine", "compile_engine"]

_CHECKED = 8  # calls that are compared before an engine counts


def compile_engine(work: Work, name: str, part: Path) -> dict[str, Any]:
    """Build the model's engine, and compare it with what ONNX Runtime made at home. Raises Failed."""
    facts = build_engine(work, "candidate", part / "engine")
    calls, count = part / "calls", min(_CHECKED, work.given.calls)
    work.say(f"{name}: the engine is built; runs it on {count} samples to compare")
    calls.mkdir()
    run_calls(work, (part / "engine" / work.driver.artifact).resolve(), calls, count, lambda _done: None)
    near = compare(work, calls)
    remove(calls)
    return {**facts, **near, "compared": count}


def build_engine(work: Work, subject: str, folder: Path) -> dict[str, Any]:
    """Build the engine of one of the kit's two models into a folder. Raises Failed."""
    kit, candidate = work.kit, subject == "candidate"
    options, model = kit.action(kit.compiled)["options"], kit.models[subject]
    work.say(f"{kit.compiled}: builds the {subject}'s engine with TensorRT {work.driver.version}; this takes minutes")
    folder.mkdir(parents=True)
    caches = sorted((kit.folder / "timing_cache").glob("*")) if candidate else []
    request = BuildRequest(
        onnx=str((kit.folder / model["folder"] / "model.onnx").resolve()),
        engine=str((folder / work.driver.artifact).resolve()),
        workspace_mib=options["workspace_mib"],
        optimization_level=options["optimization_level"],
        int8="int8" in model["precisions"],
        fp16="fp16" in model["precisions"],
        profiles=kit.profiles,
        timing_cache=str(caches[0].resolve()) if caches else "",
        timing_cache_out=str((folder / "timing.cache").resolve()),
        dla_core=options.get("dla_core") if candidate else None,
        allow_gpu_fallback=candidate and options.get("allow_gpu_fallback", False),
    )
    return work.driver.build(request, (folder / "layers.json").resolve(), work.log(subject))
