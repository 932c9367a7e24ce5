"""The shapes that an engine is built for: a profile for each input that a model leaves open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from builder.errors import StepError, did_you_mean
from builder.onnxtools.trt_rules import Finding, Severity
from builder.override import override

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnx import ValueInfoProto as ValueInfo

    Axes = Sequence[int | str] | None  # an open axis is its name, or '?'; None: any number of axes
    Profile = Mapping[str, Sequence[int]]

__all__ = ["check_profiles", "find_profiles", "in_words"]

_ENDS = ("min", "opt", "max")
_refused = partial(Finding, "shape", Severity.ERROR)


def find_profiles(
    model: ModelProto, given: Mapping[str, Profile], shapes: Mapping[str, Sequence[int]]
) -> dict[str, dict[str, list[int]]]:
    """Return {min, opt, max} for each input of a model that has open axes.

    It is the recipe's profile (`given`), else the model's declared shape, else batch 1 where only the first axis is
    open: that is the batch, as everywhere here. Raises StepError with the first of what `check_profiles` finds.
    """
    for finding in check_profiles(model, given, shapes):
        raise StepError(f"{finding.node}: {finding.message}", finding.hint)
    found = {}
    for name, axes in _inputs(model).items():
        if name in given and _is_open(axes):
            found[name] = {end: [*given[name][end]] for end in _ENDS}
        elif _is_open(axes):
            found[name] = dict.fromkeys(_ENDS, [*shapes[name]] if name in shapes else _example(axes))
    return found


def check_profiles(
    model: ModelProto, given: Mapping[str, Profile], shapes: Mapping[str, Sequence[int]], step: str = "compile"
) -> Iterator[Finding]:
    """Yield what keeps an engine from being built: profiles that do not fit the model, and axes that nothing closes.

    `given` are the profiles of the recipe's step of that name ('': there is none), `shapes` are `model.shapes`.
    """
    inputs, where = _inputs(model), f"steps.{step}.profiles"
    for name in sorted({*given} - {*inputs}):
        yield _refused(f"{where}.{name}", f"the model has no input '{name}'", did_you_mean(name, inputs))
    for name, axes in inputs.items():
        if name in given:
            yield from _check_given(where, name, axes, given[name])
        elif _is_open(axes) and name in shapes:
            if wrong := _misfit(axes, shapes[name]):
                hint = f"write {override('model.shapes', name, _example(axes, shapes[name]))}"
                yield _refused(name, f"model.shapes says {[*shapes[name]]}, {wrong}", hint)
        elif axes is None or any(isinstance(size, str) for size in axes[1:]):
            example = _example(axes)
            limits = f", or limits: {override(where, name, dict.fromkeys(_ENDS, example))}" if step else ""
            hint = f"say one: {override('model.shapes', name, example)}{limits}"
            yield _refused(name, f"the input is {_open_words(axes)}; an engine is built for shapes that are said", hint)


def in_words(profiles: Mapping[str, Mapping[str, Sequence[int]]]) -> str:
    """Return 'image 1x3x224x224', or 'image 1x3x224x224 to 8x3x224x224' where an axis stays open."""
    said = []
    for name, profile in profiles.items():
        low, high = ("x".join(map(str, profile[end])) for end in ("min", "max"))
        said.append(f"{name} {low}" if low == high else f"{name} {low} to {high}")
    return ", ".join(said)


def _check_given(where: str, name: str, axes: Axes, profile: Profile) -> Iterator[Finding]:
    wrong = next((f"{end} is {[*profile[end]]}, {why}" for end in _ENDS if (why := _misfit(axes, profile[end]))), "")
    if wrong:
        nearest = {end: _example(axes, profile[end]) for end in _ENDS}
        yield _refused(f"{where}.{name}", wrong, f"write {override(where, name, nearest)}")


def _inputs(model: ModelProto) -> dict[str, Axes]:
    """Return the axes of each input, but those that are weights with a name (IR version 3)."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return {value.name: _axes(value) for value in model.graph.input if value.name not in weights}


def _axes(value: ValueInfo) -> Axes:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return [axis.dim_value if axis.dim_value > 0 else axis.dim_param or "?" for axis in tensor.shape.dim]


def _is_open(axes: Axes) -> bool:
    return axes is None or any(isinstance(size, str) for size in axes)


def _open_words(axes: Axes) -> str:
    if axes is None:
        return "of any shape"
    named = [f"axis {index}" if size == "?" else str(size) for index, size in enumerate(axes) if isinstance(size, str)]
    return f"open in {' and '.join(named if isinstance(axes[0], int) else named[1:])}"


def _example(axes: Axes, wanted: Sequence[int] = ()) -> list[int]:
    """Return the shape nearest to the wanted one that an input takes."""
    if axes is None:
        return [max(1, size) for size in wanted] or [1]
    lengths = [max(1, size) for size in wanted] if len(wanted) == len(axes) else [1] * len(axes)
    return [length if isinstance(size, str) else size for size, length in zip(axes, lengths, strict=True)]


def _misfit(axes: Axes, wanted: Sequence[int]) -> str:
    """Say why an input does not take a shape; '' where it does."""
    if empty := next((f"axis {index} has no length" for index, size in enumerate(wanted) if size < 1), ""):
        return empty
    words = f"and the input is [{', '.join(map(str, axes or ()))}]"
    if axes is None:
        return ""
    if len(axes) != len(wanted):
        return f"{words}: {len(axes)} axes, not {len(wanted)}"
    pairs = enumerate(zip(axes, wanted, strict=True))
    wrong = next((index for index, (size, want) in pairs if isinstance(size, int) and size != want), None)
    return "" if wrong is None else f"{words}: axis {wrong} is {axes[wrong]} and not open"
