from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
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


def whole(seed: int, rows: int) -> dict[str, np.ndarray]:
    """The same with text, an embedding, a score, a slice and the fixed scales."""
    i = np.arange(rows, dtype=np.int64) * (2 * seed + 1) + seed
    vectors = ((i[:, None] * 7 + np.arange(5) * 31) % 101) / 16 - 3
    vectors[i % 19 == 0, 2] = np.nan
    notes = [None if k % 17 == 0 else ("ab " * (k % 5) + "\u00e9" * (k % 2)) for k in i.tolist()]
    return table(seed, rows) | {
        "note": np.array(notes, dtype=object),
        "vector": vectors,
        "__score__": ((i * 13) % 64) / 64,
        "group": np.array([("north", "south", None)[k % 3] for k in i.tolist()], dtype=object),
        "__latency__": 2.0 ** (i % 20) + 0.5,
        "__confidence__": ((i * 5) % 51) / 100 + 0.5,
    }


KINDS = {"note": "text", "vector": "embedding"}
BINS = fit(table(0, 400))
WIDE = fit(whole(0, 400), KINDS, slices=["group"])
wide_tables = st.builds(whole, st.integers(0, 50), st.integers(0, 60))
some_tables = st.builds(table, st.integers(0, 50), st.integers(0, 80))


def same(a: Profile, b: Profile) -> bool:
    return encode(a) == encode(b)


@pytest.mark.slow
@settings(max_examples=25)
@given(wide_tables, wide_tables, wide_tables)
def test_merging_is_associative_and_commutative(a, b, c):
    one, two, three = (count(WIDE, t) for t in (a, b, c))
    assert same(merge(merge(one, two), three), merge(one, merge(two, three)))
    assert same(merge(one, two), merge(two, one))
    assert same(merge(one, empty(WIDE)), one)


@pytest.mark.slow
@settings(max_examples=25)
@given(st.integers(0, 20), st.lists(st.integers(0, 90), max_size=6))
def test_any_split_counts_the_same(seed, cuts):
    rows = whole(seed, 90)
    parts = [
        {name: column[a:b] for name, column in rows.items()}
        for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), 90], strict=True)
    ]
    assert same(merge_all(WIDE, (count(WIDE, part) for part in parts)), count(WIDE, rows))


def test_blocks_count_the_same_as_one_pass(monkeypatch):
    rows = whole(3, 1000)
    expected = count(WIDE, rows)
    monkeypatch.setattr(profiles, "_BLOCK", 64)
    assert same(count(WIDE, rows), expected)


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
    bins = binning.decode((GOLDEN / "bins-v2.bin").read_bytes())
    data = (GOLDEN / "profile-v2.bin").read_bytes()
    assert bins == WIDE
    assert encode(decode(data)) == data
    assert encode(count(bins, whole(7, 500))) == data


def test_files_of_version_1_still_read():
    """Their bins keep their digest; what they did not count counts as nothing."""
    bins = binning.decode((GOLDEN / "bins-v1.bin").read_bytes())
    old = decode((GOLDEN / "profile-v1.bin").read_bytes())
    again = count(bins, table(7, 500))
    assert bins == BINS
    assert old.bins == binning.digest(bins)
    assert np.array_equal(old.counts, again.counts)
    assert np.array_equal(old.moments, again.moments)
    assert (old.totals, old.rows) == (again.totals, again.rows)
    assert old.latency.size == old.registers.size == 0
    both = merge(old, again)
    assert np.array_equal(both.registers, again.registers)
    assert same(merge(again, old), both)
    assert same(decode(encode(old)), old)


def test_slices_and_predictions_are_counted_together():
    rows = whole(1, 300)
    (joint,) = WIDE.joints
    found = count(WIDE, rows).joints[0]
    assert found.shape == joint.shape
    assert found.sum() == 300
    spans = WIDE.spans()
    groups = np.array(joint.groups)
    alone = np.bincount(groups, count(WIDE, rows).counts[spans["__score__"]], joint.shape[1])
    assert np.array_equal(found.sum(axis=0), alone)
    north = {name: column[rows["group"] == "north"] for name, column in rows.items()}
    code = joint.slice.levels.index("north")
    assert np.array_equal(count(WIDE, north).joints[0][code], found[code])
    absent = count(WIDE, {name: column for name, column in rows.items() if name != "group"})
    assert absent.joints[0][joint.slice.size - 2].sum() == 300


def test_slices_need_a_score():
    with pytest.raises(DataError, match="no '__score__'"):
        fit(table(0, 50), slices=["word"])
    with pytest.raises(DataError, match="no column 'where'"):
        fit(whole(0, 50), KINDS, slices=["where"])


def test_distinct_levels_are_estimated_whatever_the_split():
    names = np.array([f"user {k % 20_000}" for k in range(50_000)], dtype=object)
    bins = fit({"user": names[:1_000], "x": np.arange(1_000.0)})
    table_ = {"user": names, "x": np.arange(50_000.0)}
    found = count(bins, table_)
    assert profiles.distinct(bins, found, "user") == pytest.approx(20_000, rel=0.1)
    assert np.isnan(profiles.distinct(bins, found, "x"))
    assert profiles.distinct(bins, empty(bins), "user") == 0
