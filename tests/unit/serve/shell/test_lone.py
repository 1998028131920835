"""A request alone in its turn: the same model run, frame, counts and refusals as in a table of one."""

import asyncio
import json
import re

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.serve.conftest import ROW, SIGNED

from trimtab.errors import ModelError, StorageError
from trimtab.model.decide import decide, decider
from trimtab.model.signature import Signature
from trimtab.model.single import Single
from trimtab.serve.logged import frame, log
from trimtab.serve.logged.noted import noter
from trimtab.serve.metrics import Metrics
from trimtab.serve.protocols import parse

from .test_hot import OIP, Talk, kept, plain, tensors, unnamed
from .test_http import answers, request

SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
MOST = parse.FLOAT32
number = st.one_of(
    st.none(),
    st.floats(-5, 5),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.sampled_from([MOST, -MOST, MOST * (1 + 2**-26), -MOST * (1 + 2**-26), 1e39, 5e-324]),
)
cells = st.tuples(
    number,
    number.filter(lambda x: x is not None),
    st.sampled_from([True, False, None]),
    st.sampled_from(["car", "home", "boat", "ü\0", "x" * 300]),
    st.sampled_from(["n", "s", None]),
)


@SHARED
@given(rows=st.lists(cells, min_size=1, max_size=4))
def test_one_row_gets_the_score_of_a_table_of_one(rows, engine):
    route = engine.router.table.routes[0]
    single = route.model.single()
    for row in rows:  # one after the other: nothing stays of the row before
        checked = route.fast.matrix([(*row, msgspec.UNSET)])
        found = single.predict(row)
        if checked is None:
            assert found is None
        elif found is not None:
            outputs = route.model.predict_packed(checked.numbers, list(checked.words.values()))
            assert found == (outputs.score.tolist()[0], outputs.decision[0])
        else:
            assert any(x is not None and abs(x) >= MOST for x in row[:3])


def score_of(value):
    return lambda outputs, feed, options: [np.array([value], dtype=np.float32)]


@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize("value", [-1e-7, 0.0, 0.49999997, 0.5, 1.0, 1.0000001])
def test_scores_at_the_ends_are_those_of_a_table(value, task, engine):
    signed = msgspec.structs.replace(SIGNED, task=task)
    model = engine.router.table.routes[0].model
    outputs = type(model)(
        signature=signed,
        folder=model.folder,
        run=lambda columns: np.array([value], dtype=np.float32),
    ).predict({})
    score, decision = Single(score_of(value), signed).predict((1.0, 1.0, 0.0, "car", "n"))
    assert (score, decision) == (outputs.score.tolist()[0], outputs.decision[0])


def broken(*given):
    raise RuntimeError("no")


@pytest.mark.parametrize(
    "run", [score_of(float("nan")), score_of(float("inf")), broken], ids=["nan", "inf", "broken"]
)
def test_a_model_that_fails_is_a_model_error(run):
    with pytest.raises(ModelError):
        Single(run, SIGNED).predict((1.0, 1.0, 0.0, "car", "n"))


def test_a_model_of_words_alone_or_of_numbers_alone():
    words = msgspec.structs.replace(SIGNED, inputs=SIGNED.inputs[3:])
    numbers = msgspec.structs.replace(SIGNED, inputs=SIGNED.inputs[:3])
    fed = []

    def run(outputs, feed, options):
        fed.append({name: array.tolist() for name, array in feed.items()})
        return [np.array([0.75], dtype=np.float32)]

    assert Single(run, words).predict(("car", None)) == (0.75, "yes")
    assert Single(run, numbers).predict((1.5, None, True)) == (0.75, "yes")
    assert fed[0] == {"words": [["car", ""]]}
    assert fed[1]["numbers"][0][::2] == [1.5, 1.0]
    assert np.isnan(fed[1]["numbers"][0][1])


@given(st.floats(0, 1, width=32), st.none() | st.floats(0, 1))
def test_one_decision_is_that_of_many(score, threshold):
    signed = msgspec.structs.replace(SIGNED, threshold=threshold)
    assert decider(signed)(score) == decide(signed, np.array([score], dtype=np.float32))[0]


text = st.text(max_size=40)


@pytest.mark.slow
@SHARED
@given(
    name=text,
    arrived=st.integers(0, 2**62),
    latency=st.integers(1, 2**40),
    row=cells,
    context=st.dictionaries(text, st.lists(st.none() | text | st.floats(), min_size=1, max_size=1)),
    score=st.floats(width=32),
    decision=text | st.booleans() | st.integers(-9, 9) | st.floats(),
    wide=st.booleans(),
)
def test_a_frame_is_byte_for_byte_that_of_the_struct(
    name, arrived, latency, row, context, score, decision, wide, engine
):
    route = engine.router.table.routes[0]
    more = tuple(
        msgspec.structs.replace(column, name=f"{column.name} %s {place}")
        for column in SIGNED.inputs
        for place in range(20)
    )
    if wide:  # more columns than fit into the shortest of MessagePack's maps
        signed: Signature = msgspec.structs.replace(SIGNED, inputs=more)
        row = tuple(cell for cell in row for _ in range(20))
        model = type(route.model)(signature=signed, folder=route.model.folder, run=broken)
        route = type(route)(**{**route.__dict__, "model": model})
    signed = route.model.signature
    split = len(signed.numbers)
    doubles = [np.nan if x is None else float(x) for x in row[:split]]
    whole = frame.Frame(
        ids=(name,),
        request=name,
        received_at=arrived,
        endpoint="lö%s",
        role=route.role,
        model=route.digest,
        label=route.label,
        contract="predict",
        latency_us=latency,
        numbers=frame.pack_numbers(
            {n: np.array([x]) for n, x in zip(signed.numbers, doubles, strict=True)}
        ),
        words={n: [x] for n, x in zip(signed.words, row[split:], strict=True)},
        context=context,
        score=np.array([score], dtype="<f4").tobytes(),
        decision=[decision],
    )
    note = noter("lö%s", "predict", route)
    assert note(name, arrived, latency, row, context, score, decision) == frame.pack(whole)


@given(
    st.lists(
        st.tuples(st.floats(0, 9), st.floats(0, 9), st.integers(0, 2**62)), min_size=1, max_size=5
    )
)
def test_its_counts_are_those_of_a_turn(requests):
    alone, together = Metrics("loans"), Metrics("loans")
    last = 0
    for waited, spent, now in requests:
        alone.alone("champion", "m@v1", "predict", waited=waited, spent=spent, now=now)
        together.scored("champion", "m@v1", requests=1, rows=1, runs=1, waited=waited, spent=spent)
        together.answered_together("predict", [waited + spent])
        last = now // 1000
    one, other = (msgspec.to_builtins(x.snapshot()) for x in (alone, together))
    for found in (one, other):
        found["cpu_seconds"] = 0
    assert one["models"]["champion m@v1"].pop("last_ms") == last
    other["models"]["champion m@v1"].pop("last_ms")
    assert one == other


def say(engine, *pieces, clients=1):
    async def run():
        one = Talk(engine, clients)
        return [(await one.say(piece))[0] for piece in pieces]

    return asyncio.run(run())


def test_who_is_connected_alone_has_his_answer_before_the_loop_turns(engine):
    sent = request(plain())

    async def run():
        one = Talk(engine)
        await one.say(sent)
        one.clients[0].data_received(sent)
        first = one.wires[0].data
        assert not one.clients[0].eof_received()  # nothing is owed to him
        assert one.clients[0].is_idle
        return first

    (answer,) = answers(asyncio.run(run()))
    assert answer[0] == 200
    assert [one.rows for one in log.read(engine.log.folder)[0]] == [1, 1]


def test_who_waits_for_another_answer_gets_his_in_order(engine):
    """While a request is on its way, the next of the same client is not answered before it."""
    slow = request(json.dumps({"rows": [ROW, ROW]}).encode())

    async def run():
        one = Talk(engine)
        await one.say(request(plain()))
        await one.say(slow)
        one.clients[0].data_received(slow)
        (data,) = await one.say(request(plain()))
        return [len(json.loads(body)["predictions"]) for _, _, body in answers(data)]

    assert asyncio.run(run()) == [2, 1]


@pytest.mark.parametrize("disk_full", ["refuse", "drop"])
def test_an_answer_that_cannot_be_logged_is_not_given_or_counted(disk_full, endpoint, monkeypatch):
    engine = kept(endpoint, disk_full=disk_full)
    sent = request(plain())
    say(engine, sent, sent)

    def full(given):
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(engine.log, "append", full)
        patch.setattr(engine.log, "put", full)
        found = say(engine, sent, sent)
    assert [answers(x)[0][0] for x in found] == [503 if disk_full == "refuse" else 200] * 2
    assert answers(say(engine, sent)[0])[0][0] == 200
    assert sum(one.rows for one in log.read(engine.log.folder)[0]) == 3
    text = engine.metrics.render().decode()
    lost = re.search(r'unlogged_rows_total\{endpoint="loans",reason="disk"\} (\d+)', text)
    assert (lost is not None and lost[1] == "2") == (disk_full == "drop")
    rows = re.search(r"trimtab_rows_total\{[^}]*\} (\d+)", text)
    assert int(rows[1]) == (5 if disk_full == "drop" else 3)


def test_a_model_that_fails_alone_answers_as_ever(engine, monkeypatch):
    sent = request(plain())
    model = engine.router.table.routes[0].model
    monkeypatch.setattr(
        type(model), "_outputs", lambda *given: (_ for _ in ()).throw(ModelError("no"))
    )
    monkeypatch.setattr(Single, "predict", lambda *given: (_ for _ in ()).throw(ModelError("no")))
    found = [answers(x)[0] for x in say(engine, sent, sent)]
    assert [status for status, _, _ in found] == [500, 500]
    assert found[0][2] == found[1][2]
    text = engine.metrics.render().decode()
    assert 'trimtab_rows_total{endpoint="loans",role="champion",model="loans@v1"} 0' in text
    assert 'trimtab_requests_total{endpoint="loans",contract="predict",code="500"} 2' in text
    assert [one.rows for one in log.read(engine.log.folder)[0]] == [0, 0]


def test_what_may_not_be_kept_goes_through_its_rules(endpoint):
    engine = kept(endpoint, pii={"purpose": "mask"})
    sent = request(plain(ROW | {"purpose": "a caravan"}))
    say(engine, sent, sent)
    assert [one.words["purpose"] for one in log.read(engine.log.folder)[0]] == [["a c******"]] * 2


def test_it_arrived_when_it_came(engine):
    sent = request(plain())
    say(engine, sent, sent, sent)
    say(engine, sent, sent, clients=2)
    found = log.read(engine.log.folder)[0]
    times = [one.received_at for one in found]
    assert len(times) == 5
    assert times == sorted(times)
    assert all(one.latency_us > 0 for one in found)


row = st.fixed_dictionaries(
    {
        "income": st.none() | st.integers(-(10**400), 10**400) | st.floats(-1e39, 1e39),
        "debt": st.floats(-5, 5) | st.sampled_from([MOST, -MOST, 1e39, True, "x", None]),
        "owner": st.sampled_from([True, False, None, 1]),
        "purpose": st.sampled_from(["car", "home", "boat", "ü", "", 3]),
        "region": st.sampled_from(["n", "s", None, "moon"]),
    },
    optional={"group": st.sampled_from(["g", None, 1.5, [1]]), "other": st.just(1)},
)


@SHARED
@given(rows=st.lists(row, min_size=1, max_size=4), tongue=st.sampled_from(["/predict", OIP]))
def test_alone_is_answered_and_logged_as_the_ordinary_way_does(rows, tongue, engine):
    """Every body twice under its own head, so that the second may take the shortest way."""
    made = plain if tongue == "/predict" else tensors
    known = {bool, str, float, int, type(None)}
    bodies = [made(one) for one in rows if {type(x) for x in one.values()} <= known]
    before = len(log.read(engine.log.folder)[0])
    for body in bodies:
        found = say(engine, request(body, tongue), request(body, tongue))
        assert unnamed(found[0]) == unnamed(found[1])
    logged = log.read(engine.log.folder)[0][before:]
    assert len(logged) == 2 * len(bodies)
    for one, other in zip(logged[::2], logged[1::2], strict=True):
        same = [
            msgspec.structs.replace(x, ids=("",) * x.rows, request="", received_at=0, latency_us=0)
            for x in (one, other)
        ]
        assert frame.pack(same[0]) == frame.pack(same[1])
