"""What a step's author promised, checked before a result counts; the messages tell the author the fix."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from builder.errors import ModelError, StepError
from builder.step import Kind, Step

__all__ = ["check_outputs"]

_FILES = {
    Kind.ONNX: "model.onnx",
    Kind.ADDRESS: "address.json",
    Kind.ENGINE: "engine.plan",
    Kind.OPENVINO: "model.xml",
    Kind.TENSORS: "tensors.json",
    Kind.EVALUATION: "evaluation.json",
    Kind.MEASUREMENT: "measurement.json",
    Kind.SECTION: "section.json",
    Kind.CHECK: "check.json",
    Kind.CONVERSION: "conversion.json",
    Kind.PARSER: "parser.json",
    Kind.SAMPLES: "outputs.npz",
}


def check_outputs(step: Step, output: Path, *, deferred: bool) -> None:
    """Raise StepError or ModelError unless every promised port is there, loads, and holds no path of this machine."""
    promised = {} if deferred else step.outputs
    made = {entry.name for entry in output.iterdir()}
    for port in made - set(step.outputs):
        raise StepError(
            f"{step.name} wrote a port '{port}' that it does not declare", f"add it to outputs= of {step.name}"
        )
    for port, kind in promised.items():
        name = _FILES.get(kind)
        if port not in made or (name and not (output / port / name).is_file()):
            raise StepError(f"{step.name} did not write {port}/{name or ''}", f"use job.folder('{port}')")
        if kind is Kind.TOOLCHAIN:
            continue
        if kind is Kind.ONNX and find_spec("onnxruntime"):  # in other toolchains the next action finds out
            _check_loads(step, output / port / "model.onnx")
        _check_no_paths(step, output / port)


def _check_loads(step: Step, model: Path) -> None:
    from builder.runtimes.onnxruntime import Session

    try:
        Session(model)
    except ModelError as error:
        hint = error.hint if step.name == "source" else f"{step.name} made a model that does not load"
        raise ModelError(error.message, hint) from error


def _check_no_paths(step: Step, folder: Path) -> None:
    """Refuse outputs that hold the private folder's name: two builds of it could not be equal."""
    needle = str(folder.parents[2]).encode()  # of inputs, outputs and temporary files alike
    for file in folder.rglob("*"):
        if file.is_file() and _contains(file, needle):
            raise StepError(
                f"{step.name}: {file.relative_to(folder.parent)} holds the path of its folder",
                "write names without folders, so that the bytes are equal everywhere",
            )


def _contains(file: Path, needle: bytes) -> bool:
    tail = b""
    with file.open("rb") as reader:
        while chunk := reader.read(1 << 20):
            if needle in tail + chunk:
                return True
            tail = chunk[-len(needle) :]
    return False
