"""How many distinct values a categorical column holds: a HyperLogLog that merges by maximum.

1,024 registers; the standard error is 1.04/sqrt(1024) = 3.3 % (Flajolet, Fusy, Gandouet and
Meunier 2007). The estimate is Ertl's (2017, arXiv 1702.01284, algorithm 6), which needs no tables.
Registers depend on the set of values alone: not on their order, their number or any split.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

BITS: Final = 10
REGISTERS: Final = 1 << BITS
ERROR: Final = 1.04 / math.sqrt(REGISTERS)
_REST: Final = 64 - BITS


class Marks(NamedTuple):
    """What values leave in the registers: one place and one rank each."""

    places: NDArray[np.intp]
    ranks: NDArray[np.uint8]


def marks(hashes: Iterable[int]) -> Marks:
    """The marks of values by their 64-bit hashes (`cells.level_hash`)."""
    found = list(hashes)
    low = (1 << _REST) - 1
    return Marks(
        np.array([value >> _REST for value in found], dtype=np.intp),
        np.array([_REST - (value & low).bit_length() + 1 for value in found], dtype=np.uint8),
    )


def note(registers: NDArray[np.uint8], found: Marks) -> None:
    """Take values in."""
    np.maximum.at(registers, found.places, found.ranks)


def estimate(registers: NDArray[np.uint8]) -> float:
    """The number of distinct values; 0 of none."""
    counts = np.bincount(registers, minlength=_REST + 2).tolist()
    if counts[0] == REGISTERS:
        return 0.0
    z = REGISTERS * _tau(1 - counts[_REST + 1] / REGISTERS)
    for k in range(_REST, 0, -1):
        z = 0.5 * (z + counts[k])
    z += REGISTERS * _sigma(counts[0] / REGISTERS)
    return REGISTERS * REGISTERS / (2 * math.log(2) * z)


def _sigma(x: float) -> float:
    y, z, before = 1.0, x, math.nan
    while z != before:
        x *= x
        before = z
        z += x * y
        y *= 2
    return z


def _tau(x: float) -> float:
    if x in (0.0, 1.0):
        return 0.0
    y, z, before = 1.0, 1 - x, math.nan
    while z != before:
        x = math.sqrt(x)
        before = z
        y *= 0.5
        z -= (1 - x) ** 2 * y
    return z / 3
