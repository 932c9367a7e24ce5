"""Arithmetic that gives equal bytes on every processor.

A floating-point sum depends on its order and on fused multiply-adds, so on the kernels that a library chooses for a
processor. Here sums are exact, hence the same in any order: values are rounded to integers of so few bits that no sum
passes 2^53. Source: K. Ozaki et al., "Error-free transformations of matrix multiplication by using fast routines of
matrix multiplication and its applications", Numerical Algorithms 59 (2012). The rest is single operations, which
IEEE 754 defines to the last bit, and exp and log made of them: numpy's own differ between processors.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from builder.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Doubles = NDArray[np.float64]

__all__ = ["erf", "exp", "log", "matmul", "mean", "sigmoid", "tanh", "total"]

_MANTISSA = 53  # bits of a float64: whole numbers up to 2^53 are exact
_WIDEST = 24  # bits of a float32
_TERMS = 13  # of exp's series: the next one is below 2^-53 for |x| <= ln 2 / 2
_LN2_HIGH, _LN2_LOW = float.fromhex("0x1.62e42feep-1"), float.fromhex("0x1.a39ef35793c76p-33")  # fdlibm, e_exp.c


def matmul(a: Array, b: Array) -> Doubles:
    """Return a @ b in float64; each factor keeps 20 bits or more of its largest value for up to 8,192 products."""
    bits = min(_WIDEST, (_MANTISSA - _log2(a.shape[-1])) // 2)
    (left, left_unit), (right, right_unit) = _whole(a, bits), _whole(b, bits)
    product: Doubles = (left @ right) * (left_unit * right_unit)
    return product


def total(x: Array, axes: tuple[int, ...]) -> Doubles:
    """Return the sum over axes, which stay with length 1."""
    whole, unit = _whole(x, _MANTISSA - _log2(_count(x, axes)))
    summed: Doubles = whole.sum(axis=axes, keepdims=True) * unit
    return summed


def mean(x: Array, axes: tuple[int, ...]) -> Doubles:
    """Return the mean over axes, which stay with length 1."""
    averaged: Doubles = total(x, axes) / _count(x, axes)
    return averaged


def exp(x: Array) -> Doubles:
    """Return e to the power of x, with a relative error below 1e-15; 0 below -745 and infinity above 709.7."""
    import numpy as np

    x = np.clip(x.astype(np.float64), -750.0, 710.0)
    power = np.rint(x * (1 / math.log(2)))
    rest = (x - power * _LN2_HIGH) - power * _LN2_LOW
    series = np.ones_like(rest)
    for term in range(_TERMS, 0, -1):
        series = series * rest / term + 1
    with np.errstate(over="ignore", under="ignore"):
        result: Doubles = np.ldexp(series, power.astype(np.int32))
    return result


def log(x: Array) -> Doubles:
    """Return the natural logarithm of positive numbers, with a relative error below 1e-14."""
    import numpy as np

    fraction, power = np.frexp(x.astype(np.float64))
    low = fraction < math.sqrt(0.5)
    fraction, power = np.where(low, 2 * fraction, fraction), power - low
    ratio = (fraction - 1) / (fraction + 1)  # log f = 2 artanh ratio, and |ratio| < 0.172
    square = ratio * ratio
    series = np.zeros_like(ratio)
    for odd in range(21, 0, -2):
        series = series * square + 1 / odd
    result: Doubles = 2 * ratio * series + power * _LN2_LOW + power * _LN2_HIGH
    return result


def sigmoid(x: Array) -> Doubles:
    result: Doubles = 1 / (1 + exp(-x))
    return result


def tanh(x: Array) -> Doubles:
    import numpy as np

    small = exp(-2 * np.abs(x.astype(np.float64)))
    return np.copysign((1 - small) / (1 + small), x)


def erf(x: Array) -> Doubles:
    """Return the error function to within 1.5e-7. Source: Abramowitz and Stegun, formula 7.1.26."""
    import numpy as np

    size = np.abs(x.astype(np.float64))
    t = 1 / (1 + 0.3275911 * size)
    series = np.zeros_like(t)
    for factor in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = (series + factor) * t
    return np.copysign(1 - series * exp(-size * size), x)


def _whole(x: Array, bits: int) -> tuple[Doubles, float]:
    """Return x as whole numbers of at most so many bits, and their unit, a power of two."""
    import numpy as np

    largest = float(np.abs(x).max(initial=0.0))
    if not math.isfinite(largest):
        raise ModelError("a sum inside the model is not finite, so it has no exact value")
    exponent = math.frexp(largest)[1] - bits
    return np.rint(np.ldexp(x.astype(np.float64), -exponent)), math.ldexp(1.0, exponent)


def _count(x: Array, axes: tuple[int, ...]) -> int:
    return math.prod(x.shape[axis] for axis in axes)


def _log2(count: int) -> int:
    """Return how many bits a sum of so many terms can grow by."""
    return max(0, count - 1).bit_length()
