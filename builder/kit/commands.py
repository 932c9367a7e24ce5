"""The commands that do by hand what a kit's program does, for each version of TensorRT that the target may have."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from builder.device.by_package import PACKAGES, OnnxRuntime
from builder.device.fit import version_fits
from builder.device.kit import Given
from builder.device.tensors import nbytes
from builder.device.timing import WARMUP_MS
from builder.device.trt_api import BuildRequest
from builder.device.trtexec import build_command, measure_command, run_command

__all__ = ["commands"]

# Versions between which trtexec's words change, and what is said of each span; the first that a target takes is shown.
_SPANS = {
    ("8.5.2", "8.6.1"): "TensorRT 8 (JetPack 5): flags allow int8 and fp16, the Q/DQ nodes give the scales",
    ("10.3.0", "10.7.0", "10.11.0"): "TensorRT 10.3 to 10.11 (JetPack 6): flags allow int8 and fp16, as in 8",
    ("10.12.0", "10.13.0", "10.16.2"): "TensorRT 10.12 to 10.16 (JetPack 7): types come from the graph, by a flag",
    ("11.0.0", "11.4.1"): "TensorRT 11: types come from the graph",
}
_HEAD = """\
# Finish `{name}` on {target}

    sh resume.sh

checks this kit and the device, builds the engine, runs the samples, takes the time, and leaves a
`{name}-DEVICE.result.tar` beside the kit. It needs python3 (3.8 or later), and {needs}. Take the result home and run
there, in the project's folder:

    python -m builder resume --import {name}-DEVICE.result.tar

By hand, beside this folder, it would be as follows. The program runs every call of `kit/{tensors}`, here it is the
first, and times both engines in turns, in {blocks} blocks of at most so many iterations.
"""


def commands(kit: Mapping[str, Any], folder: Path) -> str:
    """Return COMMANDS.md of a kit, given what kit.json says, and its folder."""
    actions = {each["step"]: each for each in kit["device_actions"]}
    compiled, timed = actions.get("compile"), actions.get("benchmark")
    known = {"name": kit["name"], "target": kit["target"]["name"], "needs": _needs(kit)}
    given = timed["tensors"] if timed else "tensors"
    text = _HEAD.format(**known, tensors=given, blocks=timed["options"]["blocks"] if timed else 0)
    if compiled is None:
        return text.partition("By hand")[0].replace("builds the engine, ", "").rstrip() + "\n"
    blocks = []
    for versions, words in _SPANS.items():
        fitting = [version for version in versions if version_fits(version, kit["target"]["runtime_versions"])]
        if fitting:
            lines = _lines(kit, compiled["options"], timed and timed["options"], folder, given, fitting[0])
            blocks.append("\n".join([f"\n## {words}\n", *(f"    {line}" for line in lines)]))
    return text + "\n".join(blocks) + "\n"


def _needs(kit: Mapping[str, Any]) -> str:
    """Return the runtime that a kit needs, and how to get it."""
    package, version = PACKAGES[kit["target"]["runtime"]], kit["engine"]["version"] if kit["engine"] else ""
    named = package.runtime if version or package is OnnxRuntime else "TensorRT as a Python package or as `trtexec`"
    return f"{named} ({package.install(version)})"


def _lines(
    kit: Mapping[str, Any],
    options: Mapping[str, Any],
    timed: Mapping[str, Any] | None,
    folder: Path,
    given: str,
    version: str,
) -> Iterator[str]:
    """Yield the commands for one version of TensorRT."""
    inputs = Given(folder / given).tensors("input")
    files = {each["name"]: f"{index}.bin" for index, each in enumerate(inputs)}
    for each in inputs:
        yield f"head -c {nbytes(each)} kit/{given}/{each['file']} > {files[each['name']]}"
    if cache := next((folder / "timing_cache").glob("*"), None):
        yield shlex.join(["cp", f"kit/timing_cache/{cache.name}", "candidate.cache"])
    for subject in kit["models"]:
        core = options["dla_core"] if subject == "candidate" else None
        tensors = {"inputs": [{**each, "open": each["name"] in kit["profiles"]} for each in inputs], "dla_core": core}
        request = _request(kit, options, subject)
        yield shlex.join(build_command(request, version, layers=f"{subject}.layers.json"))
        if subject == "candidate":
            yield shlex.join(run_command(request.engine, files, tensors, f"{subject}.outputs.json"))
        if timed is not None:
            how = {"runs": math.ceil(timed["runs"] / timed["blocks"]), "warmup_ms": WARMUP_MS}
            times = f"{subject}.times.json"
            yield shlex.join(measure_command(request.engine, files, tensors, version, times, **how))


def _request(kit: Mapping[str, Any], options: Mapping[str, Any], subject: str) -> BuildRequest:
    model, candidate = kit["models"][subject], subject == "candidate"
    return BuildRequest(
        onnx=f"kit/{model['folder']}/model.onnx",
        engine=f"{subject}.plan",
        workspace_mib=options["workspace_mib"],
        optimization_level=options["optimization_level"],
        int8="int8" in model["precisions"],
        fp16="fp16" in model["precisions"],
        profiles=kit["profiles"],
        timing_cache_out=f"{subject}.cache",
        dla_core=options["dla_core"] if candidate else None,
        allow_gpu_fallback=candidate and options["allow_gpu_fallback"],
    )
