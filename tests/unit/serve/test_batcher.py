import asyncio
import itertools
import json
import threading

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimtab.errors import ModelError, StorageError
from trimtab.serve import batcher as batching
from trimtab.serve import routes
from trimtab.serve.batcher import Batcher
from trimtab.serve.engine import Engine
from trimtab.serve.logged import log
from trimtab.serve.logged.log import Log
from trimtab.serve.reply import Response
from trimtab.serve.router import Router
from trimtab.serve.routes import RoutesFile

from .conftest import ROW


def ask(engine, bodies, *, turns=None, path="/predict"):
    """Begin requests in one or several turns of the loop; the responses in the order of asking."""

    async def run():
        loop = asyncio.get_running_loop()
        batcher = Batcher(engine, loop)
        found = {}
        for turn in turns or [range(len(bodies))]:
            for index in turn:
                headers = {"x-request-id": f"r{index}"}
                job = engine.begin("POST", path, headers, bodies[index])
                if isinstance(job, Response):
                    found[index] = job
                else:
                    batcher.submit(job, lambda answer, i=index: found.setdefault(i, answer))
            await asyncio.sleep(0)
        for _ in range(10_000):
            if len(found) == len(bodies):
                break
            await asyncio.sleep(0.001)
        batcher.finish_shadows()
        batcher.close()
        assert batcher.pending == 0
        return [found[index] for index in range(len(bodies))]

    return asyncio.run(run())


def content(response):
    """An answer without its prediction ids, which are made anew."""
    body = msgspec.json.decode(response.body)
    for one in body.get("predictions", []):
        one.pop("id")
    return response.status, body


row = st.fixed_dictionaries(
    {
        "income": st.none() | st.floats(-10, 10),
        "debt": st.floats(-9, 9) | st.just(1e38) | st.just(float("nan")) | st.just("x"),
        "owner": st.booleans(),
        "purpose": st.sampled_from(["car", "boat"]),
        "region": st.sampled_from(["n", "s", "nowhere"]),
    },
    optional={"group": st.text(max_size=2)},
)
body = st.one_of(
    st.builds(lambda x: {"row": x}, row),
    st.builds(lambda x: {"rows": x}, st.lists(row, max_size=3)),
    st.builds(lambda x: {"columns": {k: [v] for k, v in x.items()}}, row),
    st.just({"row": {}}),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_interleaving_gives_the_answers_of_one_by_one(engine, data):
    bodies = [json.dumps(one).encode() for one in data.draw(st.lists(body, min_size=1, max_size=6))]
    order = data.draw(st.permutations(range(len(bodies))))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(bodies)), max_size=3)) | {0, len(bodies)})
    turns = [order[a:b] for a, b in itertools.pairwise(cuts)]
    together = [content(one) for one in ask(engine, bodies, turns=turns)]
    alone = [
        content(engine.handle("POST", "/predict", {"x-request-id": f"r{i}"}, one))
        for i, one in enumerate(bodies)
    ]
    assert together == alone


def test_what_arrives_in_one_turn_is_one_run_and_one_append(engine, monkeypatch):
    runs, appends = [], []
    model = engine.router.table.routes[0].model
    packed = model.run_packed
    monkeypatch.setitem(
        vars(model), "run_packed", lambda n, w: runs.append(n.shape[1]) or packed(n, w)
    )
    append = engine.log.append
    monkeypatch.setattr(engine.log, "append", lambda f: appends.append(len(f)) or append(f))
    answers = ask(
        engine, [json.dumps({"row": {**ROW, "debt": float(i)}}).encode() for i in range(9)]
    )
    assert [one.status for one in answers] == [200] * 9
    assert runs == [9]
    assert appends == [1]
    (frame,) = log.read(engine.log.folder)[0]
    assert [part.request for part in frame.requests()] == [f"r{i}" for i in range(9)]
    assert frame.column("debt").tolist() == [float(i) for i in range(9)]
    ids = [msgspec.json.decode(one.body)["predictions"][0]["id"] for one in answers]
    assert list(frame.ids) == ids


def test_a_request_that_breaks_the_model_breaks_no_other(engine, monkeypatch):
    model = engine.router.table.routes[0].model
    packed = model.run_packed

    def run(numbers, words):
        if (numbers[1] == 7).any():
            raise ModelError("seven")
        return packed(numbers, words)

    monkeypatch.setitem(vars(model), "run_packed", run)
    bodies = [json.dumps({"row": {**ROW, "debt": i}}).encode() for i in range(5, 10)]
    assert [one.status for one in ask(engine, bodies)] == [200, 200, 500, 200, 200]
    frames = log.read(engine.log.folder)[0]
    assert sum(frame.rows for frame in frames) == 4
    assert [frame.request for frame in frames if frame.status == 500] == ["r2"]


def test_a_full_disk_refuses_everybody_in_the_batch(engine, monkeypatch):
    def full(frames):
        raise StorageError("the disk is full")

    monkeypatch.setattr(engine.log, "append", full)
    answers = ask(engine, [json.dumps({"row": ROW}).encode()] * 3)
    assert [(one.status, one.headers["retry-after"]) for one in answers] == [(503, "1")] * 3


def test_a_slow_model_runs_in_a_thread_and_batches_what_waits(engine, monkeypatch):
    table = engine.router.table
    route = table.routes[0]
    object.__setattr__(route, "slow", True)
    model, main, runs = route.model, threading.get_ident(), []
    packed = model.run_packed

    def run(numbers, words):
        assert threading.get_ident() != main
        runs.append(numbers.shape[1])
        threading.Event().wait(0.02)
        return packed(numbers, words)

    monkeypatch.setitem(vars(model), "run_packed", run)
    bodies = [json.dumps({"row": {**ROW, "debt": float(i)}}).encode() for i in range(7)]
    answers = ask(engine, bodies, turns=[[0], [1, 2], [3, 4, 5, 6]])
    assert [one.status for one in answers] == [200] * 7
    assert sum(runs) == 7
    assert len(runs) < 4


def test_nobody_is_left_waiting_whatever_fails(engine, monkeypatch, caplog):
    monkeypatch.setattr(engine, "_replies", lambda one: 1 / 0)
    answers = ask(engine, [json.dumps({"row": ROW}).encode()] * 2)
    assert [one.status for one in answers] == [500, 500]
    assert "2 requests failed" in caplog.text


def test_nobody_is_scored_whose_client_has_gone(engine):
    async def run():
        batcher = Batcher(engine, asyncio.get_running_loop())
        job = engine.begin("POST", "/predict", {}, json.dumps({"row": ROW}).encode())
        batcher.submit(job, pytest.fail)
        job.gone = True
        await asyncio.sleep(0.01)
        assert batcher.pending == 0

    asyncio.run(run())
    assert log.read(engine.log.folder)[0] == []


@pytest.fixture
def shadowed(endpoint, spec):
    champion = routes.read(endpoint).routes
    shadow = spec("loans@v2", bias=-9.0, role="shadow")
    routes.write(endpoint, RoutesFile(version=2, name="loans", routes=champion, shadow=(shadow,)))
    router = Router(endpoint)
    assert router.reload(), router.error
    return Engine(name="loans", router=router, log=Log(endpoint / "log", "loans"))


def test_shadows_score_together_what_was_answered(shadowed):
    ask(shadowed, [json.dumps({"row": ROW}).encode()] * 4)
    champion, shadow = log.read(shadowed.log.folder)[0]
    assert (champion.role, shadow.role) == ("champion", "shadow")
    assert champion.ids == shadow.ids
    assert champion.requests()[2].received_at == shadow.requests()[2].received_at


def test_shadows_that_cannot_keep_up_lose_the_oldest_and_say_so(shadowed, monkeypatch):
    monkeypatch.setattr(batching, "SHADOW_ROWS", 3)
    bodies = [json.dumps({"row": ROW}).encode()] * 5
    assert {one.status for one in ask(shadowed, bodies)} == {200}
    frames = log.read(shadowed.log.folder)[0]
    kept = [name for frame in frames if frame.role == "shadow" for name in frame.ids]
    answered = [name for frame in frames if frame.role == "champion" for name in frame.ids]
    assert kept == answered[2:]
    text = shadowed.handle("GET", "/metrics", {}, b"").body.decode()
    assert 'trimtab_shadow_dropped_total{endpoint="loans"} 2' in text
