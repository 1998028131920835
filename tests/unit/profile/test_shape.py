from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trimtab.profile.fit import fit
from trimtab.profile.profile import count
from trimtab.profile.shape import Shape
from trimtab.profile.shaping import shapes

anything = hnp.arrays(np.float64, st.integers(1, 200), elements=st.floats(width=64))


def shape(values: np.ndarray, reference: np.ndarray | None = None) -> Shape:
    bins = fit({"x": values if reference is None else reference})
    return shapes(bins, count(bins, {"x": values}))[0]


def test_quantiles_and_bars_of_a_smooth_column():
    values = np.random.default_rng(0).normal(5, 2, 20_000)
    found = shape(values)
    assert found.quantiles == pytest.approx(
        np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95]), abs=0.05
    )
    assert (found.low, found.high) == (values.min(), values.max())
    assert found.mean == pytest.approx(values.mean())
    assert sum(found.bars) == pytest.approx(1)
    cuts = np.linspace(found.bars_from, found.bars_to, len(found.bars) + 1)
    cuts[[0, -1]] = -np.inf, np.inf
    assert found.bars == pytest.approx(np.histogram(values, cuts)[0] / len(values), abs=0.005)


def test_single_values_missing_and_the_unseen():
    values = np.array([0.0] * 60 + [1.0] * 30 + [np.nan] * 10)
    found = shape(values)
    assert found.missing == 0.1
    assert (found.quantiles[2], found.quantiles[4]) == (0.0, 1.0)
    assert (found.bars[0], found.bars[-1]) == pytest.approx((0.6, 0.3))
    assert shape(np.array([5.0, 0.0, 1.0, np.inf]), values).unseen == 0.5


def test_levels():
    values = np.array(["a"] * 6 + ["b"] * 3 + [None], dtype=object)
    found = shape(values)
    assert found.top == (("a", 0.6), ("b", 0.3))
    assert (found.kind, found.missing, found.distinct) == ("category", 0.1, 2)


@given(anything, anything)
def test_any_column_has_a_shape(reference, values):
    for found in (shape(values), shape(values, reference)):
        finite = values[np.isfinite(values)]
        assert msgspec.json.decode(msgspec.json.encode(found), type=Shape) == found
        assert 0 <= found.missing <= 1
        assert list(found.quantiles) == sorted(found.quantiles)
        if finite.size:
            assert sum(found.bars) == pytest.approx(len(finite) / len(values))
            assert all(found.low <= q <= found.high for q in found.quantiles)


def test_nothing_is_known_of_nothing():
    found = shape(np.full(5, np.nan))
    assert (found.missing, found.bars, found.quantiles, found.mean) == (1.0, (), (), None)
