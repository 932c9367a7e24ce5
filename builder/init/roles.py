"""Which input of a model takes the samples, which carry state, and which somebody must fill in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from builder.errors import ModelError
from builder.init.data import Found
from builder.init.model import Inspected
from builder.runtimes.interface import Tensor

__all__ = ["Roles", "assign"]

_TIME = re.compile(r"^(in|out|past|present|prev|next)[_.]|[_.]?(in|out|input|output|new|next|n|\d+)$")  # h0 and hn


@dataclass(frozen=True)
class Roles:
    """`tensor` takes the samples; it is None where samples bring an array for every input."""

    tensor: Tensor | None
    input: str = ""  # what data.input says: empty where there is nothing to choose
    state: dict[str, str] = field(default_factory=dict)
    unfilled: tuple[Tensor, ...] = ()


def assign(model: Inspected, found: Found) -> Roles:
    """Tell the roles of a model's inputs. Raises ModelError where none of them can take the samples."""
    value = found.first.value
    if isinstance(value, dict):
        _check_names(model, value)
        return Roles(None)
    if len(model.inputs) == 1:
        return Roles(model.inputs[0])
    state = _state(model)
    free = [tensor for tensor in model.inputs if tensor.name not in state]
    rank = max((len(tensor.shape) for tensor in free), default=0)
    largest = [tensor for tensor in free if len(tensor.shape) == rank]
    if len(largest) != 1 or rank < min(value.ndim, 3):
        listed = ", ".join(f"{tensor.name} {tensor.words}" for tensor in model.inputs)
        raise ModelError(
            f"{model.path} has {len(model.inputs)} inputs, and it cannot be told which takes the samples: {listed}",
            "give an .npz with one array for each input, by its name",
        )
    unfilled = tuple(tensor for tensor in free if tensor is not largest[0])
    return Roles(largest[0], largest[0].name, state=state, unfilled=unfilled)


def _check_names(model: Inspected, arrays: Iterable[str]) -> None:
    wanted, given = [tensor.name for tensor in model.inputs], sorted(arrays)
    if sorted(wanted) != given:
        raise ModelError(
            f"the data has the arrays {', '.join(given)}, the model takes {', '.join(wanted)}",
            "name the arrays after the model's inputs; one called 'samples' is for a model of one input",
        )


def _state(model: Inspected) -> dict[str, str]:
    """Return each input that one output looks made for: of the same type and shape, and of its name but for the end."""
    pairs: dict[str, str] = {}
    for tensor in model.inputs:
        mates = [output.name for output in model.outputs[1:] if _alike(tensor, output) and _named(tensor, output)]
        if len(mates) == 1:
            pairs[tensor.name] = mates[0]
    return pairs if len(set(pairs.values())) == len(pairs) else {}


def _named(one: Tensor, other: Tensor) -> bool:
    return _TIME.sub("", one.name.lower()) == _TIME.sub("", other.name.lower())


def _alike(one: Tensor, other: Tensor) -> bool:
    return (one.dtype, len(one.shape)) == (other.dtype, len(other.shape)) and all(
        a == b or None in {a, b} for a, b in zip(one.shape, other.shape, strict=True)
    )
