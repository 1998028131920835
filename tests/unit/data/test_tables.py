from __future__ import annotations

import shutil

import polars as pl
import pytest

from trimtab.data import reader, snapshot, tables
from trimtab.errors import NotFoundError, StorageError

ROWS = "id,n\nA,1\nB,2\n"


@pytest.fixture
def version(ws, put, configure):
    put("loans.csv", ROWS)
    return snapshot.add(ws, configure(), "loans").version


def test_a_version_is_read_by_record_label_or_digest(ws, version):
    expected = pl.DataFrame({"id": ["A", "B"], "n": [1, 2]})
    for reference in (version, "loans@v1", "loans@latest", "loans", version.digest):
        assert tables.read(ws, reference).equals(expected)
        assert tables.scan(ws, reference).collect().equals(expected)


def test_columns_are_chosen_in_their_order(ws, version):
    assert tables.read(ws, version, ["n", "id"]).columns == ["n", "id"]
    with pytest.raises(NotFoundError, match=r"loans@v1 has no column 'ID', did you mean 'id'"):
        tables.read(ws, version, ["ID"])
    shutil.rmtree(ws.root / "cache")
    assert tables.read(ws, version, ["n"]).columns == ["n"]


def test_the_cache_is_used_and_made_again_when_gone_or_damaged(ws, version, monkeypatch):
    path = tables.cache_path(ws, version)
    expected = pl.read_parquet(path)
    for damage in (b"", b"PAR1 nonsense", path.read_bytes()[:-7]):
        path.write_bytes(damage)
        assert tables.read(ws, version).equals(expected)
        assert pl.read_parquet(path).equals(expected)
    path.unlink()
    assert tables.scan(ws, version).collect().equals(expected)
    monkeypatch.setattr(reader, "read", lambda *_: pytest.fail("the cache was not used"))
    assert tables.read(ws, version).equals(expected)


def test_a_cache_that_cannot_be_written_costs_time_only(ws, version):
    shutil.rmtree(ws.root / "cache")
    (ws.root / "cache").write_text("in the way")
    assert tables.read(ws, version).height == 2
    with pytest.raises(StorageError, match="cannot write"):
        tables.scan(ws, version)


def test_a_new_reader_has_its_own_cache(ws, version, monkeypatch):
    before = tables.cache_path(ws, version)
    monkeypatch.setattr(reader, "VERSION", reader.VERSION + 1)
    assert tables.cache_path(ws, version) != before


def test_an_unknown_version_is_not_found(ws, version):
    with pytest.raises(NotFoundError, match="did you mean 'loans'"):
        tables.read(ws, "loan")
