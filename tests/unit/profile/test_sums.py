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
