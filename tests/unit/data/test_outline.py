from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from trimtab.data import outline, snapshot, tables
from trimtab.errors import DataError
from trimtab.profile.fit import fit
from trimtab.profile.frames import columns_of
from trimtab.profile.profile import encode


def table(seed: int, rows: int = 600, shift: float = 0.0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "id": np.arange(rows) + 10_000 * seed,
            "at": ["2026-01-02T03:04:05Z"] * rows,
            "income": random.lognormal(8 + shift, 0.5, rows).round(2),
            "years": random.integers(0, 30, rows),
            "region": random.choice(["north", "south", "west"], rows),
            "member": random.random(rows) < 0.4,
            "code": [f"{seed}-{k}" for k in range(rows)],
            "note": [f"note {seed} {k}" for k in range(rows)],
            "name": random.choice(["Ada", "Bo"], rows),
        }
    )


@pytest.fixture
def add(ws, put, configure):
    def version(frame: pl.DataFrame):
        put("loans.csv", frame.write_csv())
        return snapshot.add(ws, configure(key="id", time="at", pii=["name"]), "loans").version

    return version


def test_a_version_keeps_its_distributions_beside_its_bytes(ws, add):
    version = add(table(1))
    kept = outline.stored(ws, version)
    made = ("note:length", "note:characters")
    assert kept.reference.bins.names == ("income", "years", "region", "member", *made)
    assert kept.reference.profile.rows == 600
    assert (kept.cut_from, kept.cut_rows) == ("loans@v1", 600)
    assert kept.left_out == {
        "id": "key",
        "at": "time",
        "name": "personal data",
        "code": "nearly every row has a value of its own",
    }
    frame = tables.read(ws, version)
    counted = outline.count(kept.reference.bins, frame)
    assert encode(counted) == encode(kept.reference.profile)


def test_the_next_version_is_counted_on_the_same_bins(ws, add):
    first, second = add(table(1)), add(table(2, shift=0.3))
    one, two = outline.stored(ws, first), outline.stored(ws, second)
    assert two.reference.bins == one.reference.bins
    assert two.reference.profile.bins == one.reference.profile.bins
    assert two.cut_from == "loans@v1"


@pytest.mark.slow
def test_bins_are_cut_anew_for_other_columns_and_for_many_more_rows(ws, add):
    add(table(1))
    wider = add(table(2).with_columns(pl.lit(1.5).alias("rate")))
    assert outline.stored(ws, wider).cut_from == "loans@v2"
    longer = add(table(3, rows=1_300).with_columns(pl.lit(1.5).alias("rate")))
    assert outline.stored(ws, longer).cut_from == "loans@v3"


def test_a_version_without_one_gets_it_from_its_table(ws, add, configure):
    version = add(table(1))
    kept = outline.stored(ws, version)
    ws.blobs.remove(version.meta["profile"]["reference"])
    assert outline.stored(ws, version) is None
    made = outline.of(ws, version, configure(key="id", time="at", pii=["name"]).data["loans"])
    assert encode(made.reference.profile) == encode(kept.reference.profile)
    version.meta.pop("profile")
    assert outline.stored(ws, version) is None


def test_a_table_of_keys_alone_is_data_without_distributions(ws, put, configure):
    put("loans.csv", "id\n" + "\n".join(map(str, range(50))))
    version = snapshot.add(ws, configure(key="id"), "loans").version
    assert version.meta["profile"] == {}
    with pytest.raises(DataError, match="no column"):
        outline.of(ws, version, configure(key="id").data["loans"])


def test_a_text_that_turns_into_levels_is_counted_on_the_bins_it_had():
    made = outline.make(table(1), outline.NO_ROLES, "loans@v1")
    short = table(2).with_columns(note=pl.lit("paid"))
    counted = outline.count(made.reference.bins, short)
    places = made.reference.bins.spans()
    assert counted.counts[places["note:characters"]].sum() == 600
    again = outline.make(short, outline.NO_ROLES, "loans@v2", made)
    assert again.cut_from == "loans@v2"
    assert "note" in again.reference.bins.names


def test_long_tables_are_thinned_evenly(monkeypatch):
    monkeypatch.setattr(outline, "MOST_ROWS", 100)
    monkeypatch.setattr(outline, "CUT_ROWS", 40)
    made = outline.make(table(1, rows=350), outline.NO_ROLES, "loans@v1")
    assert made.reference.profile.rows == 88  # every fourth
    assert made.cut_rows == 40


def test_odd_tables_are_counted():
    frame = pl.DataFrame(
        {
            "empty": pl.Series([None] * 30, dtype=pl.String),
            "nothing": pl.Series([None] * 30, dtype=pl.Float64),
            "same": [7] * 30,
            "huge": [1e308, -1e308, None] * 10,
        }
    )
    made = outline.make(frame, outline.NO_ROLES, "odd@v1")
    assert made.reference.bins.names == ("empty", "nothing", "same", "huge")
    fewer = outline.count(made.reference.bins, frame.select("same", huge=pl.lit("word")))
    span = made.reference.bins.spans()["huge"]
    assert fewer.counts[span][-1] == 30  # words where numbers were are of the wrong type
    for none in (frame.head(0), frame.select("same").head(0)):
        with pytest.raises(DataError):
            outline.make(none, outline.NO_ROLES, "odd@v1")


def test_coded_text_is_fitted_as_text_is():
    frame = table(4)
    coded = columns_of(frame, ["region", "note"])
    plain = {name: np.array(frame[name].to_list(), dtype=object) for name in coded}
    assert fit(coded) == fit(plain)


@pytest.mark.parametrize("turned", ["note", "region", "income", "years"])
def test_a_column_of_another_kind_is_of_the_wrong_type_and_not_missing(turned):
    made = outline.make(table(1), outline.NO_ROLES, "loans@v1")
    other = pl.Series([1.5, None] * 300) if turned in ("note", "region") else pl.Series(["a"] * 600)
    counted = outline.count(made.reference.bins, table(2).with_columns(other.alias(turned)))
    feature = f"{turned}:characters" if turned == "note" else turned
    cells = made.reference.bins.feature(feature)
    counts = counted.counts[made.reference.bins.spans()[feature]]
    rows = {name: counts[list(codes)].sum() for name, codes in cells.groups().items()}
    gaps = other.null_count()
    assert (rows["mistyped"], rows["missing"]) == (600 - gaps, gaps)


def test_values_of_any_kind_are_new_where_there_never_was_one():
    made = outline.make(table(1).with_columns(e=pl.lit(None, pl.String)), outline.NO_ROLES, "a@v1")
    counted = outline.count(made.reference.bins, table(2).with_columns(e=pl.lit(1.5)))
    codes = made.reference.bins.feature("e").groups()["unseen"]
    assert counted.counts[made.reference.bins.spans()["e"]][list(codes)].sum() == 600
