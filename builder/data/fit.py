"""Tell whether a sample fits a model's input, and if not, which preprocessing would make it fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from builder.errors import DataError
from builder.runtimes.interface import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["check_fit", "fits"]


def check_fit(tensor: Tensor, array: NDArray[Any], where: str) -> bool:
    """Return True where the sample lacks the input's first axis (the batch), False where it is a whole input.

    Raises DataError, with the preprocessing option that would mend it, where dtype or shape do not fit.
    """
    dtype, shape = str(array.dtype), array.shape
    if dtype == tensor.dtype:
        if fits(shape, tensor.shape[1:]) and len(tensor.shape) > 0:
            return True
        if fits(shape, tensor.shape):
            return False
    raise DataError(
        f"{where}: the model's input '{tensor.name}' takes {tensor.words} "
        f"(the first axis is the batch), the sample is {Tensor('', shape, dtype).words}",
        hint=_remedy(tensor, shape),
    )


def fits(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    """Return True where a shape is the expected one; None is an axis of any size."""
    return len(shape) == len(expected) and all(want in {None, have} for have, want in zip(shape, expected, strict=True))


def _remedy(tensor: Tensor, shape: tuple[int, ...]) -> str:
    expected = tensor.shape[1:]
    if len(shape) == 2 and len(expected) == 3:
        return f"set data.preprocess.layout: {_layout(expected)}, which adds the channel axis"
    if len(shape) != len(expected):
        return f"a sample has {len(shape)} axes where {len(expected)} are expected: is data.input the right one?"
    if not fits(shape, expected):
        return _reshape(expected, shape) if len(shape) == 3 else "store samples in the shape that the model takes"
    return f"set data.preprocess.dtype: {tensor.dtype}"


def _reshape(expected: tuple[int | None, ...], shape: tuple[int, ...]) -> str:
    """Return what would mend the shape of an image."""
    layout = _layout(expected)
    swapped = (shape[2], *shape[:2]) if layout == "NCHW" else (*shape[1:], shape[0])
    if fits(swapped, expected):
        return f"set data.preprocess.layout: {layout}"
    channel, rows = (0, slice(1, 3)) if layout == "NCHW" else (2, slice(0, 2))
    if expected[channel] not in {None, shape[channel]}:
        return f"set data.preprocess.channels: {expected[channel]} and layout: {layout}"
    return f"set data.preprocess.resize: [{', '.join(str(size or 'SIZE') for size in expected[rows])}]"


def _layout(expected: tuple[int | None, ...]) -> str:
    """Return how an input of three axes is laid out: the axis of 1, 3 or 4 is the channels."""
    return "NHWC" if expected[2] in {1, 3, 4} and expected[0] not in {1, 3, 4} else "NCHW"
