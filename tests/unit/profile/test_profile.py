from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.errors import ConflictError, DataError, IntegrityError
from trimtab.profile import bins as binning
from trimtab.profile import profile as profiles
from trimtab.profile import reference as references
from trimtab.profile.fit import fit
from trimtab.profile.profile import Profile, count, decode, empty, encode, mean, merge, merge_all

GOLDEN = Path(__file__).parents[2] / "golden"


def table(seed: int, rows: int) -> dict[str, np.ndarray]:
    """Rows with every oddity, the same for a seed on any machine (no random library behind it)."""
    i = np.arange(rows, dtype=np.int64) * (2 * seed + 1) + seed
    x = ((i * 7919) % 1000) / 8 - 20
    x[i % 11 == 0] = np.nan
    x[i % 37 == 0] = np.inf
    zero = np.where(i % 3 == 0, 0.0, ((i * 31) % 97) * 1e3)
    word = np.array([None if k % 13 == 0 else f"w{k * k % 17}" for k in i.tolist()], dtype=object)
    mixed = np.array([("x", 1.5, None, 2)[k % 4] for k in i.tolist()], dtype=object)
    return {"x": x, "zero": zero, "word": word, "mixed": mixed}


BINS = fit(table(0, 400))
some_tables = st.builds(table, st.integers(0, 50), st.integers(0, 80))


def same(a: Profile, b: Profile) -> bool:
    return encode(a) == encode(b)


@given(some_tables, some_tables, some_tables)
def test_merging_is_associative_and_commutative(a, b, c):
    one, two, three = (count(BINS, t) for t in (a, b, c))
    assert same(merge(merge(one, two), three), merge(one, merge(two, three)))
    assert same(merge(one, two), merge(two, one))
    assert same(merge(one, empty(BINS)), one)


@given(st.integers(0, 20), st.lists(st.integers(0, 90), max_size=6))
def test_any_split_counts_the_same(seed, cuts):
    whole = table(seed, 90)
    parts = [
        {name: column[a:b] for name, column in whole.items()}
        for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), 90], strict=True)
    ]
    assert same(merge_all(BINS, (count(BINS, part) for part in parts)), count(BINS, whole))


def test_blocks_count_the_same_as_one_pass(monkeypatch):
    whole = table(3, 1000)
    expected = count(BINS, whole)
    monkeypatch.setattr(profiles, "_BLOCK", 64)
    assert same(count(BINS, whole), expected)


def test_every_row_has_one_cell_per_feature():
    found = count(BINS, table(5, 321))
    for span in BINS.spans().values():
        assert found.counts[span].sum() == found.rows == 321


def test_extremes_means_and_moments():
    rows = table(2, 300)
    found = count(BINS, rows)
    finite = rows["x"][np.isfinite(rows["x"])]
    assert (found.low[0], found.high[0]) == (finite.min(), finite.max())
    assert mean(BINS, found, "x") == pytest.approx(finite.mean(), rel=1e-14)
    assert np.isnan(mean(BINS, found, "word"))
    assert found.moments.shape == (4, 4)
    assert np.array_equal(found.moments, found.moments.T)
    scores = np.array(BINS.features[1].scores)
    assert found.moments[1, 1] == found.counts[BINS.spans()["zero"]] @ scores**2


def test_extra_columns_are_ignored_and_absent_ones_refused():
    rows = table(1, 50)
    assert same(count(BINS, rows | {"more": np.zeros(50)}), count(BINS, rows))
    with pytest.raises(DataError, match="'word'"):
        count(BINS, {name: rows[name] for name in ("x", "zero", "mixed")})


def test_other_bins_do_not_merge():
    other = fit(table(9, 400))
    with pytest.raises(ConflictError, match="different bins"):
        merge(count(BINS, table(1, 5)), count(other, table(1, 5)))


@given(some_tables)
def test_bytes_round_trip(rows):
    found = count(BINS, rows)
    again = decode(encode(found))
    assert same(found, again)
    assert again.totals == found.totals
    assert again.bins == binning.digest(BINS)
    assert np.array_equal(again.moments, found.moments)


@given(st.data())
def test_any_changed_byte_is_noticed(data):
    good = encode(count(BINS, table(1, 60)))
    at = data.draw(st.integers(0, len(good) - 1))
    flip = data.draw(st.integers(1, 255))
    bad = good[:at] + bytes([good[at] ^ flip]) + good[at + 1 :]
    with pytest.raises(IntegrityError):
        decode(bad)
    with pytest.raises(IntegrityError):
        decode(good[:at])


def test_a_newer_version_is_refused_by_name():
    good = encode(empty(BINS))
    newer = good[:8] + (99).to_bytes(2, "little") + good[10:]
    with pytest.raises(IntegrityError, match="version 99 is newer") as caught:
        decode(newer)
    assert caught.value.hint == "upgrade trimtab"
    with pytest.raises(IntegrityError, match="not a 'trimtabR'"):
        references.decode(good)


def test_golden_files_still_read_and_write_the_same():
    bins = binning.decode((GOLDEN / "bins-v1.bin").read_bytes())
    data = (GOLDEN / "profile-v1.bin").read_bytes()
    assert bins == BINS
    assert encode(decode(data)) == data
    assert encode(count(bins, table(7, 500))) == data
