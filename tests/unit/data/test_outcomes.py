from __future__ import annotations

import io
import os
from datetime import UTC, datetime

import polars as pl
import pytest

from trimtab.data import quarantine, reader
from trimtab.data.outcomes import Cursor, read_outcomes, truths


def at(day: int) -> datetime:
    return datetime(2026, 1, day, tzinfo=UTC)


@pytest.fixture
def look(tmp_path):
    def read(since=None, **options):
        options = {"target": "repaid", "root": tmp_path / ".trimtab", **options}
        return read_outcomes("out/*.*", tmp_path, since=since, **options)

    return read


def test_labels_are_read_with_their_other_columns(put, look):
    put(
        "out/a.csv",
        "prediction_id,repaid,labelled_at,group\n01,1,2026-01-02,a\n02,0,2026-01-01,b\n",
    )
    found = look()
    assert found.frame.rows(named=True) == [
        {"prediction_id": "02", "repaid": 0, "labelled_at": at(1), "group": "b"},
        {"prediction_id": "01", "repaid": 1, "labelled_at": at(2), "group": "a"},
    ]
    assert (found.files, found.problems) == (1, ())


def test_a_label_without_a_time_is_as_old_as_its_file(put, look):
    path = put("out/a.csv", "prediction_id,repaid\np1,1\n")
    stamp = int(at(5).timestamp() * 10**9)
    os.utime(path, ns=(stamp, stamp))
    assert look().frame["labelled_at"].to_list() == [at(5)]


def test_only_new_and_changed_files_are_read(put, look, monkeypatch):
    put("out/a.csv", "prediction_id,repaid\np1,1\n")
    first = look()
    calls = []
    whole = reader.read
    monkeypatch.setattr(reader, "read", lambda *args: calls.append(args) or whole(*args))
    again = look(first.cursor)
    assert (again.frame.height, again.files, calls) == (0, 0, [])
    assert again.cursor == first.cursor
    put("out/b.csv", "prediction_id,repaid\np2,0\n")
    third = look(again.cursor)
    assert third.frame["prediction_id"].to_list() == ["p2"]
    put("out/a.csv", "prediction_id,repaid\np1,1\np3,1\n")
    fourth = look(third.cursor)
    assert sorted(fourth.frame["prediction_id"]) == ["p1", "p3"]
    assert sorted(fourth.cursor.files) == ["a.csv", "b.csv"]


def test_no_file_is_no_error(look):
    found = look(types={"repaid": "boolean"})
    assert found.frame.schema == {
        "prediction_id": pl.String(),
        "repaid": pl.Boolean(),
        "labelled_at": pl.Datetime("us", "UTC"),
    }
    assert found.cursor == Cursor()


def test_the_label_given_last_wins_and_conflicts_are_counted(put, look):
    put(
        "out/a.csv",
        "prediction_id,repaid,labelled_at\n"
        "p1,1,2026-01-01\np1,1,2026-01-03\np2,1,2026-01-04\np2,0,2026-01-02\np3,1,2026-01-01\n",
    )
    put("out/b.csv", "prediction_id,repaid,labelled_at\np3,0,2026-01-02\n,1,2026-01-01\np4,,\n")
    found = look()
    labels = dict(found.frame.select("prediction_id", "repaid").iter_rows())
    assert labels == {"p1": 1, "p2": 1, "p3": 0}
    assert (found.repeated, found.conflicting, found.empty) == (1, 2, 2)


def test_a_bad_file_is_quarantined_and_the_others_count(put, look, tmp_path):
    out = io.BytesIO()
    pl.DataFrame({"prediction_id": ["p9"], "repaid": [1]}).write_parquet(out)
    put("out/torn.parquet", out.getvalue()[:-5])
    put("out/wrong.csv", "prediction,repaid\np1,1\n")
    put("out/good.csv", "prediction_id,repaid\np2,1\n")
    found = look()
    assert found.frame["prediction_id"].to_list() == ["p2"]
    problems = {problem.file: problem.error for problem in found.problems}
    assert "not a whole Parquet file" in problems["torn.parquet"]
    assert "no column 'prediction_id', did you mean 'prediction'" in problems["wrong.csv"]
    kept = {
        file
        for reason in quarantine.find(tmp_path / ".trimtab", "outcomes")
        for file in reason.files
    }
    assert kept == {"torn.parquet", "wrong.csv"}
    assert look(found.cursor).problems == ()
    put("out/torn.parquet", out.getvalue())
    assert look(found.cursor).frame["prediction_id"].to_list() == ["p9"]


def test_every_file_means_the_declared_type(put, look):
    put("out/a.csv", "prediction_id,repaid\np1,1\n")
    put("out/b.csv", "prediction_id,repaid\np2,maybe\n")
    out = io.BytesIO()
    pl.DataFrame({"prediction_id": ["p3", "p4"], "repaid": [0.5, 1.0]}).write_parquet(out)
    put("out/c.parquet", out.getvalue())
    found = look(types={"repaid": "integer"})
    assert found.frame["repaid"].to_list() == [1]
    assert {problem.file for problem in found.problems} == {"b.csv", "c.parquet"}
    assert look(types={"repaid": "number"}).frame["repaid"].to_list() == [1.0, 0.5, 1.0]


def test_extra_columns_of_two_kinds_become_text(put, look):
    put("out/a.csv", "prediction_id,repaid,note\np1,1,5\n")
    put("out/b.csv", "prediction_id,repaid,note,more\np2,0,late,x\n")
    frame = look().frame.sort("prediction_id")
    assert frame["note"].to_list() == ["5", "late"]
    assert frame["more"].to_list() == [None, "x"]


@pytest.mark.parametrize(
    ("kind", "given", "meant"),
    [
        ("number", ["1.5", "oops", "99"], [1.5, "oops", 99.0]),
        ("integer", ["0", "2.5", "?"], [0.0, 2.5, "?"]),
        ("boolean", ["true", "FALSE", "maybe"], [True, False, "maybe"]),
        ("text", ["01", "1", "oops"], ["01", "1", "oops"]),
        (None, ["01", "1", "oops"], ["01", "1", "oops"]),
    ],
)
def test_one_word_in_a_file_leaves_the_other_truths_what_they_are(kind, given, meant):
    assert truths(pl.Series(given), kind) == meant
    assert truths(pl.Series([0.5, 1.0]), kind) == [0.5, 1.0]
