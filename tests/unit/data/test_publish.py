from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab import hashing
from trimtab.data import publish, quarantine, snapshot, tables
from trimtab.errors import DataError, NotFoundError
from trimtab.store import ledger, versions

CSV = "id,income,word,ok,at\nA,1.5,x,true,2026-01-01T00:00:00Z\nB,,y,false,2026-01-02T00:00:00Z\n"
LOG = f"blake3:{'1' * 64}"


@pytest.fixture
def config(ws, put, configure):
    put("loans.csv", CSV)
    made = configure(key="id", time="at")
    snapshot.add(ws, made, "loans")
    return made


def rows(**columns) -> pl.DataFrame:
    base = {"id": ["C"], "income": [2], "word": ["z"], "ok": [True], "at": [datetime(2026, 1, 3)]}
    return pl.DataFrame({**base, **columns})


def test_a_frame_becomes_the_next_version_with_its_provenance(ws, config):
    version = publish.publish(ws, config, "loans", rows(), provenance={"log": LOG}, run="r" * 32)
    assert (version.label, version.run) == ("loans@v2", "r" * 32)
    assert version.meta["source"]["method"] == "published"
    assert version.meta["source"]["provenance"] == {"log": LOG}
    assert version.meta["parents"] == [versions.get(ws, "data", "loans@v1").digest]
    frame = tables.read(ws, version)
    assert frame.schema == tables.read(ws, "loans@v1").schema
    assert frame["income"].to_list() == [2.0]
    path = tables.cache_path(ws, version)
    path.unlink()
    assert tables.read(ws, version).equals(frame)


def test_the_same_rows_are_the_same_version(ws, config):
    first = publish.publish(ws, config, "loans", rows(), provenance={})
    chunks = pl.concat([rows(), rows().clear()], rechunk=False).select(sorted(rows().columns))
    again = publish.publish(ws, config, "loans", chunks, provenance={})
    assert again.digest == first.digest
    assert again.number == first.number


def test_a_missing_column_must_be_nullable_or_known_to_be_absent(ws, config):
    without = publish.publish(ws, config, "loans", rows().drop("income"), provenance={})
    assert tables.read(ws, without)["income"].to_list() == [None]
    with pytest.raises(DataError, match="lacks column 'word'"):
        publish.publish(ws, config, "loans", rows().drop("word"), provenance={})
    absent = {"absent": ["word", "id"]}
    frame = tables.read(
        ws, publish.publish(ws, config, "loans", rows().drop("word", "id"), provenance=absent)
    )
    assert frame.columns == ["id", "income", "word", "ok", "at"]
    assert frame.row(0)[:3] == (None, 2.0, None)


def test_values_take_the_types_of_the_schema(ws, put, configure):
    put("loans.csv", "n,x\n1,1.5\n")
    snapshot.add(ws, configure(), "loans")

    def published(**columns):
        version = publish.publish(ws, configure(), "loans", pl.DataFrame(columns), provenance={})
        return tables.read(ws, version)

    frame = published(n=[2.0, None], x=[1, 2])
    assert frame.schema == {"n": pl.Int64(), "x": pl.Float64()}
    frame = published(n=[3], x=[None])
    assert frame.schema == {"n": pl.Int64(), "x": pl.Float64()}
    frame = published(n=[2.5], x=[0.5])
    assert frame.schema == {"n": pl.Float64(), "x": pl.Float64()}


def test_new_columns_come_last(ws, config):
    frame = rows(extra=[1]).select("extra", pl.exclude("extra"))
    version = publish.publish(ws, config, "loans", frame, provenance={})
    assert tables.read(ws, version).columns[-1] == "extra"
    assert version.meta["schema_changes"][-1]["kind"] == "added"


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (rows(word=[1]), "column 'word' was text and is integer"),
        (rows(income=[float("inf")]), "row 1, column 'income': a number cannot be infinite"),
        (rows(id=pl.Series([None], dtype=pl.String)), "key 'id' is missing"),
        (pl.concat([rows(), rows()]), "key 'id' has 'C' again"),
        (rows(word=[["a"]]), "column 'word' holds list"),
        (rows().clear(), "the table has no rows"),
    ],
)
def test_a_bad_frame_is_quarantined_and_changes_nothing(frame, message, ws, config):
    head, blobs = ledger.head(ws), list(ws.blobs.digests())
    with pytest.raises(DataError, match=message) as caught:
        publish.publish(ws, config, "loans", frame, provenance={})
    assert "the batch is kept in" in caught.value.hint
    assert (ledger.head(ws), list(ws.blobs.digests())) == (head, blobs)
    (reason,) = quarantine.find(ws.root, "loans")
    assert list(reason.files) == ["published.parquet"]


def test_only_a_name_of_the_project_file_can_be_published(ws, config):
    with pytest.raises(NotFoundError, match="did you mean 'loans'"):
        publish.publish(ws, config, "loan", rows(), provenance={})


CELLS = st.fixed_dictionaries(
    {
        "n": st.none() | st.integers(-(2**63), 2**63 - 1),
        "x": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "s": st.none() | st.text(st.characters(codec="utf-8"), max_size=5),
        "ok": st.none() | st.booleans(),
        "at": st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)),
    }
)
SCHEMA = {
    "n": pl.Int64,
    "x": pl.Float64,
    "s": pl.String,
    "ok": pl.Boolean,
    "at": pl.Datetime("us"),
}


@pytest.mark.slow
@given(st.lists(CELLS, min_size=1, max_size=6))
def test_what_is_written_is_read_back_and_its_bytes_are_its_rows(tmp_path_factory, cells):
    frame = publish.conform(pl.DataFrame(cells, schema=SCHEMA), None, set())
    folder = Path(tmp_path_factory.mktemp("publish"))
    publish.write(frame, folder / "a.parquet")
    pieces = [frame[row : row + 1] for row in range(frame.height)]
    publish.write(pl.concat(pieces, rechunk=False), folder / "b.parquet")
    assert hashing.file_digest(folder / "a.parquet") == hashing.file_digest(folder / "b.parquet")
    assert pl.read_parquet(folder / "a.parquet").equals(frame)
