"""MLflow's protocol over ASGI: what is answered is stored, what is refused has changed nothing."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from trimtab import ids
from trimtab.errors import StorageError
from trimtab.interop.mlflow import routes
from trimtab.interop.mlflow.app import Mlflow, _look
from trimtab.interop.mlflow.board import Board
from trimtab.interop.mlflow.wire import Asked
from trimtab.store import deleted, metrics, outside, runs, tracked
from trimtab.store.workspace import open_workspace
from trimtab.track import collect, process
from trimtab.track.compare import compare

API = "/api/2.0/mlflow/"
FILES = "/api/2.0/mlflow-artifacts/artifacts"


@pytest.fixture
def ws(tmp_path):
    opened = open_workspace(tmp_path, "demo")
    yield opened
    opened.close()


async def _nothing(scope, receive, send):
    await send({"type": "http.response.start", "status": 418, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def app(ws):
    return Mlflow(_nothing, ws)


@pytest.fixture
def ask(app):
    async def one(method, path, **given):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, path, timeout=60, **given)

    return lambda method, path, **given: asyncio.run(one(method, path, **given))


@pytest.fixture
def post(ask):
    def send(path, code=200, /, **fields):
        reply = ask("POST", API + path, json=fields)
        assert reply.status_code == code, reply.text
        return reply.json()

    return send


@pytest.fixture
def run(post):
    made = post("runs/create", experiment_id="0", run_name="one", start_time=1000)
    return made["run"]["info"]["run_id"]


def test_a_run_is_an_ordinary_run(ws, post, run):
    post("runs/log-metric", run_id=run, key="loss", value=0.5, timestamp=2000, step=3)
    post("runs/log-parameter", run_id=run, key="depth", value="3")
    post("runs/set-tag", run_id=run, key="team", value="risk")
    found = runs.get(ws, run)
    assert (found.name, found.kind, found.status, found.started_at) == (
        "one", "run", "running", 1_000_000,
    )  # fmt: skip
    assert found.params == {"depth": "3"}
    assert found.tags["team"] == "risk"
    assert found.cause == {"kind": "mlflow", "experiment": "Default"}
    assert [(p.step, p.time, p.value) for p in metrics.read(ws, run, "loss")] == [
        (3, 2_000_000, 0.5)
    ]
    post("runs/update", run_id=run, status="FINISHED", end_time=5000)
    assert (runs.get(ws, run).status, runs.get(ws, run).ended_at) == ("done", 5_000_000)


def test_nobody_takes_a_run_of_a_client_for_dead(ws, run):
    assert process.is_alive(runs.get(ws, run))
    assert process.reap(ws) == []


def test_two_runs_are_compared(ws, post, run):
    other = post("runs/create", experiment_id="0", start_time=1)["run"]["info"]["run_id"]
    post("runs/log-parameter", run_id=run, key="depth", value="3")
    post("runs/log-parameter", run_id=other, key="depth", value="4")
    assert compare(ws, run, other).params == {"depth": ("3", "4")}


def test_a_batch_is_whole_or_nothing(ws, post, run):
    point = {"key": "m", "value": 1.0, "timestamp": 1, "step": 1}
    post("runs/log-parameter", run_id=run, key="p", value="1")
    for wrong in (
        {"params": [{"key": "p", "value": "2"}]},
        {"params": [{"key": "q", "value": "1"}, {"key": "q", "value": "1"}]},
        {"tags": [{"key": "../x", "value": "1"}]},
        {"metrics": [point, {**point, "step": 1.5}]},
        {"metrics": [point, {**point, "model_id": "m-none"}]},
        {"metrics": [point, 5]},
    ):
        body = {"metrics": [point], **wrong}
        status = 404 if "m-none" in str(wrong) else 400
        post("runs/log-batch", status, run_id=run, **body)
    assert metrics.keys(ws, run) == []
    assert runs.get(ws, run).params == {"p": "1"}


def test_the_latest_value_is_of_the_highest_step_then_time_then_value(ask, post, run):
    for step, time, value in ((1, 5, 1.0), (1, 9, 2.0), (0, 99, 3.0), (1, 9, 1.5), (1, 9, "NaN")):
        post("runs/log-metric", run_id=run, key="m", value=value, timestamp=time, step=step)
    found = ask("GET", f"{API}runs/get", params={"run_id": run}).json()["run"]["data"]["metrics"]
    assert found == [{"key": "m", "value": 2.0, "timestamp": 9, "step": 1}]


def test_a_point_that_is_sent_twice_is_there_once(ask, post, run):
    for _ in range(3):
        post("runs/log-metric", run_id=run, key="m", value=1, timestamp=1, step=1)
    found = ask("GET", f"{API}metrics/get-history", params={"run_id": run, "metric_key": "m"})
    assert len(found.json()["metrics"]) == 1


def test_a_new_board_finds_what_was_answered(ws, post, run):
    post("runs/log-metric", run_id=run, key="m", value="-Infinity", timestamp=1, step=1)
    ended = post("runs/create", experiment_id="0", start_time=1)["run"]["info"]["run_id"]
    post("runs/log-metric", run_id=ended, key="m", value="NaN", timestamp=7, step=2)
    post("runs/update", run_id=ended, status="FINISHED", end_time=9)
    post("experiments/create", name="another", tags=[{"key": "a", "value": "b"}])
    post("registered-models/create", name="R")
    post("model-versions/create", name="R", source="mlflow-artifacts:/0/x")
    post("registered-models/alias", name="R", alias="champion", version="1")
    board = Board(ws)
    board.load()
    assert board.runs[run].metrics == {"m": (float("-inf"), 1, 1)}
    assert repr(board.runs[ended].metrics["m"]) == "(nan, 7, 2)"
    assert board.runs[ended].is_summed
    assert board.names["another"].tags == {"a": "b"}
    assert board.registered["R"].aliases == {"champion": 1}
    assert board.versions["R"][1].source == "mlflow-artifacts:/0/x"


def test_an_ended_run_that_is_logged_to_is_counted_anew(ws, post, run):
    post("runs/log-metric", run_id=run, key="m", value=1, timestamp=1, step=1)
    post("runs/update", run_id=run, status="FINISHED", end_time=9)
    post("runs/log-metric", run_id=run, key="m", value=2, timestamp=2, step=2)
    board = Board(ws)
    board.load()
    assert board.runs[run].metrics == {"m": (2.0, 2, 2)}


def test_a_board_that_is_read_again_lacks_nothing_meanwhile(ws, app, post, ask, run, monkeypatch):
    post("runs/log-metric", run_id=run, key="m", value=1, timestamp=1, step=1)
    with ws.transaction():
        outside.note(ws)
    asked, load = [], tracked.load

    def slow(*given):
        asked.append(_look(app.board, routes.find("GET", "metrics/get-history"), history))
        return load(*given)

    history = Asked({"run_id": [run], "metric_key": ["m"]}, is_query=True)
    monkeypatch.setattr(tracked, "load", slow)
    app.board.load()
    assert asked
    assert all(b'"value"' in one for one in asked)


def test_the_number_of_an_experiment_that_was_collected_is_not_given_again(ws, post):
    first = post("experiments/create", name="one")["experiment_id"]
    post("experiments/delete", experiment_id=first)
    assert collect.collect(ws, ids.now()).experiments == ["one"]
    assert post("experiments/create", name="two")["experiment_id"] == "2"
    assert post("experiments/create", name="three")["experiment_id"] == "3"


def test_where_the_commit_fails_nothing_has_happened(ws, app, post, run, monkeypatch):
    def full(*_):
        raise StorageError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(tracked, "save_runs", full)
        post("runs/set-tag", 503, run_id=run, key="a", value="b")
    assert not app.board.is_loaded
    post("runs/set-tag", run_id=run, key="c", value="d")
    assert runs.get(ws, run).tags.get("a") is None
    assert app.board.runs[run].tags == {"mlflow.runName": "one", "c": "d"}


def test_changes_that_wait_are_one_commit(app, run):
    commits = []
    write = app.board.write
    app.board.write = lambda: (commits.append(1), write())[1]

    async def many():
        from trimtab.interop.mlflow import routes, wire

        def job(number):
            asked = wire.Asked({"run_id": run, "key": f"m{number}", "value": 1, "timestamp": 1})
            return app.writer.do(lambda: routes.logging.metric(app.board, asked))

        await asyncio.gather(*(job(number) for number in range(200)))

    asyncio.run(many())
    assert len(commits) < 100
    assert len(app.board.runs[run].metrics) == 200


def test_many_threads(ask, post, run, app):
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda number: post("runs/log-parameter", run_id=run, key=f"p{number}", value="1"),
                range(40),
            )
        )
    assert len(app.board.runs[run].params) == 40


def test_a_deleted_name_is_free_again(ask, post):
    first = post("experiments/create", name="x")["experiment_id"]
    post("experiments/delete", experiment_id=first)
    second = post("experiments/create", name="x")["experiment_id"]
    assert second != first
    post("experiments/restore", 400, experiment_id=first)
    found = ask("GET", f"{API}experiments/get-by-name", params={"experiment_name": "x"}).json()
    assert found["experiment"]["experiment_id"] == second


def test_a_deleted_experiment_takes_its_runs_and_brings_them_back(ask, post):
    number = post("experiments/create", name="x")["experiment_id"]
    kept = post("runs/create", experiment_id=number)["run"]["info"]["run_id"]
    gone = post("runs/create", experiment_id=number)["run"]["info"]["run_id"]
    post("runs/delete", run_id=gone)
    post("experiments/delete", experiment_id=number)
    post("runs/set-tag", 400, run_id=kept, key="k", value="v")
    post("experiments/restore", experiment_id=number)
    post("runs/set-tag", run_id=kept, key="k", value="v")
    post("runs/set-tag", 400, run_id=gone, key="k", value="v")


def test_files(ws, ask, run):
    root = f"{FILES}/0/{run}/artifacts"
    assert ask("PUT", f"{root}/a/b.txt", content=b"first").status_code == 200
    assert ask("PUT", f"{root}/a/b.txt", content=b"hello").status_code == 200
    assert ask("PUT", f"{root}/a", content=b"x").status_code == 400
    assert ask("PUT", f"{root}/a/b.txt/c", content=b"x").status_code == 400
    links = runs.links(ws, run)
    assert [(one.direction, one.name) for one in links] == [("out", "a/b.txt")]
    assert ws.blobs.read(links[0].digest) == b"hello"
    listed = ask("GET", f"{API}artifacts/list", params={"run_id": run, "path": "a"}).json()
    assert listed["files"] == [{"path": "a/b.txt", "is_dir": False, "file_size": 5}]
    assert ask("GET", f"{root}/a/b.txt", headers={"Range": "bytes=1-2"}).content == b"el"
    assert ask("DELETE", f"{root}/a").status_code == 200
    assert ask("GET", f"{root}/a/b.txt").status_code == 404
    assert runs.links(ws, run) == []


def test_a_large_file_goes_through_no_memory(ws, ask, run):
    data = bytes(range(256)) * 20_000

    async def chunks():
        for begin in range(0, len(data), 300_000):
            yield data[begin : begin + 300_000]

    path = f"{FILES}/0/{run}/artifacts/x.bin"
    assert ask("PUT", path, content=chunks()).status_code == 200
    assert ask("GET", path).content == data
    assert list((ws.root / "tmp").iterdir()) == []


def test_a_ready_model_is_a_tree(ws, ask, post, run):
    made = post("logged-models", experiment_id="0", name="tree", source_run_id=run)
    info = made["model"]["info"]
    root = f"{FILES}{info['artifact_uri'].removeprefix('mlflow-artifacts:')}"
    ask("PUT", f"{root}/MLmodel", content=b"flavors")
    ask("PUT", f"{root}/data/model.pkl", content=b"bytes")
    path = f"{API}logged-models/{info['model_id']}"
    ready = ask("PATCH", path, json={"status": "LOGGED_MODEL_READY"}).json()
    assert ready["model"]["info"]["status"] == "LOGGED_MODEL_READY"
    [link] = runs.links(ws, run)
    assert (link.direction, link.name) == ("out", "tree")
    from trimtab.store import trees

    assert set(trees.walk(ws.blobs, link.digest)) == {"MLmodel", "data/model.pkl"}


def test_a_chart_keeps_the_extremes(ask, post, run):
    for begin in range(0, 5000, 1000):
        points = [
            {"key": "m", "value": 1e6 if s == 2345 else float(s % 7), "timestamp": s, "step": s}
            for s in range(begin, begin + 1000)
        ]
        post("runs/log-batch", run_id=run, metrics=points)
    asked = {"run_ids": run, "metric_key": "m", "max_results": 100}
    found = ask("GET", f"{API}metrics/get-history-bulk-interval", params=asked).json()["metrics"]
    assert len(found) <= 110
    assert (1e6, 2345) in [(one["value"], one["step"]) for one in found]
    assert (found[0]["step"], found[-1]["step"]) == (0, 4999)


def test_a_refused_version_takes_no_number(post):
    post("registered-models/create", name="R")
    source = "mlflow-artifacts:/0/x"
    for wrong in ({"run_link": 5}, {"description": []}, {"tags": [{"key": "../x"}]}):
        post("model-versions/create", 400, name="R", source=source, **wrong)
    assert post("model-versions/create", name="R", source=source)["model_version"]["version"] == "1"


def test_what_is_not_json_is_refused(ask, run):
    body = json.dumps({"run_id": run, "key": "k", "value": "v"})
    plain = {"content-type": "text/plain"}
    assert ask("POST", f"{API}runs/set-tag", content=body, headers=plain).status_code == 400


def test_a_batch_beyond_a_megabyte_is_refused(post, run):
    post("runs/log-batch", 400, run_id=run, tags=[{"key": "k", "value": "x" * 1_000_001}])


@pytest.mark.parametrize("path", ["/", "/api/v1/runs", "/healthz", "/api/2.0/other"])
def test_other_paths_go_on(ask, path):
    assert ask("GET", path).status_code == 418


def test_both_prefixes_answer(ask):
    for prefix in ("/api/2.0/mlflow/", "/ajax-api/2.0/mlflow/", "/api/3.0/mlflow/"):
        assert ask("GET", f"{prefix}experiments/get?experiment_id=0").status_code == 200
    assert ask("GET", "/health").text == "OK"
    assert ask("GET", "/version").text.count(".") == 2


def test_what_a_command_deletes_meanwhile_is_seen_and_not_written_over(ws, post, ask):
    def get(path, **fields):
        return ask("GET", API + path, params=fields).json()

    experiment = post("experiments/create", name="one")["experiment_id"]
    run = post("runs/create", experiment_id=experiment)["run"]["info"]["run_id"]
    other = open_workspace(ws.project_dir, "demo")
    deleted.delete(other, [run])
    assert get("runs/get", run_id=run)["run"]["info"]["lifecycle_stage"] == "deleted"
    post("runs/set-tag", 400, run_id=run, key="a", value="b")
    post("runs/restore", run_id=run)
    assert deleted.find(other) == {}
    deleted.delete_experiment(other, "one")
    assert get("experiments/get", experiment_id=experiment)["experiment"]["lifecycle_stage"] == (
        "deleted"
    )
    assert post("experiments/create", name="one")["experiment_id"] != experiment
    other.close()


def test_what_a_client_deletes_is_not_listed(ws, post):
    run = post("runs/create", experiment_id="0")["run"]["info"]["run_id"]
    post("runs/delete", run_id=run)
    assert runs.find(ws, deleted=False) == []
    assert [one.id for one in runs.find(ws, deleted=True)] == [run]


def test_the_pages_own_upload(ask, post):
    run = post("runs/create", experiment_id="0")["run"]["info"]
    url = f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run['run_id']}&path="
    assert ask("POST", f"{url}notes/a.txt", content=b"hello").json() == {}
    reply = ask("GET", f"/get-artifact?run_id={run['run_id']}&path=notes/a.txt")
    assert reply.content == b"hello"
    for path, data, said in (
        ("", b"x", "'path'"),
        ("../a", b"x", "Invalid path"),
        ("/a", b"x", "Invalid path"),
        ("notes/a.txt/b", b"x", "below a file"),
        ("b", b"", "must specify data"),
        ("b", bytes((10 << 20) + 1), "too large"),
    ):
        reply = ask("POST", f"{url}{path}", content=data)
        assert (reply.status_code, reply.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
        assert said in reply.json()["message"]
    gone = ask("POST", "/ajax-api/2.0/mlflow/upload-artifact?path=a&run_uuid=0", content=b"x")
    assert gone.status_code == 404
    post("runs/delete", run_id=run["run_id"])
    assert ask("POST", f"{url}c", content=b"x").status_code == 400


def test_a_file_of_a_registered_version(ask, post):
    ask("PUT", f"{FILES}/0/m/MLmodel", content=b"flavors: {}")
    post("registered-models/create", name="loans")
    post("model-versions/create", name="loans", source="mlflow-artifacts:/0/m")
    url = "/model-versions/get-artifact"
    reply = ask("GET", f"{url}?name=loans&version=1&path=MLmodel")
    assert reply.content == b"flavors: {}"
    assert reply.headers["x-content-type-options"] == "nosniff"
    for query, code in (
        ("name=loans&version=1", 400),
        ("name=loans&version=1&path=../../x", 400),
        ("name=loans&version=1&path=none", 404),
        ("name=loans&version=2&path=MLmodel", 404),
        ("name=loans&version=x&path=MLmodel", 400),
    ):
        assert ask("GET", f"{url}?{query}").status_code == code
    assert ask("POST", f"{url}?name=loans&version=1&path=MLmodel", json={}).status_code == 404
