from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trimtab.profile import sums

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(finite, max_size=50))
def test_sums_are_exact_for_every_finite_float(values):
    total = sums.exact_sum(np.array(values, dtype=np.float64))
    assert Fraction(total, 1 << sums.BITS) == sum(map(Fraction, values), Fraction(0))


@given(st.lists(finite, min_size=1, max_size=30), st.integers(1, 3_000))
def test_long_columns_of_a_few_values_sum_exactly(values, times):
    column = np.tile(np.array(values), times)
    expected = times * sum(map(Fraction, values), Fraction(0))
    assert Fraction(sums.exact_sum(column), 1 << sums.BITS) == expected


def test_a_block_of_the_largest_bits_does_not_wrap():
    for value in (2 - 2**-52, -2 + 2**-52, 1 - 2**-53):
        column = np.full(3 * sums.BLOCK + 5, value)
        assert Fraction(sums.exact_sum(column), 1 << sums.BITS) == len(column) * Fraction(value)
    assert sums.exact_sum(np.array([])) == sums.exact_sum(np.zeros(9)) == 0


@given(st.integers(-(1 << 2000), 1 << 2000))
def test_bytes_round_trip(total):
    assert sums.from_bytes(*sums.to_bytes(total)) == total


def test_means_are_rounded_once_and_overflow_to_infinity():
    values = np.array([0.1] * 10)
    assert sums.as_float(sums.exact_sum(values), 10) == 0.1
    huge = sums.exact_sum(np.array([1e308, 1e308]))
    assert sums.as_float(huge) == np.inf
    assert sums.as_float(-huge) == -np.inf
    assert sums.as_float(huge, 2) == 1e308
    assert np.isnan(sums.as_float(0, 0))
