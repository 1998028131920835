from __future__ import annotations

import numpy as np
import pytest

from trimtab.errors import ConflictError
from trimtab.monitor.drift.windows import suffixes
from trimtab.profile import bins as binning
from trimtab.profile.fit import fit
from trimtab.profile.profile import count

BINS = fit({"x": np.arange(1000.0)})
ID = binning.digest(BINS)


def window(rows: int):
    return count(BINS, {"x": np.arange(rows) * 1.0})


def test_sums_over_the_newest_windows():
    found = suffixes(ID, [window(rows) for rows in (60, 70, 80, 90)], 6, 50)
    assert found is not None
    assert found.rows.tolist() == [90, 170, 240, 300]
    assert found.first.tolist() == [3, 2, 1, 0]
    assert found.scales == (0, 1, 3)
    assert found.merges == (0, 1, 2, 3)
    assert found.counts.sum(axis=1).tolist() == [90, 170, 240, 300]


def test_small_windows_join_older_ones_and_are_never_judged_alone():
    found = suffixes(ID, [window(rows) for rows in (30, 40, 500, 20, 10)], 6, 50)
    assert found is not None
    assert found.rows.tolist() == [530, 600]
    assert found.first.tolist() == [2, 0]
    left_out = suffixes(ID, [window(rows) for rows in (30, 500)], 6, 50)
    assert left_out is not None
    assert left_out.rows.tolist() == [500]


def test_too_few_rows_or_none():
    assert suffixes(ID, [window(20), window(20)], 6, 50) is None
    assert suffixes(ID, [], 6, 50) is None


def test_no_more_blocks_than_the_largest_scale():
    found = suffixes(ID, [window(60)] * 20, 3, 50)
    assert found is not None
    assert found.scales == (0, 1, 3)
    assert len(found.rows) == 4


def test_windows_of_other_bins_are_refused_by_place():
    other = fit({"x": np.arange(10.0)})
    strange = count(other, {"x": np.arange(60.0)})
    with pytest.raises(ConflictError, match="window 1 was counted on other bins"):
        suffixes(ID, [window(60), strange], 6, 50)
