"""Made-up inputs for a model of which nothing but its inputs is known."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from builder.errors import ModelError
from builder.runtimes.interface import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["made_up"]


def made_up(
    tensors: Iterable[Tensor],
    *,
    shapes: Mapping[str, list[int]],
    constants: Mapping[str, float],
    states: Collection[str] = (),
    batch: int = 1,
    seed: int = 0,
) -> dict[str, NDArray[Any]]:
    """Make one input for every tensor: constants as declared, states zero, the rest random from the seed and the name.

    Open dimensions are as `shapes` says; the first of a tensor is the batch where `shapes` gives 1 or nothing, the
    others are 1. Raises ModelError where `shapes` does not fit, a batch over 1 has no open dimension to go to, or a
    type has no numbers.
    """
    import numpy as np

    feed: dict[str, NDArray[Any]] = {}
    took_batch = False
    for tensor in tensors:
        shape, batched = _shape(tensor, shapes.get(tensor.name), batch)
        took_batch = took_batch or batched
        if "(" in tensor.dtype:
            raise ModelError(f"input '{tensor.name}' takes {tensor.dtype}, of which nothing can be made up")
        if tensor.name in constants:
            feed[tensor.name] = np.full(shape, constants[tensor.name], tensor.dtype)
        elif tensor.name in states:
            feed[tensor.name] = np.zeros(shape, tensor.dtype)
        else:
            feed[tensor.name] = _random(tensor, shape, seed)
    if batch > 1 and not took_batch:
        raise ModelError(f"batch={batch}: no input has an open dimension for it", "use batch=1")
    return feed


def _shape(tensor: Tensor, declared: list[int] | None, batch: int) -> tuple[tuple[int, ...], bool]:
    """Return a tensor's shape, and whether the batch went into it."""
    shape = list(tensor.closed(declared))
    first = next((axis for axis, size in enumerate(tensor.shape) if size is None), None)
    if first is None or shape[first] != 1:
        return tuple(shape), False
    shape[first] = batch
    return tuple(shape), True


def _random(tensor: Tensor, shape: tuple[int, ...], seed: int) -> NDArray[Any]:
    """Return standard normal floats; small integers over their whole range, wide ones (indices, as a rule) 0 or 1."""
    import numpy as np

    generator = np.random.default_rng([seed, zlib.crc32(tensor.name.encode())])
    kind = np.dtype(tensor.dtype)
    if kind.kind == "f":
        return generator.standard_normal(shape).astype(kind)
    if kind.kind in "iu" and kind.itemsize <= 2:
        limits = np.iinfo(kind)
        return generator.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)
    return generator.integers(0, 2, shape).astype(kind)
