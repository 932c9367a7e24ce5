"""What a recipe's options ask of its target, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from builder.errors import RecipeError, TargetError
from builder.onnxtools.trt_rules import Finding, Severity
from builder.plan.asked import runtime_of
from builder.recipe.place import with_place
from builder.recipe.schema import Recipe
from builder.runtimes.find import named
from builder.specs import Runtime, Target
from builder.typed import to_plain

if TYPE_CHECKING:
    from builder.plan.action import Action

__all__ = ["check_options", "refusal", "refuse_options"]


def refuse_options(
    recipes: Sequence[Recipe], graphs: Sequence[Sequence[Action]], note: Callable[[str], None] = lambda _: None
) -> None:
    """Raise TargetError, with its place, where an option asks for what the recipe's target cannot do.

    `note` is told, once, of each option that makes no difference there.
    """
    told: dict[str, None] = {}
    for recipe, actions in zip(recipes, graphs, strict=True):
        findings = check_options(actions)
        if found := [each for each in findings if each.severity is Severity.ERROR]:
            more = f"; and {len(found) - 1} more" if len(found) > 1 else ""
            raise with_place(TargetError(f"{found[0].node}: {found[0].message}{more}", found[0].hint), recipe.overrides)
        told |= dict.fromkeys(f"{each.node}: {each.message}" for each in findings)
    for words in told:
        note(words)


def refusal(recipe: Recipe) -> RecipeError | None:
    """Return why a recipe cannot be planned for its target, if it cannot."""
    from builder.plan.graph import graph

    try:
        refuse_options([recipe], [graph(recipe)])
    except RecipeError as error:
        return error
    return None


def check_options(actions: Sequence[Action]) -> list[Finding]:
    """Return the options that ask for what the target cannot do, or that are no matter there, as a warning.

    The `node` of each is the option's name.
    """
    named = {action.name: action for action in actions}
    found: dict[tuple[str, str], Finding] = {}
    for compiled in _ends(actions):
        rules = _compile(compiled) if compiled.step.name == "compile" else iter(())
        chain = [named[name] for name in _upstream(compiled, named)]
        quantized = (each for action in chain if action.step.name == "quantize" for each in _quantize(action, compiled))
        for finding in (*rules, *quantized):
            found.setdefault((finding.code, finding.node), finding)
    has_data = any(action.data for action in actions)
    timed = ((action, named.get(action.inputs.get("model", ("",))[0])) for action in actions)
    for finding in (each for action, source in timed for each in _timed(action, _engine(source), has_data=has_data)):
        found.setdefault((finding.code, finding.node), finding)
    return list(found.values())


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


def _quantize(action: Action, compiled: Action) -> Iterator[Finding]:
    options: Any = action.options
    target = action.target
    runtime = runtime_of(compiled) if compiled.step.name == "compile" else str(target.runtime)
    if "int8" not in target.precisions:
        words = f"{target.name} computes {', '.join(target.precisions)}, not int8"
        yield _error("precision", f"steps.{action.name}", words, f"leave the step out: '~steps.{action.name}'")
    elif _is_engine(runtime) and options.style.value == "onnxruntime":
        words = (
            f"onnxruntime lays the graph out for ONNX Runtime (uint8, int32 biases), and {target.name} runs {runtime}"
        )
        static = f"steps.{action.name}.mode=static " if options.mode.value == "dynamic" else ""
        hint = f"write {static}steps.{action.name}.style=tensorrt"
        yield _error("style", f"steps.{action.name}.style", words, hint)


def _compile(action: Action) -> Iterator[Finding]:
    from builder.compilers.tensorrt_rtx import BUILDS_FOR

    options, target, runtime = action.options, action.target, runtime_of(action)
    where = f"steps.{action.name}"
    if not _runs(runtime, target):
        words = f"{target.name} runs {target.runtime}, not {runtime}"
        needs_none = target.runtime == Runtime.ONNXRUNTIME
        hint = f"leave the step out: '~{where}'" if needs_none else f"write {where}.runtime={target.runtime}"
        yield _error("runtime", f"{where}.runtime", words, hint)
    if runtime == Runtime.TENSORRT_RTX and target.compute_capability not in BUILDS_FOR:
        able, has = ", ".join(BUILDS_FOR), target.compute_capability or "no such GPU"
        words = f"TensorRT-RTX builds for {able}; {target.name} is {has}"
        yield _error("runtime", f"{where}.runtime", words, "TensorRT itself may: target.runtime=tensorrt")
    if _is_engine(runtime) and options.precision.value != "auto":
        words = f"{options.precision.value} is a word for OpenVINO; {runtime} computes as the graph says"
        yield _error("precision", f"{where}.precision", words, f"write {where}.precision=auto, and quantize for int8")
    room = target.memory_mib
    if _is_engine(runtime) and room is not None and options.workspace_mib > room:
        words = f"{options.workspace_mib:,} MiB of scratch memory, and {target.name} has {room:,} MiB for everything"
        yield _error("memory", f"{where}.workspace_mib", words, f"write {where}.workspace_mib={max(1, room // 2)}")
    core = getattr(options, "dla_core", None)
    if core is not None and core >= target.dla_cores:
        has = f"{target.dla_cores} DLA cores, counted from 0" if target.dla_cores else "no DLA"
        nearest = "0" if target.dla_cores else "null"
        words = f"{core} is not there: {target.name} has {has}"
        yield _error("dla", f"{where}.dla_core", words, f"write {where}.dla_core={nearest}")


def _engine(source: Action | None) -> Action | None:
    return source if source is not None and source.makes_engine else None


def _timed(action: Action, engine: Action | None, *, has_data: bool) -> Iterator[Finding]:
    """Yield what a device's program does not do when it times a model."""
    if action.step.name != "benchmark" or not action.there:
        return
    options, target, where = action.options, action.target.name, f"steps.{action.name}"
    if action.target.runtime == Runtime.ONNXRUNTIME and options.threads != 1:
        words = f"{options.threads} threads cannot be asked for on {target}: a kit times ONNX Runtime with one"
        yield _error("threads", f"{where}.threads", words, f"write {where}.threads=1")
    if _is_engine(action.target.runtime) and options.threads != 1:
        words = f"{options.threads} threads are for the measurement on this host; what runs on {target}'s GPU has none"
        hint = f"write {where}.threads=1, or leave it: {target} is timed all the same"
        yield Finding("threads", Severity.WARNING, f"{where}.threads", words, hint)
    if action.target.runtime == Runtime.ONNXRUNTIME and options.device.value != "cpu":
        words = f"{options.device.value} cannot be asked for on {target}: a kit times ONNX Runtime on the processor"
        yield _error("device", f"{where}.device", words, f"write {where}.device=cpu")
    if options.seed and has_data:
        words = f"{options.seed} makes no difference on {target}: a kit times real samples, not random inputs"
        yield _error("seed", f"{where}.seed", words, f"write {where}.seed=0")
    taken = _batches(action, engine)
    if options.batch not in taken:
        words = f"{options.batch} cannot be asked for on {target}: what is timed there takes a batch of {_any(taken)}"
        option = f"steps.{engine.name}.profiles" if engine else ""
        wider = f", or give the engine a profile whose opt is of that batch: {option}" if engine else ""
        yield _error("batch", f"{where}.batch", words, f"write {where}.batch={min(taken)}{wider}")


def _batches(action: Action, engine: Action | None) -> set[int]:
    """Return the batches that a device can time: an engine's is that of its profile, which `batch: 1` stands for."""
    if engine is None:
        return {1} if action.model.state else {1, action.options.batch}
    profiles = to_plain(engine.options.profiles)
    shapes = {**action.model.shapes, **{name: profile["opt"] for name, profile in profiles.items()}}
    free = (shape for name, shape in shapes.items() if name not in action.model.constants)
    return {1, *(shape[0] for shape in free if shape)}


def _any(numbers: Iterable[int]) -> str:
    return " or ".join(map(str, sorted(numbers)))


def _runs(runtime: str, target: Target) -> bool:
    """Return whether a target can run what is compiled for a runtime: OpenVINO runs on any processor."""
    if _is_engine(target.runtime):
        return _is_engine(runtime)
    return runtime == target.runtime or (runtime == Runtime.OPENVINO and target.arch in ("any", "x86_64"))


def _is_engine(runtime: str) -> bool:
    """Return whether what a runtime loads is built for one kind of GPU."""
    found = named(runtime)
    return found is not None and found.ENGINES


def _error(code: str, option: str, message: str, hint: str) -> Finding:
    return Finding(code, Severity.ERROR, option, message, hint)
