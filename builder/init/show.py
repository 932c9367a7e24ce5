"""What `init` says: what it saw, what it decided, what it wrote, and what to do next."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from builder.init.data import Found
from builder.init.decide import Decision
from builder.init.model import Inspected
from builder.init.render import describe_data, size, visible_text
from builder.report.terminal import paint

__all__ = ["show_data", "show_decision", "show_model", "show_next"]


def show_model(model: Inspected) -> None:
    """Print what the model is."""
    import onnxruntime

    _line("model", f"{model.path}: {size(model.bytes)}, opset {model.opset}, {model.nodes} nodes")
    for tensor in model.inputs:
        _line("", f"input {tensor.name} {tensor.words}")
    for tensor in model.outputs:
        _line("", f"output {tensor.name} {tensor.words}")
    _line("", f"loads in ONNX Runtime {onnxruntime.__version__}")


def show_data(found: Found) -> None:
    """Print what the data is."""
    _line("data", f"{found.root}: {describe_data(found)}")


def show_decision(decision: Decision) -> None:
    """Print what was decided."""
    _line("task", f"{decision.meaning.task.value}: {decision.meaning.why}")
    if decision.tried:
        _line("scaling", f"tried on {decision.looked} labelled samples, the float model was right with")
        for name, accuracy in decision.tried.items():
            _line("", f"{100 * accuracy:5.1f} %  {name}{'  <- chosen' if name == decision.scaling.words else ''}")
    else:
        _line("scaling", decision.scaling.words + (", a guess" if decision.others else ""))


def show_next(name: str, files: Iterable[Path], decision: Decision) -> None:
    """Print the files, what to look at in them, and the commands that build."""
    for path in files:
        _line(paint(f"{'wrote':8}", "green", sys.stdout), str(path))
    for place, what in _checks(name, decision):
        _line(paint(f"{'check':8}", "yellow", sys.stdout), f"{place}: {what}")
    if decision.roles.unfilled:
        names = ", ".join(tensor.name for tensor in decision.roles.unfilled)
        _line(paint(f"{'fill in':8}", "red", sys.stdout), f"conf/model/{name}.yaml: what {names} gets, under constants")
    print(f"\nnext{', when that is done' if decision.roles.unfilled else ''}")
    print(f"  python -m builder recipe={name}")
    print(f"  python -m builder recipe={name}_jetson")


def _checks(name: str, decision: Decision) -> Iterable[tuple[str, str]]:
    data = f"conf/data/{name}.yaml"
    if decision.guessing:
        yield data, "the float model is right no more often than by chance; scaling or classes are wrong"
    elif decision.others:
        yield data, "the scaling of pixels is that of the training"
    if decision.meaning.labelled and decision.data.classes:
        yield data, "the classes are in the order of the model's scores"
    if decision.roles.state:
        yield f"conf/model/{name}.yaml", "the state"
    if decision.test < 100:
        yield data, f"only about {decision.test} samples to test on, which says little"


def _line(word: str, text: str) -> None:
    print(f"{word:8}  {visible_text(text)}")
