from __future__ import annotations

import numpy as np
import pytest

from trimtab.errors import DataError, NotFoundError
from trimtab.profile import bins as binning
from trimtab.profile.cells import CategoryCells, NumberCells
from trimtab.profile.fit import fit


def number(values, **kinds) -> NumberCells:
    cells = fit({"x": np.asarray(values)}, kinds).features[0]
    assert isinstance(cells, NumberCells)
    return cells


def levels(values) -> CategoryCells:
    cells = fit({"x": np.array(values, dtype=object)}, {"x": "category"}).features[0]
    assert isinstance(cells, CategoryCells)
    return cells


def test_cells_hold_equal_mass():
    values = np.random.default_rng(0).normal(size=25_600)
    cells = number(values)
    assert cells.inner == 256
    assert cells.atoms == ()
    mass = np.histogram(values, np.array(cells.bounds))[0]
    assert mass.min() == mass.max() == 100
    assert (cells.low, cells.high) == (values.min(), values.max())


def test_few_rows_have_few_cells():
    assert number(np.arange(80.0)).inner == 10
    assert number([7.0]).inner == 1
    assert number([7.0]).high == 7.0


def test_heavy_values_are_atoms_with_cells_of_their_own():
    values = np.concatenate([np.zeros(300), np.random.default_rng(0).normal(5, 1, 700)])
    cells = number(values)
    assert [cells.bounds[a] for a in cells.atoms] == [0.0]
    (atom,) = cells.atoms
    assert cells.bounds[atom + 1] == np.nextafter(0.0, 1.0)
    assert cells.label(3 + atom) == "the value 0"


def test_at_most_sixteen_atoms_the_heaviest():
    values = np.repeat(np.arange(40.0), np.arange(40) + 100)
    cells = number(values)
    assert [cells.bounds[a] for a in cells.atoms] == list(np.arange(24.0, 40.0))


@pytest.mark.parametrize("values", [[np.nan] * 5, [np.inf, -np.inf]])
def test_a_column_without_finite_values(values):
    cells = number(np.array(values))
    assert cells.inner == 0
    assert len(cells.scores) == cells.size == 9


def test_extreme_values_keep_edges_ascending():
    for values in ([1e308, -1e308], [-np.finfo(float).max, np.finfo(float).max], [5e-324, 0.0]):
        edges = np.array(number(np.array(values)).edges)
        assert np.all(edges[:-2] <= edges[1:-1])
        assert np.isnan(edges[-1])


def test_scores_are_normal_scores_of_middle_ranks():
    cells = number(np.random.default_rng(1).normal(size=50_000))
    inner = np.array(cells.scores[3:-6])
    assert np.all(np.diff(inner) > 0)
    assert abs(inner.mean()) < 2
    assert abs((inner / 128).std() - 1) < 0.02
    assert cells.scores[-3:] == (0, 0, 0)


def test_levels_by_frequency_then_name():
    cells = levels(["b", "a", "b", "c", None, 3, "a"])
    assert cells.levels == ("a", "b", "c")
    assert (cells.once, cells.twice) == (1, 2)
    assert cells.complete


def test_ten_thousand_levels_list_the_thousand_and_hash_the_rest():
    values = [f"id{i}" for i in range(12_000)] + ["common"] * 50 + ["twice"] * 2
    cells = levels(values)
    assert cells.levels == ("common", "twice")
    assert len(cells.tail) == 8 * 12_000
    assert cells.once == 12_000


def test_too_many_levels_for_a_tail():
    cells = levels([f"id{i}" for i in range(66_000)])
    assert not cells.complete
    assert cells.tail == b""


def test_kinds_decide_where_given():
    assert isinstance(fit({"x": np.arange(5)}, {"x": "category"}).features[0], CategoryCells)
    codes = fit({"x": np.array(["1", "2"], dtype=object)}, {"x": "number"}).features[0]
    assert isinstance(codes, NumberCells)


def test_an_empty_table_is_refused():
    with pytest.raises(DataError, match="needs rows"):
        fit({"x": np.zeros(0)})


def test_equal_bins_have_equal_digests_and_round_trip():
    table = {"x": np.arange(100.0), "y": np.array(["a", "b"] * 50, dtype=object)}
    one, two = fit(table), fit(table)
    assert binning.digest(one) == binning.digest(two)
    assert binning.decode(binning.encode(one)) == one
    assert binning.digest(fit(table | {"x": np.arange(100.0) + 1})) != binning.digest(one)
    with pytest.raises(NotFoundError, match="'z'"):
        one.feature("z")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1_000_000.0, "1,000,000"),
        (-999_999.0, "-999,999"),
        (1_234_567.0, "1,234,567"),
        (1_764_547_200.0, "1,764,547,200"),
        (12_345.678, "12,345.7"),
        (999_999.96, "1,000,000"),
        (-999.25, "-999.25"),
        (2024.0, "2024"),
        (0.000123, "0.000123"),
        (1e300, "1e+300"),
    ],
)
def test_cells_are_called_by_numbers_that_people_read(value, said):
    """A power of ten with six digits named another value: 1234567 was 1.23457e+06."""
    cells = number(np.concatenate([np.full(50, value), np.full(50, value + abs(value))]))
    assert cells.label(3) == f"the value {said}"
    assert cells.label(2) == f"below {said}"
