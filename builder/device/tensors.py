"""Plain numbers in files: little-endian, by numpy's names of types."""

from __future__ import annotations

import math
import struct
from typing import Any, Sequence

from builder.device.stop import Failed

__all__ = ["Distance", "count", "nbytes", "pack_values", "unpack_values"]

_CODES = {
    "float64": "d",
    "float32": "f",
    "float16": "e",
    "int64": "q",
    "int32": "i",
    "int16": "h",
    "int8": "b",
    "uint8": "B",
    "bool": "?",
}


def _code(dtype: str) -> str:
    if dtype not in _CODES:
        raise Failed(f"numbers of type {dtype} are not read here")
    return _CODES[dtype]


def count(shape: Sequence[int]) -> int:
    """Return how many numbers a tensor has."""
    total = 1
    for size in shape:
        total *= size
    return total


def nbytes(tensor: dict[str, Any]) -> int:
    """Return how many bytes one call of a tensor takes."""
    return count(tensor["shape"]) * struct.calcsize("<" + _code(tensor["dtype"]))


def pack_values(values: Sequence[float], dtype: str, shape: Sequence[int]) -> bytes:
    """Return numbers as bytes. Raises ValueError where there are not as many as the shape says."""
    if len(values) != count(shape):
        raise ValueError(f"{len(values)} numbers, expected {count(shape)} of shape {list(shape)}")
    code = _code(dtype)
    plain = values if code in "dfe" else [int(value) for value in values]
    return struct.pack(f"<{len(plain)}{code}", *plain)


def unpack_values(content: bytes, dtype: str) -> tuple[float, ...]:
    code = _code(dtype)
    return struct.unpack(f"<{len(content) // struct.calcsize('<' + code)}{code}", content)


class Distance:
    """How far outputs are from what they should be, over all of them."""

    def __init__(self) -> None:
        self._signal = self._noise = self.max_abs = 0.0
        self.finite = True
        self.rows = self.agreeing = 0  # along the last axis; those whose largest value is at the same place

    def add(self, found: Sequence[float], expected: Sequence[float], shape: Sequence[int]) -> None:
        """Count one call of an output of this shape."""
        width = shape[-1] if shape else 1
        for start in range(0, len(expected), width) if width > 1 else ():
            row, wanted = found[start : start + width], expected[start : start + width]
            self.rows += 1
            self.agreeing += row.index(max(row)) == wanted.index(max(wanted))
        for mine, right in zip(found, expected):
            apart = abs(mine - right)
            if not math.isfinite(mine) and math.isfinite(right):
                self.finite = False
            elif math.isfinite(apart):
                self.max_abs = max(self.max_abs, apart)
                self._noise += apart * apart
                self._signal += right * right

    @property
    def snr_db(self) -> float | None:
        """Return the signal over the noise, in decibels; None where nothing differs."""
        if not self._noise:
            return None
        return 10 * math.log10(self._signal / self._noise) if self._signal else -math.inf
