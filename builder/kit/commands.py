"""The commands that do by hand what a kit's program does, for each version of TensorRT that the target may have."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from builder.device.machine import version_fits
from builder.device.trt_api import BuildRequest
from builder.device.trtexec import build_command, measure_command

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
`{name}-DEVICE.result.tar` beside the kit. It needs python3 (3.8 or later), and TensorRT as a Python package or as
`trtexec`. Take the result home and run there, in the project's folder:

    python -m builder resume --import {name}-DEVICE.result.tar

By hand, in this folder, it would be:
"""


def commands(kit: Mapping[str, Any]) -> str:
    """Return COMMANDS.md of a kit, given what kit.json says."""
    compiled = next((each for each in kit["device_actions"] if each["step"] == "compile"), None)
    text = _HEAD.format(name=kit["name"], target=kit["target"]["name"])
    if compiled is None:
        return text.partition("By hand")[0].replace("builds the engine, ", "").rstrip() + "\n"
    blocks = []
    for versions, words in _SPANS.items():
        fitting = [version for version in versions if version_fits(version, kit["target"]["runtime_versions"])]
        if fitting:
            lines = map(shlex.join, _commands(kit, compiled["options"], fitting[0]))
            blocks.append("\n".join([f"\n## {words}\n", *(f"    {line}" for line in lines)]))
    return text + "\n".join(blocks) + "\n"


def _commands(kit: Mapping[str, Any], options: Mapping[str, Any], version: str) -> list[list[str]]:
    shapes = {name: profile["opt"] for name, profile in kit["profiles"].items()}
    found = []
    for subject, model in kit["models"].items():
        candidate = subject == "candidate"
        request = BuildRequest(
            onnx=f"{model['folder']}/model.onnx",
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
        found += [build_command(request, version), measure_command(request.engine, shapes, version, f"{subject}.json")]
    return found
