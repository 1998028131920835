from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from trimtab.monitor.judge import judge
from trimtab.monitor.statistics.categories import chi_square, comparable, grouped, with_rest
from trimtab.profile.coder import coder
from trimtab.profile.fit import fit
from trimtab.profile.profile import count
from trimtab.profile.reference import fit_reference


def test_without_light_cells_it_is_the_contingency_table():
    a, b = np.array([30, 50, 20]), np.array([400, 350, 250])
    expected = stats.chi2_contingency(np.stack([a, b]), correction=False)
    found = chi_square(a, b)
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.freedom == 2


def test_light_cells_are_pooled():
    a = np.array([60, 40, *[1] * 30])
    b = np.array([600, 400, *[9] * 30])
    pooled_a, pooled_b = grouped(a, b)
    assert pooled_a.tolist() == [60, 40, 30]
    assert pooled_b.tolist() == [600, 400, 270]


@pytest.mark.slow
@pytest.mark.parametrize(("levels", "n", "total"), [(20, 1000, 1000), (200, 1000, 10_000)])
def test_size_under_equality(levels, n, total):
    random = np.random.default_rng([levels, n])
    share = 1 / np.arange(1, levels + 1)
    share /= share.sum()
    draws = 4000
    p = np.array(
        [
            chi_square(w, r).p
            for w, r in zip(
                random.multinomial(n, share, draws),
                random.multinomial(total, share, draws),
                strict=True,
            )
        ]
    )
    assert np.mean(p < 0.05) == pytest.approx(0.05, abs=0.012)
    assert np.mean(p < 0.01) == pytest.approx(0.01, abs=0.006)


def test_nothing_to_compare_is_no_evidence():
    assert chi_square(np.array([5]), np.array([50])).p == 1
    assert chi_square(np.array([0, 0]), np.array([50, 50])).p == 1
    assert chi_square(np.array([], dtype=int), np.array([], dtype=int)).p == 1


def levels_of(values):
    cells = fit({"x": np.array(values, dtype=object)}).features[0]
    return cells, np.bincount(coder(cells)(np.array(values, dtype=object)), minlength=cells.size)


def test_levels_that_were_bound_to_be_listed_are_compared():
    values = ["a"] * 500 + ["b"] * 60 + ["c"] * 3
    cells, reference = levels_of(values)
    window = np.array([400, 55, 2, 0, 9, 5, 0])
    codes = comparable(cells, window, reference)
    assert codes.tolist() == [0, 1]
    assert with_rest(cells, window, codes).tolist() == [400, 55, 11]
    stack = np.stack([window, window])
    assert with_rest(cells, stack, codes).tolist() == [[400, 55, 11]] * 2


@pytest.mark.slow
def test_a_list_cut_short_by_chance_compares_nothing():
    """5,000 equally likely levels: the 1,000 that were listed are the lucky ones."""
    random = np.random.default_rng(0)
    names = np.array([f"n{i}" for i in range(5_000)], dtype=object)
    cells, reference = levels_of(names[random.integers(0, 5_000, 200_000)])
    again = np.bincount(
        coder(cells)(names[random.integers(0, 5_000, 200_000)]), minlength=cells.size
    )
    listed = slice(0, 1_000)
    assert chi_square(again[listed], reference[listed]).freedom == 999
    assert reference[listed].sum() > 1.1 * again[listed].sum()
    codes = comparable(cells, again, reference)
    assert chi_square(with_rest(cells, again, codes), with_rest(cells, reference, codes)).p == 1


def test_no_text_no_codes():
    cells, reference = levels_of([None, None])
    assert comparable(cells, reference, reference).size == 0


@pytest.mark.parametrize("rows", [2_000, 100_000])
def test_a_window_of_new_levels_alone_has_moved_whatever_its_size(rows):
    """100,000 rows beside 1,600 leave no level with rows enough in both."""
    names = np.repeat(np.array(["a", "b", "c", "d"], dtype=object), 400)
    reference = fit_reference({"kind": names}, kinds={"kind": "category"})
    window = count(reference.bins, {"kind": np.full(rows, "new", dtype=object)})
    found = judge(reference, [window])
    assert [one.kind for one in found.findings] == ["skew"]
    (measure,) = found.measures
    assert measure.effect == pytest.approx(1.0)
    assert measure.p < 1e-9
    same = count(reference.bins, {"kind": np.tile(names[::400], rows // 4)})
    (measure,) = judge(reference, [same]).measures
    assert (measure.effect, measure.p > 0.5) == (0.0, True)


def test_levels_that_were_listed_by_chance_are_not_held_against_a_window():
    """Names that turn up twice among many: in any other sample fewer rows are of those listed."""
    random = np.random.default_rng(4)
    old, new = (
        np.array([f"n{i}" for i in random.integers(0, 3_000, 2_000)], dtype=object)
        for _ in range(2)
    )
    reference = fit_reference({"name": old}, kinds={"name": "category"})
    found = judge(reference, [count(reference.bins, {"name": new})])
    assert (found.findings, found.drifted) == ((), ())
