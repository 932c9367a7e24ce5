"""Builds engines on the device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from builder.device.calls import compare, run_calls
from builder.device.files import remove
from builder.device.trt_api import NAMES, BuildRequest
from builder.device.work import Work

__all__ = ["build_engine", "check_engine", "compile_engine"]

_CHECKED = 8  # calls that are compared before an engine counts


def compile_engine(work: Work, name: str, part: Path) -> dict[str, Any]:
    """Build the model's engine, and compare it with what ONNX Runtime made at home. Raises Failed."""
    facts = build_engine(work, "candidate", part / "engine")
    return {**facts, **check_engine(work, name, (part / "engine" / work.driver.artifact).resolve(), part)}


def check_engine(work: Work, name: str, engine: Path, part: Path) -> dict[str, Any]:
    """Run an engine on some samples, and compare it with what ONNX Runtime made at home. Raises Failed."""
    calls, count = part / "calls", min(_CHECKED, work.given.calls)
    work.say(f"{name}: the engine is built; runs it on {count} samples to compare")
    calls.mkdir()
    run_calls(work, engine, calls, count, lambda _done: None)
    near = compare(work, calls)
    remove(calls)
    return {**near, "compared": count}


def build_engine(work: Work, subject: str, folder: Path) -> dict[str, Any]:
    """Build the engine of one of the kit's two models into a folder. Raises Failed."""
    kit, candidate, runtime = work.kit, subject == "candidate", work.driver.runtime
    options, model = kit.build_options, kit.models[subject]
    assert options is not None, "this kit's models run as they are"
    said = f"builds the {subject}'s engine with {NAMES[runtime]} {work.driver.version}; this takes minutes"
    work.say(f"{kit.compiled}: {said}" if kit.compiled else said)
    folder.mkdir(parents=True)
    caches = sorted((kit.folder / "timing_cache").glob("*")) if candidate else []
    request = BuildRequest(
        onnx=str((kit.folder / model["folder"] / "model.onnx").resolve()),
        engine=str((folder / work.driver.artifact).resolve()),
        runtime=runtime,
        workspace_mib=options["workspace_mib"],
        optimization_level=options["optimization_level"],
        int8="int8" in model["precisions"],
        fp16="fp16" in model["precisions"],
        profiles=kit.profiles,
        compute_capabilities=tuple(filter(None, [kit.target["compute_capability"]])),
        timing_cache=str(caches[0].resolve()) if caches else "",
        timing_cache_out=str((folder / "timing.cache").resolve()),
        dla_core=options.get("dla_core") if candidate else None,
        allow_gpu_fallback=candidate and options.get("allow_gpu_fallback", False),
    )
    return work.driver.build(request, (folder / "layers.json").resolve(), work.log(subject))
