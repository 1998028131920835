"""Exact sums of floats as integers, so that merging profiles never depends on the order.

A sum is an integer count of 2**-1074, the smallest float64 step: every finite float64 is a whole
number of them, integer addition is associative, and nothing is rounded until `as_float`.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

BITS: Final = 1074
_BLOCK: Final = 65_536
_PART: Final = 36
_SLICES: Final = 4
_HALF: Final = 1.5
_SAFE: Final = 1_000
_LOWEST: Final = -1073  # frexp exponent of the smallest subnormal
_MANTISSA: Final = 53
_SPLIT: Final = 27


def exact_sum(values: NDArray[np.float64]) -> int:
    """The exact sum of finite values, in units of 2**-1074.

    Blocks of 65,536 values are cut into slices of 36 bits: adding and taking away 1.5 * 2**(e + 16)
    rounds every value below 2**e to whole multiples of 2**(e - 36), whose sum stays below 2**53 of
    them and so is exact in any order; then the rest (Rump, Ogita and Oishi 2008). Two slices hold
    most blocks.
    """
    return sum(_block(values[first : first + _BLOCK]) for first in range(0, len(values), _BLOCK))


def _block(values: NDArray[np.float64]) -> int:
    total, rest = 0, values
    for _ in range(_SLICES):
        top = max(float(rest.max()), -float(rest.min()))
        if top == 0:
            return total
        exponent = math.frexp(top)[1]
        if exponent > _SAFE or exponent - _PART <= -BITS:
            break
        shift = math.ldexp(_HALF, exponent - _PART + _MANTISSA - 1)
        part = rest + shift
        part -= shift
        total += int(math.ldexp(float(part.sum()), _PART - exponent)) << (BITS + exponent - _PART)
        if np.array_equal(part, rest):
            return total
        rest = rest - part
    return total + _by_exponent(rest)


def _by_exponent(values: NDArray[np.float64]) -> int:
    """The exact sum of up to 2**25 values of any size.

    Mantissas are added per exponent in two halves of 26 bits, each exact in a float64 accumulator.
    """
    if values.size == 0:
        return 0
    fraction, exponent = np.frexp(values)
    mantissa = np.ldexp(fraction, _MANTISSA).astype(np.int64)
    upper = mantissa >> _SPLIT
    lower = mantissa - (upper << _SPLIT)
    lowest = int(exponent.min())
    cell = exponent - lowest
    total = 0
    highs, lows = np.bincount(cell, weights=upper), np.bincount(cell, weights=lower)
    for step in np.flatnonzero((highs != 0) | (lows != 0)).tolist():
        part = (int(highs[step]) << _SPLIT) + int(lows[step])
        total += part << (lowest + step - _LOWEST)
    # the sum so far counts 2**(lowest exponent - 53); every term is a whole number of 2**-1074
    return total >> (_MANTISSA - 1)


def as_float(total: int, count: int = 1) -> float:
    """`total` of `exact_sum` divided by `count`, rounded once; infinite beyond the float range."""
    if count == 0:
        return float("nan")
    try:
        return float(Fraction(total, count << BITS))
    except OverflowError:
        return float("inf") if total > 0 else float("-inf")


def to_bytes(total: int) -> tuple[int, bytes]:
    """A sum as (power of two, two's complement little-endian bytes) without trailing zero bits."""
    if total == 0:
        return 0, b""
    shift = (total & -total).bit_length() - 1
    short = total >> shift
    return shift, short.to_bytes(short.bit_length() // 8 + 1, "little", signed=True)


def from_bytes(shift: int, data: bytes) -> int:
    """The inverse of `to_bytes`."""
    return int.from_bytes(data, "little", signed=True) << shift
