import gzip

import msgspec
import pytest

from trimtab.access import LimitsConfig
from trimtab.errors import StorageError
from trimtab.serve import routes
from trimtab.serve.access import keys
from trimtab.serve.access.auth import Gate
from trimtab.serve.engine import Engine
from trimtab.serve.folder import Settings
from trimtab.serve.logged import log
from trimtab.serve.logged.log import Log
from trimtab.serve.router import Router
from trimtab.serve.routes import RoutesFile

ROW = {"income": 10.0, "debt": 1.0, "owner": True, "purpose": "car", "region": "n"}


def logged(engine):
    return log.read(engine.log.folder)[0]


def changed(**cells):
    return {"rows": [ROW, {**ROW, **cells}]}


def without(name):
    return {"rows": [{key: value for key, value in ROW.items() if key != name}]}


def test_one_row_is_answered_and_logged(post, engine):
    status, answer = post({"row": ROW}, x_request_id="r1")
    assert status == 200
    assert answer["model"] == "loans"
    assert answer["model_version"] == "loans@v1"
    assert answer["request_id"] == "r1"
    (prediction,) = answer["predictions"]
    assert prediction["decision"] == "yes"
    assert prediction["score"] == pytest.approx(0.8808, abs=1e-4)
    (frame,) = logged(engine)
    assert frame.ids == (prediction["id"],)
    assert frame.request == "r1"
    assert (frame.role, frame.label, frame.contract) == ("champion", "loans@v1", "predict")
    assert (frame.status, frame.endpoint, frame.rows) == (200, "loans", 1)
    assert frame.column("income").tolist() == [10.0]
    assert frame.column("owner").tolist() == [1.0]
    assert frame.column("purpose") == ["car"]
    assert frame.scores().tolist() == pytest.approx([prediction["score"]])
    assert frame.decision == ["yes"]
    assert frame.times() == (frame.received_at,)
    assert frame.model == engine.router.table.routes[0].digest


@pytest.mark.parametrize("path", ["/predict", "/invocations"])
def test_rows_and_columns_give_the_same_answer(post, path):
    rows = {"rows": [ROW, {**ROW, "debt": -5}], "ids": ["a", 7]}
    columns = {"columns": {name: [ROW[name]] * 2 for name in ROW}, "ids": ["a", 7]}
    columns["columns"]["debt"] = [1.0, -5]
    by_rows, by_columns = post(rows, path)[1], post(columns, path)[1]
    assert by_rows["predictions"] == by_columns["predictions"]
    assert [p["id"] for p in by_rows["predictions"]] == ["a", "7"]
    assert [p["decision"] for p in by_rows["predictions"]] == ["yes", "no"]


def test_null_is_accepted_where_training_saw_null(post, engine):
    status, _ = post({"row": {**ROW, "income": None, "owner": None, "region": None}})
    assert status == 200
    (frame,) = logged(engine)
    assert str(frame.column("income").tolist()) == "[nan]"
    assert frame.column("region") == [None]


BAD = {
    "missing column": (without("debt"), 0, "debt", "missing"),
    "missing in one row": ({"rows": [ROW, without("debt")["rows"][0]]}, 1, "debt", "missing"),
    "unknown column": (changed(incme=1), 1, "incme", "unknown"),
    "text for number": (changed(debt="1.5"), 1, "debt", "a text"),
    "boolean for number": (changed(debt=True), 1, "debt", "a boolean"),
    "list for number": (changed(debt=[1]), 1, "debt", "a list"),
    "number for text": (changed(purpose=3), 1, "purpose", "a number"),
    "number for boolean": (changed(owner=1), 1, "owner", "a number"),
    "null number": (changed(debt=None), 1, "debt", "null"),
    "null text": (changed(purpose=None), 1, "purpose", "null"),
    "closed category": (changed(region="west"), 1, "region", "not trained on"),
    "beyond float32": (changed(debt=1e39), 1, "debt", "32-bit"),
    "beyond float64": (changed(debt=10**400), 1, "debt", "32-bit"),
    "megabyte text": (changed(purpose="x" * 1_000_000), 1, "purpose", "1,000,000"),
    "row no object": ({"rows": [ROW, 3]}, 1, None, "not an object"),
    "nested context": (changed(group={"a": 1}), 1, "group", "an object"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named_by_row_and_column(name, post, engine):
    body, row, column, said = BAD[name]
    status, answer = post(body)
    assert status == 422
    error = answer["error"]
    assert (error["row"], error["column"]) == (row, column)
    assert said in error["message"]
    (frame,) = logged(engine)
    assert (frame.status, frame.rows) == (422, 0)
    assert post({"row": ROW})[0] == 200


def test_an_unknown_column_comes_with_the_nearest_known(post):
    assert post(changed(incme=1))[1]["error"]["hint"] == "did you mean 'income'?"


@pytest.mark.parametrize("literal", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_what_json_cannot_hold_is_named_by_row_and_column(literal, post):
    row = msgspec.json.encode(ROW)
    bad = msgspec.json.encode(ROW).replace(b'"debt":1.0', b'"debt":' + literal)
    assert literal in bad
    status, answer = post(b'{"rows":[' + row + b"," + bad + b"]}")
    assert status == 422
    assert (answer["error"]["row"], answer["error"]["column"]) == (1, "debt")
    status, answer = post(b'{"columns":{"debt":[1, 2, ' + literal + b"]}}")
    assert (status, answer["error"]["row"], answer["error"]["column"]) == (422, 2, "debt")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1,",
        b'{"rows": [{"a": 1]}',
        b'{"row": {"purpose": "\xff"}}',
        b"NaN,",
        b"[" * 9999,
    ],
)
def test_bad_json_is_400(body, post):
    status, answer = post(body)
    assert (status, answer["error"]["code"]) == (400, "bad_json")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([], "not an object"),
        ({}, "no rows"),
        ({"rows": []}, "no rows"),
        ({"columns": {}}, "no rows"),
        ({"row": ROW, "rows": [ROW]}, "row and rows"),
        ({"rows": ROW}, "not a list"),
        ({"row": [ROW]}, "not an object"),
        ({"instances": [ROW]}, "unknown key"),
        ({"columns": {"debt": 1}}, "not a list"),
        ({"columns": {"debt": [1, 2], "income": [1]}}, "1 values"),
        ({"rows": [ROW], "ids": []}, "one per row"),
        ({"rows": [ROW, ROW], "ids": ["a", "a"]}, "given twice"),
        ({"rows": [ROW], "ids": [""]}, "printable"),
        ({"rows": [ROW], "ids": [True]}, "printable"),
        ({"rows": [ROW], "ids": ["x" * 201]}, "printable"),
        ({"rows": [ROW], "event_time": 0}, "sets the event time itself"),
    ],
)
def test_bad_shapes_are_422(body, said, post):
    status, answer = post(body)
    assert status == 422
    assert said in answer["error"]["message"]


def test_too_much_is_413(post, engine):
    status, answer = post({"rows": [{}] * 10_001})
    assert (status, answer["error"]["code"]) == (413, "too_many_rows")
    response = engine.handle("POST", "/predict", {}, b" " * (engine.limits.body + 1))
    assert response.status == 413


@pytest.mark.parametrize(
    "headers", [{"content_type": "text/xml"}, {"content_encoding": "compress"}]
)
def test_other_forms_are_415(headers, post):
    assert post({"row": ROW}, **headers)[0] == 415


@pytest.mark.slow
def test_bodies_may_be_compressed_both_ways(engine):
    body = msgspec.json.encode({"rows": [ROW] * 50})
    headers = {"content-encoding": "gzip", "accept-encoding": "gzip"}
    response = engine.handle("POST", "/predict", headers, gzip.compress(body))
    assert response.headers["content-encoding"] == "gzip"
    assert response.headers["vary"] == "accept-encoding"
    assert len(msgspec.json.decode(gzip.decompress(response.body))["predictions"]) == 50
    bomb = gzip.compress(b" " * (80 << 20))
    assert engine.handle("POST", "/predict", headers, bomb).status == 413


def test_the_reply_is_what_a_client_accepts_whoever_shares_the_run(engine):
    one = engine.begin("POST", "/predict", {}, msgspec.json.encode({"row": ROW, "id": "a"}))
    other = engine.begin(
        "POST", "/predict", {"accept": "text/csv"}, msgspec.json.encode({"row": ROW, "id": "b"})
    )
    alone = engine.answer((one,))[0]
    plain, table = engine.answer((one, other))
    assert (plain.content_type, plain.body) == (alone.content_type, alone.body)
    assert table.content_type == "text/csv"
    score = msgspec.json.decode(plain.body)["predictions"][0]["score"]
    assert table.body.decode() == f"id,decision,score\nb,yes,{score}\n"


def test_a_request_id_that_cannot_be_logged_is_400(post):
    assert post({"row": ROW}, x_request_id="x" * 201)[0] == 400


def test_ten_thousand_rows_are_answered(post, engine):
    status, answer = post({"columns": {name: [value] * 10_000 for name, value in ROW.items()}})
    assert status == 200
    assert len({p["id"] for p in answer["predictions"]}) == 10_000
    assert logged(engine)[0].rows == 10_000


def test_context_is_logged_and_not_scored(post, engine):
    with_group = post({"row": {**ROW, "group": "g"}})[1]["predictions"][0]["score"]
    assert with_group == post({"row": ROW})[1]["predictions"][0]["score"]
    first, second = logged(engine)
    assert first.column("group") == ["g"]
    assert second.context == {}


def test_an_unseen_category_is_answered_and_counted(post, engine):
    assert post({"row": {**ROW, "purpose": "boat"}})[0] == 200
    text = engine.handle("GET", "/metrics", {}, b"").body.decode()
    line = 'unseen_categories_total{endpoint="loans",model="loans@v1",column="purpose"} 1'
    assert line in text


def client_timed(engine):
    return Engine(
        name="loans",
        router=engine.router,
        log=engine.log,
        settings=Settings(name="loans", event_time="client"),
    )


@pytest.mark.parametrize(
    ("given", "micros"),
    [
        ("2026-01-31T12:00:00Z", 1_769_860_800_000_000),
        ("2026-01-31T13:00:00+01:00", 1_769_860_800_000_000),
        ("2026-01-31", 1_769_817_600_000_000),
        (1_769_860_800_000_000, 1_769_860_800_000_000),
    ],
)
def test_event_times_of_the_client_are_logged(given, micros, post, engine):
    status, _ = post({"rows": [ROW, ROW], "event_time": [given, 0]}, to=client_timed(engine))
    assert status == 200
    assert logged(engine)[0].event_times == (micros, 0)


def test_the_header_times_every_row(post, engine):
    to = client_timed(engine)
    assert post({"rows": [ROW, ROW]}, to=to, x_event_time="2026-01-31")[0] == 200
    assert post({"rows": [ROW]}, to=to, x_event_time="1769817600000000")[0] == 200
    assert post({"rows": [ROW]}, to=to)[0] == 200
    moments = [frame.times() for frame in logged(engine)]
    assert moments[:2] == [(1_769_817_600_000_000,) * 2, (1_769_817_600_000_000,)]
    assert moments[2] == (logged(engine)[2].received_at,)


@pytest.mark.parametrize("given", ["soon", -1, 1e15, True, 10**18, None])
def test_event_times_that_are_none_are_422(given, post, engine):
    status, answer = post({"rows": [ROW], "event_time": [given]}, to=client_timed(engine))
    assert (status, answer["error"]["column"], answer["error"]["row"]) == (422, "event_time", 0)


def test_without_a_model_it_says_503_and_when_to_come_back(tmp_path):
    engine = Engine(name="loans", router=Router(tmp_path), log=Log(tmp_path / "log", "loans"))
    response = engine.handle("POST", "/predict", {}, b"{}")
    assert response.status == 503
    assert response.headers["retry-after"] == "1"
    for path in ("/ping", "/v2/health/ready", "/v2/models/loans/ready", "/v2/models/loans"):
        assert engine.handle("GET", path, {}, b"").status == 503
    assert engine.handle("GET", "/v2/health/live", {}, b"").status == 200


def test_a_draining_endpoint_answers_and_is_not_ready(post, engine):
    engine.draining = True
    assert engine.handle("GET", "/ping", {}, b"").status == 503
    assert post({"row": ROW})[0] == 200


def test_an_answer_that_cannot_be_logged_is_not_given(post, engine, monkeypatch):
    def full(frames):
        raise StorageError("the prediction log cannot be written: No space left on device")

    monkeypatch.setattr(engine.log, "append", full)
    response = engine.handle("POST", "/predict", {}, msgspec.json.encode({"row": ROW}))
    assert response.status == 503
    assert response.headers["retry-after"] == "1"
    assert b"decision" not in response.body
    assert post(changed(debt="x"))[0] == 422
    assert b"unlogged_frames_total" in engine.handle("GET", "/metrics", {}, b"").body


def test_what_nobody_foresaw_is_500_without_its_text(post, engine, monkeypatch, caplog):
    def broken(key):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(engine, "_route", lambda table, found, call, request: broken(call))
    status, answer = post({"row": ROW}, x_request_id="r7")
    assert (status, answer["error"]["code"]) == (500, "internal")
    assert "secret" not in str(answer)
    assert "r7" in caplog.text


def test_a_failing_model_is_500_and_logged(post, engine, monkeypatch):
    route = engine.router.table.routes[0]
    monkeypatch.setitem(vars(route.model), "run_packed", lambda numbers, words: 1 / 0)
    status, answer = post({"row": ROW})
    assert (status, answer["error"]["code"]) == (500, "model")
    assert logged(engine)[0].status == 500


@pytest.mark.parametrize("path", ["/nothing", "/v2/models/other", "/v2/models/other/infer"])
def test_unknown_paths_are_404(path, engine):
    response = engine.handle("POST", path, {}, b"{}")
    assert response.status == 404
    error = msgspec.json.decode(response.body)["error"]
    assert isinstance(error, str) == path.startswith("/v2")


def test_wrong_methods_are_405_and_say_the_right_one(engine):
    assert engine.handle("GET", "/predict", {}, b"").headers["allow"] == "POST"
    assert engine.handle("POST", "/ping", {}, b"").headers["allow"] == "GET"


def two_models(endpoint, spec, engine, **second):
    current = routes.read(endpoint)
    other = spec("loans@v2", bias=-9.0, **second)
    key = "shadow" if other.role == "shadow" else "routes"
    listed = {"routes": current.routes, "shadow": ()}
    listed[key] = (*listed[key], other)
    routes.write(endpoint, RoutesFile(version=2, name="loans", **listed))
    assert engine.router.reload(), engine.router.error


def test_a_shadow_is_logged_under_the_same_ids_after_the_answer(post, engine, endpoint, spec):
    two_models(endpoint, spec, engine, role="shadow")
    body = msgspec.json.encode({"rows": [ROW, ROW]})
    job = engine.begin("POST", "/predict", {}, body)
    assert engine.answer([job])[0].status == 200
    assert [frame.role for frame in logged(engine)] == ["champion"]
    engine.shadow([job])
    champion, shadow = logged(engine)
    assert shadow.role == "shadow"
    assert shadow.ids == champion.ids
    assert shadow.received_at == champion.received_at
    assert (champion.decision, shadow.decision) == (["yes"] * 2, ["no"] * 2)
    assert champion.model != shadow.model


def test_a_shadow_that_wants_other_columns_is_counted_and_hurts_nobody(
    post, engine, endpoint, spec
):
    table = engine.router.table.routes[0].model.signature
    years = msgspec.structs.replace(table.inputs[1], name="years")
    inputs = (*table.inputs[:2], years, *table.inputs[3:])
    signed = msgspec.structs.replace(table, inputs=inputs)
    two_models(endpoint, spec, engine, role="shadow", signed=signed)
    job = engine.begin("POST", "/predict", {}, msgspec.json.encode({"row": ROW}))
    assert engine.answer([job])[0].status == 200
    engine.shadow([job])
    assert [(one.role, one.rows) for one in logged(engine)] == [("champion", 1), ("shadow", 0)]
    assert b"shadow_errors_total" in engine.handle("GET", "/metrics", {}, b"").body
    # What only the shadow reads may be sent, and the champion does not mind.
    assert post({"row": {**ROW, "years": 3.0}})[0] == 200


@pytest.mark.slow
def test_a_canary_takes_its_share_by_request_id_and_route_key(post, engine, endpoint, spec):
    two_models(endpoint, spec, engine, role="canary", weight=0.25)
    served = [post({"row": ROW}, x_request_id=f"r{i}")[1]["model_version"] for i in range(400)]
    assert 40 < served.count("loans@v2") < 130
    again = [post({"row": ROW}, x_request_id=f"r{i}")[1]["model_version"] for i in range(400)]
    assert again == served
    stuck = {post({"row": ROW}, x_route_key="customer-3")[1]["model_version"] for _ in range(20)}
    assert len(stuck) == 1
    roles = {frame.role for frame in logged(engine)}
    assert roles == {"champion", "canary"}


def test_a_request_may_name_its_route(post, engine, endpoint, spec):
    two_models(endpoint, spec, engine, role="canary", weight=0.001)
    for wanted in ("canary", "loans@v2"):
        assert post({"row": ROW}, x_route=wanted)[1]["model_version"] == "loans@v2"
    assert post({"row": ROW}, x_route="champion")[1]["model_version"] == "loans@v1"
    assert post({"row": ROW}, x_route="elsewhere")[0] == 404


@pytest.mark.parametrize("shape", ["row", "rows", "header"])
def test_a_route_may_stick_to_a_column_or_header(engine, endpoint, spec, post, shape):
    two_models(endpoint, spec, engine, role="canary", weight=0.5)
    to = Engine(
        name="loans",
        router=engine.router,
        log=engine.log,
        settings=Settings(name="loans", sticky="group"),
    )

    def version(group: str) -> str:
        row = {**ROW, "group": group}
        if shape == "header":
            return post({"row": ROW}, to=to, group=group)[1]["model_version"]
        body = {"row": row} if shape == "row" else {"rows": [row]}
        return post(body, to=to)[1]["model_version"]

    first = [version(f"g{i}") for i in range(40)]
    assert set(first) == {"loans@v1", "loans@v2"}
    assert [version(f"g{i}") for i in range(40)] == first


def made(engine, folder=None, **settings) -> Engine:
    router = engine.router
    if "pii" in settings:
        router = Router(folder, settings["pii"])
        assert router.reload(), router.error
    return Engine(
        name="loans", router=router, log=engine.log, settings=Settings(name="loans", **settings)
    )


def test_what_may_not_be_kept_is_scored_and_not_logged(engine, endpoint, post):
    to = made(engine, endpoint, pii={"income": "drop", "purpose": "hash", "group": "mask"})
    plain = post({"row": {**ROW, "group": "secret"}})[1]["predictions"][0]["score"]
    assert post({"row": {**ROW, "group": "secret"}}, to=to)[1]["predictions"][0]["score"] == plain
    frame = logged(engine)[-1]
    assert "income" not in frame.numbers
    assert frame.context == {"group": ["se****"]}
    assert frame.words["purpose"] != ["car"]


def test_a_sample_is_logged_and_the_rest_counted(engine, post):
    to = made(engine, sample={"champion": 0.3})
    ids = [post({"row": ROW}, to=to)[1]["predictions"][0]["id"] for _ in range(200)]
    kept = [name for frame in logged(engine) for name in frame.ids]
    assert set(kept) < set(ids)
    assert 20 < len(kept) < 110
    text = to.handle("GET", "/metrics", {}, b"").body.decode()
    line = 'trimtab_unlogged_rows_total{endpoint="loans",reason="sampled"}'
    assert f"{line} {200 - len(kept)}" in text
    jobs = [
        to.begin("POST", "/predict", {}, msgspec.json.encode({"rows": [ROW] * 2}))
        for _ in range(40)
    ]
    before = len(logged(engine))
    assert {one.status for one in to.answer(jobs)} == {200}
    (together,) = logged(engine)[before:]
    assert together.rows == 2 * len(together.requests()) < 80
    assert together.ids == tuple(
        name
        for job in jobs
        for name in job.ids
        if job.request in {p.request for p in together.parts}
    )


def test_a_full_disk_may_be_answered_where_that_was_asked_for(engine, post, monkeypatch):
    def full(frames):
        raise StorageError("the disk is full")

    monkeypatch.setattr(engine.log, "append", full)
    assert post({"row": ROW})[0] == 503
    to = made(engine, disk_full="drop")
    assert post({"row": ROW}, to=to)[0] == 200
    text = to.handle("GET", "/metrics", {}, b"").body.decode()
    assert 'trimtab_unlogged_rows_total{endpoint="loans",reason="disk"} 1' in text


def test_a_key_is_asked_for_where_there_are_keys(engine, endpoint, post):
    key, text = keys.add(endpoint, "ci", scopes=("infer",))
    to = Engine(name="loans", router=engine.router, log=engine.log, gate=Gate.load(endpoint))
    assert post({"row": ROW}, to=to)[0] == 401
    assert post({"row": ROW}, to=to, authorization=f"Bearer {text}")[0] == 200
    assert post({"row": ROW}, to=to, x_api_key=text)[0] == 200
    assert to.handle("GET", "/v2/health/ready", {}, b"").status == 200
    assert to.handle("GET", "/metrics", {"x-api-key": text}, b"").status == 403
    keys.remove(endpoint, key.id)
    to.follow_keys()
    assert post({"row": ROW}, to=to, x_api_key=text)[0] == 401


def test_too_many_at_once_and_too_often_are_told_when_to_come_back(engine, post):
    to = Engine(
        name="loans",
        router=engine.router,
        log=engine.log,
        settings=Settings(name="loans", limits=LimitsConfig(rate="2/m")),
        gate=Gate.load(engine.router.folder),
    )
    answers = [
        to.handle("POST", "/predict", {}, msgspec.json.encode({"row": ROW})) for _ in range(3)
    ]
    assert [one.status for one in answers] == [200, 200, 429]
    assert answers[0].headers["ratelimit-remaining"] == "1"
    assert int(answers[2].headers["retry-after"]) > 0
