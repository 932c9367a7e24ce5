"""What a step says of its bytes is true on other processors too: one recipe, built natively and on an emulated one.

The emulated processor has none of the wide instructions by which numerical libraries choose their kernels.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from projects import Project, write_small

from builder.processor import instruction_set

QEMU = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
PROCESSOR, CLASS = "Nehalem", "sse4"
TIMEOUT_S = 240

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(QEMU is None, reason="qemu-user is not installed"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason=f"a {PROCESSOR} is emulated on x86-64"),
    pytest.mark.skipif(instruction_set() == CLASS, reason="this processor is of the emulated one's class"),
]

# Says where it ran, and hands the model on.
WHERE = """
from __future__ import annotations
from dataclasses import dataclass
from builder.processor import instruction_set
from builder.step import Job, Kind, Result, step

@dataclass
class Options:
    pass

@step(options=Options, rank=10, inputs={"model": Kind.ONNX}, outputs={"model": Kind.ONNX})
def where(options: Options, job: Job) -> Result:
    import shutil
    shutil.copy(job.inputs["model"] / "model.onnx", job.folder("model") / "model.onnx")
    return Result({"ran on": instruction_set()})
"""
RECIPE = """\
# @package _global_
defaults:
  - /steps@steps.tensorrt: quantize
  - /steps@steps.weights: quantize
  - /steps@steps.exact: quantize
  - /steps@steps.exact_tensorrt: quantize
  - override /model: {model}
  - override /steps: [where, simplify, quantize, evaluate]
  - _self_
name: network
summary: a network in every way that it can be quantized
steps:
  quantize: {{calibration: {{samples: 16}}}}
  tensorrt: {{style: tensorrt, calibration: {{method: entropy, samples: 16}}}}
  weights: {{mode: dynamic, inputs: {{model: where}}}}
  exact: {{calibration: {{samples: 16, kernels: exact}}, inputs: {{model: where}}}}
  exact_tensorrt:
    style: tensorrt
    calibration: {{method: entropy, samples: 16, kernels: exact}}
    inputs: {{model: where}}
  evaluate: {{samples: 16, inputs: {{model: quantize}}}}
"""


def emulate(project: Project) -> None:
    """Write the interpreter that runs on the emulated processor; a builder starts its workers with its own."""
    text = f'#!/bin/sh\nexec {QEMU} -cpu {PROCESSOR} {sys.executable} "$@"\n'
    project.write("emulated/python", text).chmod(0o755)


def build(project: Project, *, emulated: bool = False) -> dict[str, dict[str, Any]]:
    """Return name -> action of the manifest; `parts` are those of its key, from the project's store."""
    command = [sys.executable, "-m", "builder"]
    if emulated:
        python = str(project.folder / "emulated" / "python")
        start = f"import sys; sys.executable = {python!r}; from builder.__main__ import main; main()"
        command = [python, "-c", start]
    done = subprocess.run(
        [*command, "recipe=network", "output=json"],
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    actions = {action["name"]: action for action in json.loads(done.stdout)["actions"]}
    for action in actions.values():
        (result,) = (project.store / "ac").glob(f"*/{action['key']}/*.json")
        action["parts"] = json.loads(result.read_bytes())["record"]["parts"]
    return actions


@pytest.mark.invariant(7)
@pytest.mark.parametrize("model", ["small", "fashion_mobilenet"])
def test_bytes_are_equal_on_another_processor_or_else_it_is_in_the_key(
    make_project: Callable[[str], Project], model: str
) -> None:
    here, there = (write_small(make_project(name)) for name in ("here", "there"))
    for project in (here, there):
        project.add_steps(where=WHERE)
        project.write("recipes/network.yaml", RECIPE.format(model=model))
    emulate(there)

    native, emulated = build(here), build(there, emulated=True)
    assert (native["where"]["facts"], emulated["where"]["facts"]) == ({"ran on": instruction_set()}, {"ran on": CLASS})
    classes = {action["reproducible"] for action in native.values()}
    assert classes == {"bitwise", "per_cpu"}
    for name, action in native.items():
        compare(action, emulated[name])

    moved = build(there)  # the emulated processor's store, on this one
    for name, action in native.items():
        assert moved[name]["status"] == ("cached" if action["reproducible"] == "bitwise" else "built")
        assert digests(moved[name]) == digests(action)


def compare(native: dict[str, Any], emulated: dict[str, Any]) -> None:
    equal = digests(native) == digests(emulated)
    print(f"{native['name']:12} {native['reproducible']:8} {'equal' if equal else 'other'} bytes")
    if native["reproducible"] == "bitwise":
        assert equal, f"{native['name']} states equal bytes everywhere"
        assert native["key"] == emulated["key"]
        assert "instruction_set" not in native["parts"]
    else:
        assert native["key"] != emulated["key"]
        assert native["parts"]["instruction_set"] == instruction_set()
        assert emulated["parts"]["instruction_set"] == CLASS


def digests(action: dict[str, Any]) -> dict[str, str]:
    return {port: output["sha256"] for port, output in action["outputs"].items()}
