"""What a recipe's options ask of its target, before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from builder.errors import TargetError
from builder.onnxtools.trt_rules import Finding, Severity
from builder.recipe.place import with_place
from builder.recipe.schema import Recipe
from builder.specs import Target
from builder.targets.facts import Asked

if TYPE_CHECKING:
    from builder.plan.action import Action

__all__ = ["asked_of", "check_options", "refuse_options"]

_TENSORRT = ("tensorrt", "tensorrt_rtx")
# What TensorRT-RTX 1.7.1 can build for. Source: its `ComputeCapability`, and its Support Matrix.
_RTX = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")


def refuse_options(recipes: Sequence[Recipe], graphs: Sequence[Sequence[Action]]) -> None:
    """Raise TargetError, with its place, where an option asks for what the recipe's target cannot do."""
    for recipe, actions in zip(recipes, graphs, strict=True):
        if found := check_options(actions):
            more = f"; and {len(found) - 1} more" if len(found) > 1 else ""
            raise with_place(TargetError(f"{found[0].node}: {found[0].message}{more}", found[0].hint), recipe.overrides)


def check_options(actions: Sequence[Action]) -> list[Finding]:
    """Return the options that ask for what the target cannot do; the `node` of each is the option's name."""
    named = {action.name: action for action in actions}
    found: dict[tuple[str, str], Finding] = {}
    for compiled in _ends(actions):
        rules = _compile(compiled) if compiled.step.name == "compile" else iter(())
        chain = [named[name] for name in _upstream(compiled, named)]
        quantized = (each for action in chain if action.step.name == "quantize" for each in _quantize(action, compiled))
        for finding in (*rules, *quantized):
            found.setdefault((finding.code, finding.node), finding)
    for finding in (each for action in actions for each in _timed(action)):
        found.setdefault((finding.code, finding.node), finding)
    return list(found.values())


def asked_of(actions: Sequence[Action]) -> Asked:
    """Return what the check of the model must know of the recipe's steps."""
    compiled = next((action for action in actions if action.step.name == "compile"), None)
    options = compiled.options if compiled else None
    steps = {action.step.name for action in actions}
    return Asked(
        runtime=_runtime(compiled) if compiled else "",
        folds="simplify" in steps,
        quantizes="quantize" in steps,
        profiles=sorted(getattr(options, "profiles", ())),
        dla_core=getattr(options, "dla_core", None),
        allow_gpu_fallback=bool(getattr(options, "allow_gpu_fallback", False)),
    )


def _ends(actions: Sequence[Action]) -> list[Action]:
    """Return the actions that make what the target runs: each `compile`, else all."""
    return [action for action in actions if action.step.name == "compile"] or list(actions)


def _upstream(action: Action, named: dict[str, Action]) -> set[str]:
    found, left = set[str](), [action.name]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += [source for source, _ in named[name].inputs.values()]
    return found


def _runtime(compiled: Action) -> str:
    return str(compiled.options.runtime or compiled.target.runtime)


def _quantize(action: Action, compiled: Action) -> Iterator[Finding]:
    options: Any = action.options
    target = action.target
    runtime = _runtime(compiled) if compiled.step.name == "compile" else str(target.runtime)
    if "int8" not in target.precisions:
        words = f"{target.name} computes {', '.join(target.precisions)}, not int8"
        yield _error("precision", f"steps.{action.name}", words, f"leave the step out: '~steps.{action.name}'")
    elif runtime in _TENSORRT and options.style.value == "onnxruntime":
        words = (
            f"onnxruntime lays the graph out for ONNX Runtime (uint8, int32 biases), and {target.name} runs {runtime}"
        )
        static = f"steps.{action.name}.mode=static " if options.mode.value == "dynamic" else ""
        hint = f"write {static}steps.{action.name}.style=tensorrt"
        yield _error("style", f"steps.{action.name}.style", words, hint)


def _compile(action: Action) -> Iterator[Finding]:
    options, target, runtime = action.options, action.target, _runtime(action)
    where = f"steps.{action.name}"
    if not _runs(runtime, target):
        words = f"{target.name} runs {target.runtime}, not {runtime}"
        needs_none = target.runtime == "onnxruntime"
        hint = f"leave the step out: '~{where}'" if needs_none else f"write {where}.runtime={target.runtime}"
        yield _error("runtime", f"{where}.runtime", words, hint)
    if runtime == "tensorrt_rtx" and target.compute_capability not in _RTX:
        words = (
            f"TensorRT-RTX builds for {', '.join(_RTX)}; {target.name} is {target.compute_capability or 'no such GPU'}"
        )
        yield _error("runtime", f"{where}.runtime", words, "TensorRT itself may: target.runtime=tensorrt")
    if runtime in _TENSORRT and options.precision.value != "auto":
        words = f"{options.precision.value} is a word for OpenVINO; {runtime} computes as the graph says"
        yield _error("precision", f"{where}.precision", words, f"write {where}.precision=auto, and quantize for int8")
    core = getattr(options, "dla_core", None)
    if core is not None and core >= target.dla_cores:
        has = f"{target.dla_cores} DLA cores, counted from 0" if target.dla_cores else "no DLA"
        nearest = "0" if target.dla_cores else "null"
        words = f"{core} is not there: {target.name} has {has}"
        yield _error("dla", f"{where}.dla_core", words, f"write {where}.dla_core={nearest}")


def _timed(action: Action) -> Iterator[Finding]:
    """Yield what a device's program does not do when it times ONNX Runtime."""
    threads = action.options.threads if action.step.name == "benchmark" else 1
    if action.there and action.target.runtime == "onnxruntime" and threads != 1:
        words = f"{threads} threads cannot be asked for on {action.target.name}: a kit times ONNX Runtime with one"
        option = f"steps.{action.name}.threads"
        yield _error("threads", option, words, f"write {option}=1")


def _runs(runtime: str, target: Target) -> bool:
    """Return whether a target can run what is compiled for a runtime: OpenVINO runs on any processor."""
    if target.runtime in _TENSORRT:
        return runtime in _TENSORRT
    return runtime == target.runtime or (runtime == "openvino" and target.arch in ("any", "x86_64"))


def _error(code: str, option: str, message: str, hint: str) -> Finding:
    return Finding(code, Severity.ERROR, option, message, hint)
