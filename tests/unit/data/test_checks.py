from __future__ import annotations

import polars as pl
import pytest

from trimtab.config import DataConfig
from trimtab.data import checks, reader, schema
from trimtab.errors import DataError


def table(put, content: str) -> reader.Table:
    return reader.read([("a.csv", put("a.csv", content))])


def test_a_role_without_its_column_offers_the_nearest(put):
    found = schema.infer(table(put, "Repaid,income\n1,2\n").frame)
    for role in ("key", "target", "protected", "pii"):
        value = ("repayd",) if role in ("protected", "pii") else "repayd"
        with pytest.raises(DataError, match="did you mean 'Repaid'") as caught:
            checks.roles(found, DataConfig(source="x", **{role: value}), "loans")
        assert f"[data.loans] {role}" in caught.value.message
        assert "Repaid, income" in caught.value.hint


def test_a_time_that_holds_something_else_is_refused(put):
    found = schema.infer(table(put, "at\n5\n").frame)
    with pytest.raises(DataError, match="the column holds integer values, not times"):
        checks.roles(found, DataConfig(source="x", time="at"), "loans")


def test_a_repeated_key_names_the_first_and_the_count(put):
    rows = table(put, "id,x\nA,1\nB,2\nA,3\nB,4\nA,5\n")
    with pytest.raises(DataError) as caught:
        checks.rows(rows, DataConfig(source="x", key="id"))
    assert caught.value.message == (
        "a.csv line 4: key 'id' has 'A' again, first in a.csv line 2; 3 rows repeat an earlier key"
    )


def test_a_missing_key_or_time_names_the_first_row(put):
    rows = table(put, "id,at\nA,2026-01-01\n,\nC,\n,2026-01-01\n")
    with pytest.raises(DataError, match=r"a.csv line 3: key 'id' is missing, and in 1 more rows"):
        checks.rows(rows, DataConfig(source="x", key="id"))
    with pytest.raises(DataError, match=r"a.csv line 3: time 'at' is missing, and in 1 more rows"):
        checks.rows(rows, DataConfig(source="x", time="at"))


def test_a_missing_target_is_only_noted(put):
    rows = table(put, "y\n1\n \n0\n")
    assert checks.rows(rows, DataConfig(source="x", target="y")) == ["1 rows have no 'y'"]


def test_a_target_needs_two_outcomes():
    frame = pl.DataFrame({"y": [1, 1, None], "none": [None, None, None], "good": [0, 1, 1]})
    checks.check_target(frame, "good")
    with pytest.raises(DataError, match="target 'y' is 1 in all of 2 rows"):
        checks.check_target(frame, "y")
    with pytest.raises(DataError, match="target 'none' has no value"):
        checks.check_target(frame, "none")
    with pytest.raises(DataError, match="there is no column 'god', did you mean 'good'"):
        checks.check_target(frame, "god")


def test_a_later_file_may_add_a_column_but_not_lose_one(put):
    def files(**contents: str) -> reader.Table:
        return reader.read([(f"{n}.csv", put(f"{n}.csv", c)) for n, c in contents.items()])

    checks.files(files(a="x\n1\n", b="x,y\n1,2\n"), ())
    lost = files(a="x,y\n1,2\n", b="x\n1\n")
    with pytest.raises(DataError, match=r"b.csv has no column 'y', which a.csv has"):
        checks.files(lost, ())
    checks.files(lost, ("y",))
