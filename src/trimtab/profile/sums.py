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
BLOCK: Final = 32_768
_PART: Final = 47
_SLICES: Final = 4
_FEW: Final = 64
_HALF: Final = 1.5
_SAFE: Final = 1_000
_LOWEST: Final = -1073  # frexp exponent of the smallest subnormal
_MANTISSA: Final = 53
_SPLIT: Final = 27


def exact_sum(values: NDArray[np.float64], top: float | None = None) -> int:
    """The exact sum of finite values, in units of 2**-1074; `top` is at least their largest size.

    Blocks of 32,768 values are cut into slices of 47 bits: adding 1.5 * 2**(e + 5) rounds every value
    below 2**e to whole multiples of 2**(e - 47), which the last bits of the result then hold as an
    integer; then the rest (after Rump, Ogita and Oishi 2008). Two slices hold most blocks.
    """
    blocks = (values[first : first + BLOCK] for first in range(0, len(values), BLOCK))
    if top is None:
        top = max(float(values.max(initial=0.0)), -float(values.min(initial=0.0)))
    return sum(_block(block, math.frexp(top)[1]) for block in blocks) if top else 0


def _block(values: NDArray[np.float64], exponent: int) -> int:
    total, rest = 0, values
    for turn in range(_SLICES):
        if exponent > _SAFE or exponent - _PART <= -BITS:
            break
        shift = math.ldexp(_HALF, exponent - _PART + _MANTISSA - 1)
        part = rest + shift
        # the sum wraps around as often as the bits of `shift` do, and is below 2**62 itself
        whole = int(part.view(np.int64).sum()) - len(part) * _bits(shift)
        whole = (whole + (1 << 63)) % (1 << 64) - (1 << 63)
        total += whole << (BITS + exponent - _PART)
        part -= shift
        # a first slice rarely holds all of a column, and some rows tell
        few = _FEW if turn == 0 else len(part)
        if np.array_equal(part[:few], rest[:few]) and np.array_equal(part, rest):
            return total
        rest = np.subtract(rest, part, out=part)
        exponent -= _PART
    return total + _by_exponent(rest)


def _bits(value: float) -> int:
    return int(np.float64(value).view(np.int64))


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
