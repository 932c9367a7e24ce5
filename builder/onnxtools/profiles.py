"""The shapes that an engine is built for: a profile for each input that a model leaves open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from builder.errors import StepError, did_you_mean

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnx import ValueInfoProto as ValueInfo

__all__ = ["find_profiles", "in_words"]

_ENDS = ("min", "opt", "max")


def find_profiles(
    model: ModelProto, given: Mapping[str, Mapping[str, Sequence[int]]], shapes: Mapping[str, Sequence[int]]
) -> dict[str, dict[str, list[int]]]:
    """Return {min, opt, max} for each input of a model that has open axes.

    It is the recipe's profile (`given`), else the model's declared shape, else batch 1 where only the first axis is
    open: that is the batch, as everywhere here. Raises StepError, with the input's name, where another axis is open
    and nothing says how long it is, and where what is given does not fit the model.
    """
    declared = {value.name: _shape(value) for value in _inputs(model)}
    for name in given:
        if name not in declared:
            raise StepError(
                f"steps.compile.profiles: the model has no input '{name}'", did_you_mean(name, sorted(declared))
            )
    found = {}
    for name, shape in declared.items():
        if name in given:
            found[name] = {end: [*given[name][end]] for end in _ENDS}
        elif None in shape:
            fixed = [*shapes[name]] if name in shapes else _batch_of_one(name, shape)
            found[name] = dict.fromkeys(_ENDS, fixed)
        for end in found.get(name, {}):
            _check_fits(name, shape, found[name][end])
    return {name: profile for name, profile in found.items() if None in declared[name]}


def in_words(profiles: Mapping[str, Mapping[str, Sequence[int]]]) -> str:
    """Return 'image 1x3x224x224', or 'image 1x3x224x224 to 8x3x224x224' where an axis stays open."""
    said = []
    for name, profile in profiles.items():
        low, high = ("x".join(map(str, profile[end])) for end in ("min", "max"))
        said.append(f"{name} {low}" if low == high else f"{name} {low} to {high}")
    return ", ".join(said)


def _inputs(model: ModelProto) -> list[ValueInfo]:
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def _shape(value: ValueInfo) -> list[int | None]:
    sizes = value.type.tensor_type.shape.dim
    return [size.dim_value if size.HasField("dim_value") and size.dim_value > 0 else None for size in sizes]


def _batch_of_one(name: str, shape: Sequence[int | None]) -> list[int]:
    if None in shape[1:]:
        words = ", ".join("?" if size is None else str(size) for size in shape)
        example = [size or 1 for size in shape]
        raise StepError(
            f"input '{name}' is [{words}]: an engine needs to know how long its open axes are",
            f"write in the recipe: steps: {{compile: {{profiles: {{{name}: {{min: {example}, opt: {example}, max: "
            f"{example}}}}}}}}}",
        )
    return [size or 1 for size in shape]


def _check_fits(name: str, shape: Sequence[int | None], wanted: Sequence[int]) -> None:
    words = ", ".join("?" if size is None else str(size) for size in shape)
    if len(shape) != len(wanted) or any(size not in (None, want) for size, want in zip(shape, wanted, strict=True)):
        raise StepError(f"input '{name}' is [{words}] in the model, and {list(wanted)} does not fit it")
