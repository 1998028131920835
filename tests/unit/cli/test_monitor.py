"""`trimtab monitor` and what may be done to incidents, on the command line."""

from __future__ import annotations

import io

import msgspec
import numpy as np
import polars as pl
import pytest

from trimtab.server import words
from trimtab.store import alerts, operations
from trimtab.store.records import Alert


@pytest.fixture
def tables(tmp_path):
    """old.csv, calm.csv like it, and moved.csv."""
    random = np.random.default_rng(0)
    for name, shift in (("old", 0.0), ("calm", 0.0), ("moved", 0.7)):
        rows = 4000 if name == "old" else 900
        frame = pl.DataFrame(
            {"x": random.normal(shift, 1, rows), "kind": random.choice(["a", "b"], rows)}
        )
        frame.write_csv(tmp_path / f"{name}.csv")
    return tmp_path


def test_a_calm_table_ends_with_0(call, tables):
    ended = call("monitor", "calm.csv", "--against", "old.csv")
    assert (ended.code, ended.err) == (0, "")
    assert "nothing moved beyond its margin" in ended.out
    assert "anderson darling" in ended.out


def test_a_table_that_moved_ends_with_3_and_names_it(call, tables):
    ended = call("monitor", "moved.csv", "--against", "old.csv")
    assert ended.code == 3
    assert ended.out.splitlines()[1].startswith("! Data drift")
    row = next(line for line in ended.out.splitlines() if line.startswith("x "))
    assert row.split()[-2:] == ["data", "drift"]


def test_json_says_all_of_it_with_the_same_code(call, tables):
    ended = call("monitor", "moved.csv", "--against", "old.csv", "--json")
    assert ended.code == 3
    assert ended.body["status"] == "found"
    assert ended.body["findings"][0]["kind"] == "data drift"
    (window,) = ended.body["windows"]
    assert {one["feature"] for one in window["measures"]} == {"x", "kind"}


def test_a_table_comes_from_stdin(call, tables, monkeypatch):
    frame = pl.read_csv(tables / "moved.csv")
    for form, name in ((frame.write_csv, "csv"), (frame.write_parquet, "parquet"),
                       (frame.write_ipc, "arrow"), (frame.write_ndjson, "ndjson")):  # fmt: skip
        form(data := io.BytesIO())
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data.getvalue())))
        ended = call("monitor", "-", "--against", "old.csv")
        assert ended.code == 3
        assert ended.out.startswith(f"stdin.{name} against old.csv: 900 rows\n! Data drift")


@pytest.mark.slow
def test_of_many_features_the_table_shows_those_that_moved_and_twenty_more(call, tables):
    random = np.random.default_rng(1)
    for name, rows in (("wide", 2000), ("now", 500)):
        columns = {f"f{i:02}": random.normal(i == 40 and name == "now", 1, rows) for i in range(60)}
        pl.DataFrame(columns).write_csv(tables / f"{name}.csv")
    ended = call("monitor", "now.csv", "--against", "wide.csv")
    shown = [line.split()[0] for line in ended.out.splitlines() if line.startswith("f")]
    assert shown[1] == "f40"
    assert 21 <= len(shown) - 1 < 25
    assert "more features are ok; --json tells of each" in ended.err


def test_too_few_rows_end_with_6(call, tables):
    (tables / "few.csv").write_text("x,kind\n1,a\n2,b\n")
    ended = call("monitor", "few.csv", "--against", "old.csv")
    assert ended.code == 6
    assert "not judged: 2 rows are too few" in ended.out


@pytest.mark.parametrize(("arguments", "code", "said"), [
    (("gone.csv", "--against", "old.csv"), 4, "no file"),
    (("empty.csv", "--against", "old.csv"), 1, "empty.csv is empty"),
    (("calm.csv",), 2, "nothing to compare calm.csv with"),
    ((".", "--against", "old.csv"), 1, ". is a folder"),
    (("calm.csv", "--against", "loans@v1"), 4, "no trimtab.toml"),
    (("calm.csv", "--against", "old.csv", "--time", "when"), 2, "no column 'when'"),
    (("calm.csv", "--against", "old.csv", "--time", "x", "--window", "soon"), 2, "not a duration"),
    (("--against", "old.csv"), 2, "go with a FILE"),
    (("calm.csv", "--against", "old.csv", "--truth", "kind"), 2, "--truth goes with --score"),
    (("calm.csv", "--against", "old.csv", "--truth", "x", "--score", "x"), 2, "of their own"),
    (("calm.csv", "--against", "old.csv", "--leave-out", "z"), 2, "'z' is no column of calm.csv"),
    (("calm.csv", "--against", "old.csv", "--record"), 4, "no trimtab.toml"),
])  # fmt: skip
def test_what_is_wrong_is_said_in_words(call, tables, arguments, code, said):
    (tables / "empty.csv").write_text("")
    ended = call("monitor", *arguments)
    assert ended.code == code
    assert said in ended.err
    assert ended.out == ""


def test_without_a_file_it_shows_what_was_seen(call, loans):
    ended = call("monitor")
    assert ended.code == 0
    assert "loans@v1" in ended.out
    assert "600" in ended.out
    assert call("monitor", "--json").body["watched"][0]["name"] == "loans"


def test_a_name_instead_of_a_file_shows_that_one_and_its_windows(call, loans):
    ended = call("monitor", "loans")
    assert ended.code == 0
    assert ended.out.startswith("loans against loans@v1\n")
    count = len(operations.windows(loans.ws, endpoint="loans"))
    assert len(call("monitor", "loans", "--json").body["watched"][0]["windows"]) == count
    assert len([line for line in ended.out.splitlines() if line[:2] == "20"]) == count
    newest = max(operations.windows(loans.ws, endpoint="loans"), key=lambda one: one.start)
    quality = {"values": {"accuracy": {"value": 0.9}, "roc_auc": {"value": 0.8125}}}
    known = msgspec.structs.replace(newest, features={**newest.features, "quality": quality})
    operations.save_window(loans.ws, known)
    out = call("monitor", "loans").out
    assert "roc_auc" in out and "0.8125" in out and "accuracy" not in out
    ended = call("monitor", "loan")
    assert (ended.code, ended.out) == (4, "")
    assert "no file loan, and nothing that is watched has this name" in ended.err


def test_a_window_shows_what_its_labels_do_beside_its_inputs(call, loans):
    """Inputs as in training and a quarter of the answers right: both stand in the row."""
    (older,) = operations.windows(loans.ws, endpoint="loans")
    day = 86_400_000_000
    features = {"labels": {"metrics": {"accuracy": {"value": 0.2514, "n": 41}}}}
    newest = msgspec.structs.replace(
        older, start=older.start + day, end=older.end + day, features=features
    )
    operations.save_window(loans.ws, msgspec.structs.replace(older, features={}))
    operations.save_window(loans.ws, newest)
    lines = call("monitor", "loans").out.splitlines()
    (head,) = [one.split() for one in lines if one.startswith("window ")]
    assert head[-2:] == ["labels", "accuracy"]
    rows = {one[:10]: one.split()[-2:] for one in lines if one[:2] == "20"}
    assert rows[words.moment(newest.start)[:10]] == ["41", "0.2514"]
    assert rows[words.moment(older.start)[:10]] == ["–", "–"]


def test_a_window_that_is_not_judged_yet_is_not_called_well(call, loans):
    windows = operations.windows(loans.ws, endpoint="loans")
    newest = max(windows, key=lambda one: one.start)
    fresh = {"start": newest.end, "end": newest.end + 1, "rows": 77, "judged_at": 0, "findings": []}
    operations.save_window(loans.ws, msgspec.structs.replace(newest, **fresh))
    row = next(line for line in call("monitor").out.splitlines() if line.startswith("loans "))
    assert " 77 " not in row
    alone = msgspec.structs.replace(newest, endpoint="new", **fresh)
    operations.save_window(loans.ws, alone)
    row = next(line for line in call("monitor").out.splitlines() if line.startswith("new "))
    assert row.rstrip().endswith("no window has closed yet")


def test_an_incident_is_taken_in_hand_shown_and_closed(call, loans):
    one = operations.incidents(loans.ws, state="open")[0]
    told = Alert(id="k", incident=one.id, event="opened", channel="webhook", body={},
                 attempts=3, error="the webhook answered 500 Oops", created_at=1)  # fmt: skip
    alerts.put(loans.ws, told)
    taken = call("incidents", "ack", one.id[:16], "--by", "maria", "--json")
    assert (taken.code, taken.body["acknowledged_by"]) == (0, "maria")
    assert "acknowledged" in call("incidents", "ls").out
    shown = call("incidents", "show", one.id[:16]).out
    for text in ("by maria", "webhook", "the webhook answered 500 Oops", "waiting", "once"):
        assert text in shown
    assert call("incidents", "resolve", one.id, "--note", "mended").code == 0
    again = call("incidents", "ack", one.id)
    assert again.code == 5
    assert "resolved already" in again.err


@pytest.mark.parametrize("apart", [0, 5 * 86_400_000_000])
def test_of_an_incident_two_clocks_are_told_apart_and_moments_are_written_as_such(
    call, loans, apart
):
    one = operations.incidents(loans.ws, state="open")[0]
    gone = one.detail | {"lasts": False, "over_at": one.opened_at + 86_400_000_000}
    operations.update_incident(loans.ws, msgspec.structs.replace(one, detail=gone))
    moment = one.opened_at + apart
    alerts.put(loans.ws, Alert(id="k", incident=one.id, event="opened", channel="log", body={},
                               state="sent", created_at=moment, sent_at=moment))  # fmt: skip
    shown = call("incidents", "show", one.id[:16])
    assert words.moment(gone["over_at"]) in shown.out
    assert ("by this machine's clock" in shown.out + shown.err) == bool(apart)
