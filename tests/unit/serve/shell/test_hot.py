"""The shortest way: the same bytes and the same log as the ordinary way, or the ordinary way itself."""

import asyncio
import dataclasses
import gc
import gzip
import json
import re
import weakref
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.serve.conftest import ROW, SIGNED

from trimtab.access import LimitsConfig
from trimtab.errors import StorageError
from trimtab.serve import routes
from trimtab.serve.access import auth, keys
from trimtab.serve.access.auth import Gate
from trimtab.serve.batcher import Batcher
from trimtab.serve.engine import Engine
from trimtab.serve.folder import Settings
from trimtab.serve.logged import frame, log
from trimtab.serve.logged.log import Log
from trimtab.serve.notice import Notice
from trimtab.serve.router import Router
from trimtab.serve.routes import RoutesFile
from trimtab.serve.shell import hot
from trimtab.serve.shell.http import Connections

from .test_http import answers, request

OIP = "/v2/models/loans/infer"
ID = re.compile(rb"[0-9a-f]{32}")


def plain(row=ROW):
    return json.dumps({"row": row}).encode()


def tensors(row=ROW, order=None, **more):
    kinds = {bool: "BOOL", str: "BYTES", float: "FP64", type(None): "BYTES"}
    fits = range(-(2**63), 2**63)
    return json.dumps(
        {
            "inputs": [
                {
                    "name": name,
                    "shape": [1],
                    "datatype": kinds.get(type(row[name]))
                    or ("INT64" if row[name] in fits else "FP64"),
                    "data": [row[name]],
                }
                for name in order or row
            ]
        }
        | more
    ).encode()


class Wire:
    """A transport that keeps what is written."""

    def __init__(self):
        self.data = b""
        self.is_closed = False

    def write(self, data):
        assert not self.is_closed
        self.data += data

    def close(self):
        self.is_closed = True


class Talk:
    """Clients of one endpoint, each on a connection; `turn` lets what they sent be answered."""

    def __init__(self, engine, clients=1):
        self.engine = engine
        self.batcher = Batcher(engine, asyncio.get_running_loop())
        self.connections = Connections(engine, self.batcher)
        self.clients = [self.connections() for _ in range(clients)]
        self.wires = [Wire() for _ in range(clients)]
        for client, wire in zip(self.clients, self.wires, strict=True):
            client.connection_made(wire)

    async def say(self, *pieces):
        """One piece from each client in one turn; what came back to each."""
        for client, piece in zip(self.clients, pieces, strict=False):
            client.data_received(piece)
        for _ in range(400):
            await asyncio.sleep(0)
            if not self.batcher.pending:
                break
        assert self.batcher.pending == 0
        found = [wire.data for wire in self.wires]
        for wire in self.wires:
            wire.data = b""
        return found


def talk(engine, *turns, clients=1):
    """Turns of pieces; a list of answers for each turn, and how many of them went the shortest way."""

    async def run():
        talk = Talk(engine, clients)
        taken = []
        scored, fast = engine.hot._scored, engine.router.table.routes[0].fast
        unseen = fast.unseen
        engine.hot._scored = lambda way, entries, *more: (
            taken.append(len(entries)) or scored(way, entries, *more)
        )
        fast.unseen = lambda row: taken.append(1) or unseen(row)  # of a row alone in its turn
        return [await talk.say(*turn) for turn in turns], sum(taken)

    return asyncio.run(run())


def unnamed(data):
    return ID.sub(b"ID", data)


BODIES = {
    "a row": ("/predict", plain()),
    "nulls": ("/predict", plain(ROW | {"income": None, "owner": None, "region": None})),
    "an unseen word": ("/predict", plain(ROW | {"purpose": "b%at"})),
    "context": ("/predict", plain(ROW | {"group": "g"})),
    "whole numbers": ("/predict", plain(ROW | {"income": 10**15, "debt": 0})),
    "tensors": (OIP, tensors()),
    "tensors in another order": (OIP, tensors(order=sorted(ROW, reverse=True))),
    "tensors with a name": (OIP, tensors(id='my "own" %s')),
    "tensors with idle parameters": (OIP, tensors(parameters={"content_type": "pd"})),
}


@pytest.mark.parametrize(("path", "body"), BODIES.values(), ids=BODIES)
def test_it_answers_and_logs_byte_for_byte_what_the_ordinary_way_does(path, body, engine):
    sent = request(body, path)
    ((first,), (second,)), taken = talk(engine, (sent,), (sent,))
    assert taken == 1
    assert first.startswith(b"HTTP/1.1 200 OK\r\n")
    assert unnamed(second) == unnamed(first)
    assert ID.findall(second) != ID.findall(first)
    one, other = log.read(engine.log.folder)[0]
    changing = ("ids", "request", "received_at", "latency_us")
    same = [msgspec.structs.asdict(x) | dict.fromkeys(changing) for x in (one, other)]
    assert same[0] == same[1]
    assert answers(second)[0][1]["x-request-id"] == other.request == other.ids[0]


@pytest.mark.parametrize(
    "signed",
    [
        SIGNED,
        msgspec.structs.replace(SIGNED, classes=(False, True), positive=True),
        msgspec.structs.replace(SIGNED, classes=(1, 0), positive=0),
        msgspec.structs.replace(SIGNED, classes=('a"%', "ü"), positive="ü", threshold=0.99),
    ],
    ids=["texts", "booleans", "numbers", "odd texts"],
)
@pytest.mark.parametrize(
    ("path", "body"), [("/predict", plain()), (OIP, tensors())], ids=["", "oip"]
)
def test_every_kind_of_decision_is_written_alike(signed, path, body, tmp_path, spec):
    folder = tmp_path / "endpoint"
    made = spec("lö%s@v1", signed=signed)
    routes.write(folder, RoutesFile(version=1, name="loans", routes=(made,)))
    router = Router(folder)
    assert router.reload(), router.error
    engine = Engine(name="loans", router=router, log=Log(folder / "log", "loans"))
    sent = request(body, path)
    ((first,), (second,)), taken = talk(engine, (sent,), (sent,))
    assert taken == 1
    assert unnamed(second) == unnamed(first)


def test_a_turn_is_one_run_one_frame_and_one_write(engine, monkeypatch):
    written = []
    pack = frame.pack
    monkeypatch.setattr(frame, "pack", lambda one: written.append(one) or pack(one))
    sent = [request(plain(ROW | {"debt": float(i)})) for i in range(5)]
    (_, second), taken = talk(engine, sent, sent, clients=5)
    assert taken == 4 + 5  # the first of all makes the head known to the others
    assert len(written[-1].ids) == 5
    kept = log.read(engine.log.folder)[0][-1]
    assert kept.column("debt").tolist() == [0, 1, 2, 3, 4]
    named = [answers(data)[0][1]["x-request-id"] for data in second]
    assert [part.request for part in kept.parts] == named == list(kept.ids)
    assert [part.rows for part in kept.parts] == [1] * 5
    assert all(part.received_at > 0 and part.latency_us > 0 for part in kept.parts)
    scores = [json.loads(answers(data)[0][2])["predictions"][0]["score"] for data in second]
    assert scores == pytest.approx(kept.scores().tolist())
    assert scores == sorted(scores)


def test_what_comes_while_the_sockets_are_looked_at_again_is_of_the_same_turn(engine):
    sent = request(plain())

    async def run():
        talk = Talk(engine, 3)
        await talk.say(sent, sent, sent)
        loop = asyncio.get_running_loop()
        talk.clients[0].data_received(sent)
        loop.call_soon(talk.clients[1].data_received, sent)
        await talk.say()

    asyncio.run(run())
    assert log.read(engine.log.folder)[0][-1].rows == 2


def test_counts_are_those_of_the_ordinary_way(engine):
    sent = request(plain(ROW | {"purpose": "boat"}))
    talk(engine, (sent,), (sent,), (sent,))
    text = engine.metrics.render().decode()
    assert 'trimtab_requests_total{endpoint="loans",contract="predict",code="200"} 3' in text
    assert 'trimtab_rows_total{endpoint="loans",role="champion",model="loans@v1"} 3' in text
    assert (
        'trimtab_unseen_categories_total{endpoint="loans",model="loans@v1",column="purpose"} 3'
        in text
    )
    (row,) = engine.consumers.take()
    assert (row.caller, row.contract, row.requests) == ("anonymous", "predict", 3)


def test_who_sends_something_wrong_hurts_nobody_of_his_turn(engine):
    good = request(plain())
    wrong = plain(ROW | {"debt": "1.0"}).replace(b'"1.0"', b'"1"')
    assert len(wrong) == len(plain())
    (_, found), taken = talk(engine, [good] * 3, [good, request(wrong), good], clients=3)
    assert [answers(data)[0][0] for data in found] == [200, 422, 200]
    assert taken == 2 + 2
    error = json.loads(answers(found[1])[0][2])["error"]
    assert (error["row"], error["column"]) == (0, "debt")


@pytest.mark.parametrize("value", ["1e39", '1e+9"', "-2e40"], ids=["high", "broken", "low"])
def test_a_cell_that_no_model_takes_is_named_as_ever(value, engine):
    body = plain().replace(b'"debt": 1.0', f'"debt": {value}'.encode())
    good = request(plain(ROW | {"debt": 1e30}).replace(b"1e+30", b"1" * len(value)))
    assert len(request(body)) == len(good)
    (_, (found,)), _ = talk(engine, (good,), (request(body),))
    alone = engine.handle("POST", "/predict", {}, body)
    assert answers(found)[0][0] == alone.status >= 400
    assert answers(found)[0][2] == alone.body


@pytest.mark.parametrize(("clients", "tried"), [(1, 4), (2, 7)])
def test_clients_that_send_something_else_are_soon_left_alone(clients, tried, engine, monkeypatch):
    monkeypatch.setattr(hot, "MISSES", 3)
    sent = request(json.dumps({"rows": [ROW]}).encode())
    reads = []
    kind = type(engine.router.table.routes[0].fast)
    one, several = kind.one, kind.alone
    monkeypatch.setattr(kind, "one", lambda self, b: reads.append(1) or one(self, b))
    monkeypatch.setattr(kind, "alone", lambda self, b: reads.append(1) or several(self, b))
    found, taken = talk(engine, *[(sent,) * clients] * 20, clients=clients)
    assert taken == 0
    assert {answers(data)[0][0] for turn in found for data in turn} == {200}
    assert len(reads) == tried  # alone four times; or once, then twice together and each of the two


def test_clients_that_send_something_else_now_and_then_are_not_left_alone(engine, monkeypatch):
    monkeypatch.setattr(hot, "MISSES", 3)
    odd = json.dumps({"row": ROW | {"debt": "x"}}).encode()
    good = plain() + b" " * (len(odd) - len(plain()))
    assert len(odd) == len(good)  # under one head, of one plan
    turns = [(request(good),), *[(request(odd),), (request(good),)] * 20]
    found, taken = talk(engine, *turns)
    assert [answers(data)[0][0] for (data,) in found] == [200, *[422, 200] * 20]
    assert taken == 20  # all but the one whose head was new
    (way,) = engine.hot._ways.values()
    assert way.missed == 0
    many = [(request(odd), request(good), request(good))] * 10
    found, taken = talk(engine, (request(good),) * 3, *many, clients=3)
    assert taken == 2 + 20
    assert [answers(data)[0][0] for data in found[-1]] == [422, 200, 200]


def test_a_turn_that_is_too_long_for_one_frame_is_answered_in_parts(engine, monkeypatch):
    texts = ["x" * 900, "y" * 900, "z" * 5_000, *["w" * 900] * 5]
    sent = [request(plain(ROW | {"purpose": text})) for text in texts]
    warm = [request(plain(ROW | {"purpose": "v" * len(text)})) for text in texts]
    monkeypatch.setattr(frame, "MAX_FRAME", 3_000)
    found, _ = talk(engine, warm, sent, sent, clients=8)
    for turn in found:
        assert [answers(data)[0][0] for data in turn] == [200, 200, 413, *[200] * 5]
        error = json.loads(answers(turn[2])[0][2])["error"]
        assert error["code"] == "too_long"
        assert "fewer rows" in error["hint"]
    logged = [one for found in log.read_all(engine.log.folder) for one in found.ids]
    told = [answers(data)[0][1]["x-request-id"] for turn in found for data in turn]
    assert logged == [one for place, one in enumerate(told) if place % 8 != 2]


def kept(folder, **settings):
    given = Settings(name="loans", **settings)
    router = Router(folder, given.pii, invalid=given.invalid)
    assert router.reload(), router.error
    gate = Gate.load(folder, given.auth)
    return Engine(
        name="loans", router=router, log=Log(folder / "log", "loans"), settings=given, gate=gate
    )


def test_a_key_counts_until_it_is_taken_away(endpoint):
    one, key = keys.add(endpoint, "one")
    keys.add(endpoint, "other")
    engine = kept(endpoint)
    sent = request(plain(), authorization=f"Bearer {key}")

    async def run():
        talk = Talk(engine)
        assert answers((await talk.say(sent))[0])[0][0] == 200
        assert answers((await talk.say(sent))[0])[0][0] == 200
        assert engine.hot._ways
        keys.remove(endpoint, one.id)
        engine.follow_keys()
        assert answers((await talk.say(sent))[0])[0][0] == 401
        assert answers((await talk.say(sent))[0])[0][0] == 401

    asyncio.run(run())
    assert [(x.caller, x.requests) for x in engine.consumers.take()] == [(one.id, 2)]


def test_what_changes_counts_from_the_next_request(engine, endpoint, spec):
    sent = request(plain())

    async def run():
        talk = Talk(engine)
        await talk.say(sent)
        await talk.say(sent)
        file = RoutesFile(version=2, name="loans", routes=(spec("loans@v2", bias=1.0),))
        routes.write(endpoint, file)
        assert engine.router.reload()
        for _ in range(2):
            ((_, headers, _),) = answers((await talk.say(sent))[0])
            assert headers["x-model-version"] == "loans@v2"
        engine.announce(
            Notice(name="loans", phase="announced", announced_at=1, sunset_at=4 * 10**15)
        )
        for _ in range(2):
            ((_, headers, _),) = answers((await talk.say(sent))[0])
            assert "sunset" in headers
        engine.announce(None)
        ((_, headers, _),) = answers((await talk.say(sent))[0])
        assert "sunset" not in headers
        engine.draining = True
        ((status, headers, _),) = answers((await talk.say(sent))[0])
        assert (status, headers["connection"]) == (200, "close")

    asyncio.run(run())


def test_a_token_in_its_leeway_ends_nobody_elses_plan(engine, monkeypatch):
    late, known = "late", auth.ANYBODY
    callers = {late: dataclasses.replace(known, id=late, expires_at=1), "good": known}
    engine.gate = SimpleNamespace(
        state=None, check=lambda headers, scope, now: callers[headers["authorization"]]
    )
    epochs = []
    look = engine.hot._look
    monkeypatch.setattr(engine.hot, "_look", lambda: (look(), epochs.append(engine.hot.epoch)))
    turn = [request(plain(), authorization=name) for name in ("good", late)]
    found, taken = talk(engine, *[turn] * 5, clients=2)
    assert {answers(data)[0][0] for both in found for data in both} == {200}
    assert taken == 4
    assert set(epochs) == {1}


def test_bodies_that_break_the_reading_are_asked_the_ordinary_way(engine, monkeypatch, caplog):
    def broken(self, bodies):
        raise RuntimeError("secret")

    sent = request(plain())
    monkeypatch.setattr("trimtab.serve.shell.fast.Fast.alone", broken)
    monkeypatch.setattr("trimtab.serve.shell.fast.Fast.one", broken)
    (_, found), taken = talk(engine, [sent] * 2, [sent] * 2, clients=2)
    assert [answers(data)[0][0] for data in found] == [200, 200]
    assert taken == 0
    assert "failed together" in caplog.text


def test_heads_that_do_not_come_again_keep_no_old_model(engine, endpoint, spec):
    old, new = request(plain(), user_agent="old"), request(plain(), user_agent="new")

    async def run():
        talk = Talk(engine, 2)
        for _ in range(2):
            await talk.say(old, new)
        first = weakref.ref(engine.router.table.routes[0].model)
        for version in (2, 3):  # the router itself keeps the one before
            made = spec(f"loans@v{version}", bias=float(version))
            routes.write(endpoint, RoutesFile(version=version, name="loans", routes=(made,)))
            assert engine.router.reload()
            await talk.say(b"", new)
        assert len(talk.connections.heads._known) == 2
        gc.collect()
        return first()

    assert asyncio.run(run()) is None


def test_a_plan_ends_with_its_time(engine, monkeypatch):
    monkeypatch.setattr(hot, "SEEN_FOR", 0)
    sent = request(plain())
    found, taken = talk(engine, *[(sent,)] * 4)
    assert taken == 0
    assert {answers(data)[0][0] for (data,) in found} == {200}


@pytest.mark.parametrize(
    "headers",
    [
        {"content_type": "text/csv"},
        {"accept": "text/csv"},
        {"x_route": "champion"},
        {"x_request_id": "r1"},
        {"content_encoding": "identity"},
        {"x_event_time": "2026-01-31T12:00:00Z"},
    ],
    ids=lambda x: next(iter(x)),
)
def test_a_head_that_asks_for_more_goes_the_ordinary_way(headers, engine):
    sent = request(plain(), **headers)
    _, taken = talk(engine, (sent,), (sent,), (sent,))
    assert taken == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"sample": {"champion": 0.5}},
        {"invalid": {"income": "flag"}},
        {"limits": LimitsConfig(rate="1000/s")},
    ],
    ids=["sampled", "with policies", "with a rate"],
)
def test_an_endpoint_that_asks_for_more_goes_the_ordinary_way(settings, endpoint):
    sent = request(plain())
    found, taken = talk(kept(endpoint, **settings), (sent,), (sent,), (sent,))
    assert taken == 0
    assert {answers(data)[0][0] for (data,) in found} == {200}


def test_what_may_not_be_kept_is_not_logged(endpoint):
    engine = kept(endpoint, pii={"income": "drop", "purpose": "mask"})
    sent = request(plain(ROW | {"purpose": "a caravan"}))
    _, taken = talk(engine, (sent,), (sent,))
    assert taken == 1
    for one in log.read(engine.log.folder)[0]:
        assert "income" not in one.numbers
        assert one.words["purpose"] == ["a c*****"] or one.words["purpose"][0] != "a caravan"


def test_an_answer_that_cannot_be_logged_is_not_given(engine, monkeypatch):
    sent = request(plain())

    async def run():
        talk = Talk(engine, 2)
        await talk.say(sent, sent)

        def full(frames):
            raise StorageError("the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(engine.log, "append", full)
            for data in await talk.say(sent, sent):
                ((status, headers, _),) = answers(data)
                assert (status, headers["retry-after"]) == (503, "1")
        for data in await talk.say(sent, sent):
            assert answers(data)[0][0] == 200

    asyncio.run(run())
    assert sum(one.rows for one in log.read(engine.log.folder)[0]) == 4


@pytest.mark.parametrize(("clients", "said"), [(1, "failed alone"), (2, "failed together")])
def test_what_nobody_foresaw_is_asked_again_and_said(clients, said, engine, monkeypatch, caplog):
    def broken(*given):
        raise RuntimeError("secret")

    sent = request(plain())
    monkeypatch.setattr(engine.recorder, "together", broken)
    monkeypatch.setattr(engine.recorder, "note", broken)
    (_, found), _ = talk(engine, (sent,) * clients, (sent,) * clients, clients=clients)
    assert [answers(data)[0][0] for data in found] == [200] * clients
    assert said in caplog.text


def test_a_client_that_is_gone_is_not_scored(engine):
    async def run():
        talk = Talk(engine, 2)
        sent = request(plain())
        await talk.say(sent, sent)
        talk.clients[0].data_received(sent)
        talk.clients[0].connection_lost(None)
        found = await talk.say(b"", sent)
        assert found[0] == b""
        assert answers(found[1])[0][0] == 200

    asyncio.run(run())
    assert sum(one.rows for one in log.read(engine.log.folder)[0]) == 3


@pytest.mark.parametrize("body", [plain(), json.dumps({"rows": [ROW]}).encode()], ids=["", "rows"])
@pytest.mark.parametrize("pieces", [1, 2])
def test_who_ends_his_sending_gets_all_his_answers_and_then_the_end(pieces, body, engine):
    sent = request(body)

    async def run():
        talk = Talk(engine, 2)  # one alone has his answer at once
        await talk.say(sent)
        for _ in range(pieces):
            talk.clients[0].data_received(sent)
        assert talk.clients[0].eof_received()  # the transport stays open
        data, _ = await talk.say()
        return [status for status, _, _ in answers(data)], talk.wires[0].is_closed

    assert asyncio.run(run()) == ([200] * pieces, True)


def test_too_many_at_once_are_told_so(endpoint):
    engine = kept(endpoint, limits=LimitsConfig(in_flight=2))
    sent = request(plain())

    async def run():
        talk = Talk(engine, 4)
        for _ in range(2):
            found = await talk.say(*[sent] * 4)
        return [answers(data)[0][0] for data in found]

    assert asyncio.run(run()) == [200, 200, 503, 503]


def test_answers_leave_in_the_order_of_their_requests(engine):
    quick, slow = request(plain()), request(json.dumps({"rows": [ROW, ROW]}).encode())

    async def run():
        talk = Talk(engine)
        await talk.say(quick)
        await talk.say(slow)
        talk.clients[0].data_received(quick)
        talk.clients[0].data_received(slow)
        (data,) = await talk.say(quick)
        return [len(json.loads(body)["predictions"]) for _, _, body in answers(data)]

    assert asyncio.run(run()) == [1, 2, 1]


def test_an_answer_that_is_worth_compressing_is_compressed(engine):
    sent = request(tensors(id="\x01" * 199), OIP, accept_encoding="gzip")
    found, taken = talk(engine, (sent,), (sent,))
    assert taken == 1
    parts = [answers(data)[0] for (data,) in found]
    assert [headers["content-encoding"] for _, headers, _ in parts] == ["gzip"] * 2
    first, second = (unnamed(gzip.decompress(body)) for _, _, body in parts)
    assert first == second
    assert len(log.read(engine.log.folder)[0]) == 2


row = st.fixed_dictionaries(
    {
        "income": st.one_of(st.none(), st.integers(-(10**6), 10**6), st.floats(-1e30, 1e30)),
        "debt": st.one_of(st.floats(-5, 5), st.sampled_from([1e39, True, "x", None])),
        "owner": st.sampled_from([True, False, None]),
        "purpose": st.sampled_from(["car", "home", "boat", "ü"]),
        "region": st.sampled_from(["n", "s", None, "moon"]),
    },
    optional={"group": st.sampled_from(["g", None]), "other": st.just(1)},
)
body = st.one_of(
    st.builds(plain, row),
    st.builds(plain, row).map(lambda x: x[:-1]),
    st.lists(row, max_size=2).map(lambda x: json.dumps({"rows": x}).encode()),
)


@pytest.mark.slow
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
@given(turns=st.lists(st.lists(body, min_size=1, max_size=4), min_size=1, max_size=3))
def test_any_interleaving_is_answered_as_each_alone(turns, engine):
    """Every body twice under its own head, so that the second may take the shortest way."""

    def content(status, data):
        return status, unnamed(data)

    padded = [[request(one) for one in turn] for turn in turns for _ in range(2)]
    found, _ = talk(engine, *padded, clients=4)
    asked = [turn for turn in turns for _ in range(2)]
    for turn, got in zip(asked, found, strict=True):
        for one, data in zip(turn, got, strict=False):
            alone = engine.handle("POST", "/predict", {}, one)
            ((status, _, back),) = answers(data)
            assert content(status, back) == content(alone.status, alone.body)
