"""Runs out to a folder and in again: everything once, and what cannot be carried is named."""

from __future__ import annotations

import contextlib
import http.server
import json
import math
import os
import shutil
import sqlite3
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.errors import DataError, NotFoundError, StorageError, UsageError
from trimtab.interop.mlflow import files
from trimtab.interop.mlflow.board import Board
from trimtab.interop.mlflow.state import LoggedModel, Registered, RegisteredVersion, TrackedRun
from trimtab.interop.transfer import bytes_in, chosen, database, remote
from trimtab.interop.transfer.giving import export_to_mlflow
from trimtab.interop.transfer.intake import Taking, named
from trimtab.interop.transfer.mlruns import fields
from trimtab.interop.transfer.source import missing, series_of
from trimtab.interop.transfer.taking import open_source, take
from trimtab.interop.transfer.tally import Tally
from trimtab.store import check, deleted, metrics, runs, tracked
from trimtab.store.records import Point
from trimtab.store.series import reading
from trimtab.store.workspace import open_workspace

ODD = [math.nan, math.inf, -math.inf, -0.0, 1e-300]


@pytest.fixture
def ws(tmp_path):
    (tmp_path / "ours").mkdir()
    opened = open_workspace(tmp_path / "ours", "demo")
    yield opened
    opened.close()


@pytest.fixture
def other(tmp_path):
    (tmp_path / "other").mkdir()
    opened = open_workspace(tmp_path / "other", "demo")
    yield opened
    opened.close()


def tracked_run(number, **given):
    run = f"{number:032x}"
    return TrackedRun(
        id=run, experiment=0, name=f"run {number}", user="me", start=1000 + number,
        location=f"mlflow-artifacts:/0/{run}/artifacts", status="FINISHED", end=5000,
        params={"depth": str(number), "a/b": "x\ny"}, tags={"mlflow.runName": f"run {number}"}, **given,
    )  # fmt: skip


def fill(ws, count=3, points=4):
    """Runs as clients of MLflow log them, each inside the one before."""
    board = Board(ws)
    board.load()
    with ws.transaction():
        for number in range(1, count + 1):
            one = tracked_run(number)
            if number > 1:
                one.tags["mlflow.parentRunId"] = f"{number - 1:032x}"
            one.outputs = [{"model_id": f"m-{number}", "step": 2}]
            one.inputs = [{"dataset": {"name": "d", "digest": "e", "source_type": "s", "source": "{}"},
                           "tags": [{"key": "k", "value": "v"}]}]  # fmt: skip
            board.add_run(one)
            board.log(one, [("loss", float(n), n, n) for n in range(points)])
            board.log(one, [("sub/odd", value, 7, n) for n, value in enumerate(ODD)])
            board.write()
            digest = ws.blobs.put(f"file {number}".encode())
            files.store(board, f"0/{one.id}/artifacts/notes/a.txt", digest, 6)
            model = LoggedModel(
                f"m-{number}", 0, "lin", f"mlflow-artifacts:/0/models/m-{number}/artifacts", 5, 6,
                run=one.id, status="LOGGED_MODEL_READY", params={"p": "1"}, tags={"t": "2"},
                metrics=[{"key": "acc", "value": 0.5, "timestamp": 3, "step": 1,
                          "model_id": f"m-{number}", "run_id": one.id}],
            )  # fmt: skip
            files.store(board, f"0/models/m-{number}/artifacts/MLmodel", digest, 6)
            model.digest = files.keep_model(board, model)
            board.models[model.id] = model
            board.touch(model)
        board.registered["lin"] = Registered("lin", 8, 9, last=1, aliases={"champion": 1})
        board.versions["lin"] = {
            1: RegisteredVersion(
                "lin", 1, "models:/m-1", 8, 9, run=f"{1:032x}", model="m-1",
                location="mlflow-artifacts:/0/models/m-1/artifacts", description="words",
            )
        }  # fmt: skip
        board.touch(board.registered["lin"])
        board.touch(board.versions["lin"][1])
        board.write()
    return [f"{number:032x}" for number in range(1, count + 1)]


def taken(ws, source, only="", **given):
    tally = Tally(dry_run=given.pop("dry_run", False))
    found = open_source(str(source), tally.skip, artifacts=given.pop("artifacts", None))
    try:
        take(Taking(ws=ws, source=found, tally=tally, **given), only)
    finally:
        found.close()
    return tally


def leave(ws, wanted, to):
    tally = Tally()
    export_to_mlflow(ws, wanted, to, tally)
    return tally


def seen(ws):
    """What is in a store, without what says when it came."""
    board = Board(ws)
    board.load()
    found = {}
    for run in board.runs.values():
        series = reading.read(ws, run.id)
        points = {key: [(p.step, p.time, repr(p.value)) for p in metrics.read(ws, run.id, key)]
                  for key in series}  # fmt: skip
        kept = bytes_in.kept(ws, run.location)
        data = {path: ws.blobs.read(one.digest) for path, one in kept.items()}
        latest = {key: repr(value) for key, value in sorted(run.metrics.items())}
        found[run.id] = (
            board.experiments[run.experiment].name, run.name, run.user, run.start, run.end,
            run.status, run.stage, run.params, run.tags, run.inputs, run.outputs, points, data, latest,
        )  # fmt: skip
    models = {
        one.id: (one.name, one.run, one.status, one.params, one.tags, one.metrics,
                 {path: ws.blobs.read(file.digest)
                  for path, file in bytes_in.kept(ws, one.location).items()})
        for one in board.models.values()
    }  # fmt: skip
    registered = {
        name: (one.aliases, [(v.number, v.source, v.run, v.model, v.description)
                             for v in board.versions[name].values()])
        for name, one in board.registered.items()
    }  # fmt: skip
    return found, models, registered


@pytest.fixture
def folder(ws, tmp_path):
    """A folder `mlruns` of three runs."""
    leave(ws, fill(ws), f"mlruns:{tmp_path}/mlruns")
    return tmp_path / "mlruns"


def test_out_and_in_again_is_the_same(ws, other, folder):
    found = taken(other, folder)
    assert found.skipped == []
    assert (found.runs, found.points, found.files, found.models) == (3, 27, 6, 3)
    assert (found.registered, found.versions) == (1, 1)
    assert seen(other) == seen(ws)
    assert check.check_blobs(other) == []
    assert runs.get(other, f"{2:032x}").parent == f"{1:032x}"


@pytest.mark.slow
def test_again_brings_nothing_and_what_grew_the_rest(other, folder):
    taken(other, folder)
    before = seen(other)
    again = taken(other, folder)
    assert (again.runs, again.grown, again.same, again.points, again.files) == (0, 0, 3, 0, 0)
    again = taken(other, folder, again=True)
    assert (again.runs, again.grown, again.points, again.files) == (0, 0, 0, 0)
    assert seen(other) == before
    run = folder / "0" / f"{1:032x}"
    with (run / "metrics" / "loss").open("a") as stream:
        stream.write("9 9.5 9\n3 3.0 3\n")
    (run / "tags" / "more").write_text("said")
    (run / "artifacts" / "new.txt").write_text("new")
    grown = taken(other, folder)
    assert (grown.runs, grown.grown, grown.same, grown.points, grown.files) == (0, 1, 2, 1, 1)
    assert metrics.latest(other, f"{1:032x}")["loss"] == 9.5
    assert tracked.is_file(other, f"0/{1:032x}/artifacts/new.txt")


def test_a_dry_run_changes_nothing(other, folder):
    found = taken(other, folder, dry_run=True)
    assert (found.runs, found.files, found.models, found.versions) == (3, 6, 3, 1)
    assert runs.find(other) == []
    assert list(other.blobs.digests()) == []
    assert found.skipped == []


def test_one_experiment_alone(other, folder):
    assert taken(other, folder, "Default").runs == 3
    with pytest.raises(NotFoundError, match="no experiment 'other'"):
        taken(other, folder, "other")


def test_a_second_export_adds_nothing(ws, folder):
    wanted = [run.id for run in runs.find(ws)]
    again = leave(ws, wanted, f"mlruns:{folder}")
    assert (again.runs, again.same, again.models, again.versions) == (0, 3, 0, 0)


def test_a_run_of_our_own_leaves_with_its_artifacts(ws, other, tmp_path):
    run = runs.start(ws, "run", "fit", params={"model": {"depth": 3}, "on": True}, pid=0)
    metrics.append(ws, run.id, [Point(key="a", step=1, time=5_000, value=0.5)])
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "x.txt").write_text("x")
    from trimtab.store import trees

    runs.link(ws, run.id, "out", "tree", trees.put_folder(ws.blobs, inner))
    runs.link(ws, run.id, "out", "../odd", ws.blobs.put(b"odd"))
    runs.finish(ws, run.id, "failed")
    found = leave(ws, [run.id[:16]], f"mlruns:{tmp_path}/out")
    assert [(one.what, one.reason) for one in found.skipped] == [
        ("file", "MLflow takes no such path")
    ]
    taken(other, tmp_path / "out")
    (shown,) = seen(other)[0].values()
    assert shown[0:2] == ("demo", "fit")
    assert shown[5] == "FAILED"
    assert shown[7] == {"model.depth": "3", "on": "True"}
    assert shown[12] == {"tree/x.txt": b"x"}


@pytest.mark.slow
def test_a_run_that_is_deleted_here_stays_deleted(other, folder):
    taken(other, folder)
    deleted.delete(other, [f"{1:032x}"])
    found = taken(other, folder, again=True)
    assert "it is deleted here" in found.skipped[0].reason
    assert f"{1:032x}" in deleted.find(other)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("start_time: 1", "other contents: it began at 1001 ms and not at 1 ms"),
        ("user_id: you", "other contents"),
    ],
)
def test_the_same_id_with_other_contents_is_listed_and_left(other, folder, change, reason):
    taken(other, folder)
    meta = folder / "0" / f"{1:032x}" / "meta.yaml"
    name, _, value = change.partition(": ")
    told = json.loads(meta.read_bytes()) | {name: int(value) if value.isdecimal() else value}
    meta.write_text(json.dumps(told))
    before = seen(other)
    found = taken(other, folder, again=True)
    assert [one.reason for one in found.skipped if reason in one.reason]
    assert seen(other) == before


def test_a_param_that_differs_is_listed_and_ours_stays(other, folder):
    taken(other, folder)
    (folder / "0" / f"{1:032x}" / "params" / "depth").write_text("17")
    found = taken(other, folder)
    assert [(one.what, one.reason) for one in found.skipped] == [
        ("param", "it is '1' here and '17' there")
    ]
    assert runs.get(other, f"{1:032x}").params["depth"] == "1"


def test_a_run_of_ours_with_that_id_is_left(other, folder):
    runs.start(other, "run", "mine", id=f"{1:032x}", pid=0)
    found = taken(other, folder)
    assert found.skipped[0].reason == "a run of that id is here that is none of MLflow's"
    assert found.runs == 2


def test_what_is_broken_in_a_folder_is_listed(other, folder, tmp_path):
    one, two, three = (folder / "0" / f"{number:032x}" for number in (1, 2, 3))
    with (one / "metrics" / "loss").open("a") as stream:
        stream.write("12 nonsense 3\n99 1.0 12")
    (two / "meta.yaml").write_text("a: [1, 2")
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (three / "artifacts" / "link").symlink_to(secret)
    (three / "artifacts" / "loop").symlink_to("loop")
    (folder / "0" / "linked").symlink_to(tmp_path)
    (one / "params" / "binary").write_bytes(b"\xff\xfe")
    found = taken(other, folder)
    told = {(skip.what, skip.name.removeprefix("0/")): skip.reason for skip in found.skipped}
    assert (
        "line 5 is no point: '12 nonsense 3', and 1 lines more"
        in (told["points", f"{one.name}/metrics/loss"])
    )
    assert "cannot be read" in told["run", f"{two.name}/meta.yaml"]
    assert told["file", f"{three.name}/artifacts/link"] == "it is a link out of the folder"
    assert "link out" in told["folder", "linked"]
    assert "cannot be read" in told["param", f"{one.name}/binary"]
    assert found.runs == 2
    assert len(metrics.read(other, one.name, "loss")) == 4
    assert all(b"secret" not in other.blobs.read(digest) for digest in other.blobs.digests())


def test_yaml_makes_no_objects(other, folder, tmp_path):
    meta = folder / "0" / f"{1:032x}" / "meta.yaml"
    meta.write_text(f'!!python/object/apply:os.mkdir ["{tmp_path}/made"]')
    found = taken(other, folder)
    assert found.runs == 2
    assert not (tmp_path / "made").exists()


def test_yaml_that_grows_without_end_is_no_field(other, folder):
    meta = folder / "0" / f"{1:032x}" / "meta.yaml"
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    meta.write_text("\n".join([*lines, "run_name: *a11", "status: 3", "start_time: 1001"]))
    found = taken(other, folder)
    assert found.runs == 3
    assert runs.get(other, f"{1:032x}").name == "run 1"


def test_a_database_whose_columns_are_others(other, tmp_path):
    with sqlite3.connect(tmp_path / "odd.db") as db:
        for name in ("runs", "metrics", "params", "tags"):
            db.execute(f"CREATE TABLE {name} (a)")
        db.execute("CREATE TABLE experiments (experiment_id, name)")
        db.execute("INSERT INTO experiments VALUES ('x', x'ff')")
    db.close()
    with pytest.raises(DataError, match="cannot be read"):
        taken(other, tmp_path / "odd.db")
    data = bytearray((tmp_path / "odd.db").read_bytes())
    data[4096:8192] = bytes(range(256)) * 16
    (tmp_path / "odd.db").write_bytes(data)
    with pytest.raises(DataError):
        taken(other, tmp_path / "odd.db")


def test_a_file_that_is_too_large_is_listed(other, folder):
    found = taken(other, folder, largest=3)
    assert found.files == 0
    assert {one.reason for one in found.skipped} == {"it has 6 bytes, more than 3"}


def test_a_folder_that_is_none_of_mlflows(other, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no folder of MLflow's"):
        taken(other, tmp_path / "empty")
    with pytest.raises(NotFoundError, match="no folder or file"):
        taken(other, tmp_path / "nothing")
    (tmp_path / "file.db").write_bytes(b"x" * 4096)
    with pytest.raises(DataError, match="no database of SQLite"):
        taken(other, tmp_path / "file.db")
    sqlite3.connect(tmp_path / "real.db").execute("CREATE TABLE a (b)").connection.close()
    with pytest.raises(DataError, match="no table 'experiments'"):
        taken(other, tmp_path / "real.db")


@pytest.mark.parametrize("content", [b"", b"x" * 4096])
def test_a_database_that_is_none_of_mlflows_is_left_closed(tmp_path, monkeypatch, content):
    made, connect = [], sqlite3.connect

    def noting(*given, **named):
        made.append(connect(*given, **named))
        return made[-1]

    monkeypatch.setattr(sqlite3, "connect", noting)
    (tmp_path / "file.db").write_bytes(content)
    with pytest.raises(DataError, match="no database of"):
        open_source(str(tmp_path / "file.db"), Tally().skip)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        made[0].execute("SELECT 1")


def test_targets_that_are_none(ws, tmp_path):
    with pytest.raises(UsageError, match="is no target"):
        leave(ws, [], "ftp://there")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        leave(ws, [], f"mlruns:{tmp_path}/file")


def test_a_disk_without_space_says_so_before_it_is_full(other, folder, monkeypatch):
    full = os.statvfs(folder)
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((*full[:3], 0, 0, *full[5:])))
    with pytest.raises(StorageError, match="does not fit"):
        taken(other, folder)
    monkeypatch.undo()
    assert taken(other, folder).runs == 3
    assert list((other.root / "tmp").iterdir()) == []


class Wrong(http.server.BaseHTTPRequestHandler):
    """A server that answers as `how` says."""

    how = "html"

    def answer(self):
        kind = type(self).how
        body = {
            "html": b"<html>hello</html>", "500": b"{}", "list": b"[]", "cut": b'{"experiments": [',
            "odd": b'{"experiments": [{"experiment_id": "x"}]}', "403": b'{"message": "no"}',
            "loop": b'{"experiments": [], "next_page_token": "again"}',
            "huge": b'{"experiments": [{"experiment_id": 1e999, "name": "x"}]}',
            "deep": b'{"a": ' + b"[" * 100_000,
        }[kind]  # fmt: skip
        self.send_response({"500": 500, "403": 403}.get(kind, 200))
        self.send_header("Content-Length", str(len(body) + (10 if kind == "cut" else 0)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = kind == "cut"

    do_GET = do_POST = answer  # noqa: N815 - names of the standard library

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving():
    with http.server.HTTPServer(("127.0.0.1", 0), Wrong) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("how", "kind", "said"),
    [
        ("html", DataError, "which is no JSON"),
        ("500", StorageError, "answers 500"),
        ("list", DataError, "not answered with an object"),
        ("cut", StorageError, "does not answer"),
        ("odd", DataError, "cannot be read"),
        ("403", PermissionError, "refuses"),
        ("loop", DataError, "again and again"),
        ("huge", DataError, "cannot be read|no JSON"),
        ("deep", DataError, "cannot be read|no JSON"),
    ],
)
def test_servers_that_answer_wrongly(other, monkeypatch, how, kind, said):
    monkeypatch.setattr("trimtab.interop.transfer.rest._WAIT", 0.0)
    monkeypatch.setattr(Wrong, "how", how)
    with serving() as url, pytest.raises(kind, match=said):
        taken(other, url)
    assert runs.find(other) == []


@pytest.mark.parametrize("how", ["odd", "deep", "list"])
def test_servers_that_answer_wrongly_to_what_they_are_given(ws, monkeypatch, how):
    monkeypatch.setattr(Wrong, "how", how)
    wanted = fill(ws, 1)
    with serving() as url, pytest.raises(DataError, match="cannot be read|no JSON|an object"):
        leave(ws, wanted, url)


def test_a_series_of_one_page_again_and_again_ends():
    class Again:
        url = "there"

        def get(self, *_, **__):
            return {"metrics": [{"timestamp": 1, "value": 1}], "next_page_token": "x"}

    with pytest.raises(DataError, match="again and again"):
        list(remote.points(Again(), "run", "loss"))


def test_names_that_lead_out_neither_come_in_nor_leave(ws, other, tmp_path):
    odd = {"../../../out": "1", "/out": "2", "fine/inside": "3"}
    wanted = fill(ws, 1)
    for kind, key in (("experiments", "id"), ("registered_models", "name"),
                      ("registered_versions", "name")):  # fmt: skip
        row = next(row for row in tracked.load(ws, kind) if row[key] in (0, "lin"))
        row.pop("project")
        tracked.save(ws, kind, [{**row, "body": {**row["body"], "tags": odd}}])
    found = leave(ws, wanted, f"mlruns:{tmp_path}/a/b/c/mlruns")
    listed = {(one.what, one.name.rpartition("/")[2]) for one in found.skipped}
    whats = ("version tag", "model tag of the registry", "experiment tag")
    assert listed == {(what, "out") for what in whats}
    assert not list(tmp_path.rglob("out"))
    tally = Tally()
    assert named(tally, "m", odd, "version tag") == {"fine/inside": "3"}
    assert tally.skipped_count == 2


def test_what_is_dated_outside_of_all_time_is_listed(other, folder):
    for path in folder.rglob("meta.yaml"):
        changed = path.read_text().replace(
            '"creation_timestamp": 8', f'"creation_timestamp": {10**30}'
        )
        path.write_text(
            changed.replace('"creation_timestamp": 5', f'"creation_timestamp": {10**30}')
        )
    found = taken(other, folder)
    assert (found.runs, found.models, found.registered) == (3, 0, 0)
    assert {one.what for one in found.skipped} >= {"logged model", "registered model"}
    assert seen(other)[0]


def test_a_run_without_a_place_has_no_files(other, tmp_path):
    source = database.Database.__new__(database.Database)
    source._home, source._artifacts = tmp_path, None
    run = tracked_run(1)
    for location in ("", ".", "/", "file:", "file:///", "mlflow-artifacts:/", "s3://bucket"):
        run.location = location
        assert source._place(run) is None, location


def test_a_model_that_passed_elsewhere_comes_in_under_no_name_of_ours(ws, other, tmp_path):
    wanted = fill(ws, 1)
    leave(ws, wanted, f"mlruns:{tmp_path}/mlruns")
    models = tmp_path / "mlruns" / "models"
    (models / "lin").rename(models / "trimtab.lin")
    for path in models.rglob("meta.yaml"):
        path.write_text(path.read_text().replace('"lin"', '"trimtab.lin"'))
    found = taken(other, tmp_path / "mlruns")
    assert found.registered == 0
    assert [one.name for one in found.skipped] == ["trimtab.lin"]


def test_no_server_and_no_address(other, monkeypatch):
    monkeypatch.setattr("trimtab.interop.transfer.rest._WAIT", 0.0)
    with pytest.raises(StorageError, match="does not answer"):
        taken(other, "http://127.0.0.1:9")
    with pytest.raises(UsageError, match="password"):
        taken(other, "http://a:b@127.0.0.1:9")
    with pytest.raises(UsageError, match="no address"):
        taken(other, "http://")


@pytest.mark.slow
def test_ten_runs_inside_each_other(ws, other, tmp_path):
    leave(ws, fill(ws, count=10, points=1), f"mlruns:{tmp_path}/deep")
    assert taken(other, tmp_path / "deep").runs == 10
    assert len(deleted.within(other, [f"{1:032x}"])) == 10


@pytest.mark.slow
def test_what_left_half_comes_whole_later(ws, other, folder):
    """A run whose row is in, and none of its points: as after a kill between the two."""
    taken(other, folder)
    with other.transaction() as tx:
        from trimtab.store import tables

        tx.execute(tables.metric_batches.delete())
        tx.execute(tables.metric_chunks.delete())
        tx.execute(tables.metric_marks.delete())
        tx.execute(tables.states.delete())
    assert taken(other, folder).points == 27
    assert seen(other) == seen(ws)


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 3), st.sampled_from([*ODD, 1.0]))),
    st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 3), st.sampled_from([*ODD, 1.0]))),
)
@settings(max_examples=200, deadline=None)
def test_only_points_that_are_not_there_are_missing(left, right):
    def columns(points):
        steps, times, values = zip(*points, strict=True) if points else ((), (), ())
        return series_of(steps, times, np.array(values, dtype=np.float64))

    def bits(series):
        return list(
            zip(series.step.tolist(), series.time.tolist(), series.bits.tolist(), strict=True)
        )

    have = set(bits(columns(right)))
    found = bits(missing(columns(left), columns(right)))
    assert found == [one for one in bits(columns(left)) if one not in have]


@given(st.binary(max_size=40))
def test_a_line_of_a_metric_is_a_point_or_none(line):
    found = fields(line, (2, 3, 5))
    assert found is None or isinstance(found[1], float)


@pytest.mark.parametrize("time", [2**62, -(2**62), 2**70, "x"])
def test_points_that_64_bits_do_not_hold(time):
    with pytest.raises(DataError):
        series_of([1], [time], [1.0])


def test_where(ws):
    fill(ws)
    own = runs.start(ws, "run", "own", params={"depth": {"x": 7}}, pid=0)
    metrics.append(ws, own.id, [Point(key="loss", step=1, time=1, value=8.0)])
    assert chosen.where(ws, "params.depth = '2'") == [f"{2:032x}"]
    assert chosen.where(ws, "metrics.loss > 5") == [own.id]
    assert chosen.where(ws, "params.`depth.x` = '7'") == [own.id]
    with pytest.raises(UsageError, match="a run has no"):
        chosen.where(ws, "depth >")


@pytest.mark.slow
def test_a_source_that_breaks_off_is_taken_up_again(ws, other, folder, monkeypatch):
    wanted = seen(ws)
    shutil.copytree(folder, folder.with_name("copy"))
    from trimtab.interop.transfer.folder import Folder

    real, left = Folder.fetch, [3]

    def fetch(self, *arguments):
        left[0] -= 1
        if left[0] < 0:
            raise StorageError("gone")
        real(self, *arguments)

    monkeypatch.setattr(Folder, "fetch", fetch)
    with pytest.raises(StorageError, match="gone"):
        taken(other, folder)
    monkeypatch.undo()
    taken(other, folder)
    assert seen(other) == wanted
