import gzip
import json
import time

import msgspec
import pytest

import trimtab
from trimtab.errors import ModelError
from trimtab.serve import contracts, lookups
from trimtab.serve.metrics import Counts
from trimtab.serve.reply import Refusal

ROW = {"income": 10.0, "debt": 1.0, "owner": True, "purpose": "car", "region": "n"}
MODEL = "/v2/models/loans"


@pytest.fixture
def look(engine):
    """Look at a path: status and the JSON or bytes that come back."""

    def ask(path, method="GET", body=b"", environment=None):
        known = contracts.table("loans", environment or {})
        response = lookups.look(engine, method, path, {}, body, contracts=known)
        if response.content_type != "application/json" or response.body == b"\n":
            return response.status, response.body
        return response.status, msgspec.json.decode(response.body)

    return ask


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/", {"status": "alive"}),
        ("/ping", b"\n"),
        ("/health", b"\n"),
        ("/healthz", b"\n"),
        ("/readyz", b"\n"),
        ("/livez", b"\n"),
        ("/version", trimtab.__version__.encode()),
        ("/v1/models", {"models": ["loans"]}),
        ("/v1/models/loans", {"name": "loans", "ready": True}),
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/health/ready/", {"ready": True}),
        (f"{MODEL}/ready", {"name": "loans", "ready": True}),
        (f"{MODEL}/versions/1/ready", {"name": "loans", "version": "loans@v1", "ready": True}),
        (
            f"{MODEL}/versions/loans%40v1/ready",
            {"name": "loans", "version": "loans@v1", "ready": True},
        ),
    ],
)
def test_questions_of_every_tongue(path, answer, look):
    assert look(path) == (200, answer)
    assert look(path, "HEAD")[0] == 200


def test_the_server_names_itself_and_its_extensions(look):
    status, answer = look("/v2")
    assert (status, answer["name"], answer["version"]) == (200, "trimtab", trimtab.__version__)
    assert {"binary_tensor_data", "model_repository", "statistics"} <= set(answer["extensions"])


def test_metadata_says_what_infer_takes_and_gives(look, engine):
    _, answer = look(MODEL)
    assert look(f"{MODEL}/versions/v1")[1] == answer
    assert answer == {
        "name": "loans",
        "versions": ["loans@v1"],
        "platform": "trimtab_onnx",
        "inputs": [
            {"name": "income", "datatype": "FP32", "shape": [-1]},
            {"name": "debt", "datatype": "FP32", "shape": [-1]},
            {"name": "owner", "datatype": "BOOL", "shape": [-1]},
            {"name": "purpose", "datatype": "BYTES", "shape": [-1]},
            {"name": "region", "datatype": "BYTES", "shape": [-1]},
        ],
        "outputs": [
            {"name": "score", "datatype": "FP32", "shape": [-1]},
            {"name": "decision", "datatype": "BYTES", "shape": [-1]},
            {"name": "prediction_id", "datatype": "BYTES", "shape": [-1]},
        ],
        "properties": {"task": "binary", "digest": engine.router.table.routes[0].digest},
    }


def test_the_configuration_agrees_with_the_metadata(look):
    _, meta = look(MODEL)
    _, found = look(f"{MODEL}/config")
    assert found["max_batch_size"] == 0
    for key, ours in (("input", "inputs"), ("output", "outputs")):
        assert [(x["name"], x["dims"]) for x in found[key]] == [
            (x["name"], x["shape"]) for x in meta[ours]
        ]
    assert {x["data_type"] for x in found["input"]} == {"TYPE_FP32", "TYPE_BOOL", "TYPE_STRING"}


@pytest.mark.parametrize("body", [b"", b"  ", b"{}", b'{"ready": true}', b'{"ready": false}'])
def test_the_index_needs_no_body(body, look):
    expected = [{"name": "loans", "version": "loans@v1", "state": "READY", "reason": ""}]
    assert look("/v2/repository/index", "POST", body) == (200, expected)


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"ready": 1}', b"\xff"])
def test_an_index_that_cannot_be_read_is_400(body, look):
    status, answer = look("/v2/repository/index", "POST", body)
    assert (status, list(answer)) == (400, ["error"])


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/v2/repository/models/loans/load", 403, "trimtab deploy"),
        ("/v2/repository/models/loans/unload", 403, "trimtab deploy"),
        ("/v2/repository/models/other/load", 404, "nothing at"),
        ("/v1/models/loans:explain", 501, "no explainer"),
    ],
)
def test_what_is_not_offered_says_so_in_one_text(path, status, said, look):
    found, answer = look(path, "POST", b"{}")
    assert found == status
    assert said in answer["error"]


def test_statistics_count_rows_runs_and_batches(look, engine):
    _, before = look("/v2/models/stats")
    (one,) = before["model_stats"]
    assert (one["inference_count"], one["execution_count"], one["batch_stats"]) == (0, 0, [])
    for rows in (1, 3, 3):
        body = json.dumps({"columns": {k: [v] * rows for k, v in ROW.items()}}).encode()
        assert engine.handle("POST", "/predict", {}, body).status == 200
    for path in (f"{MODEL}/stats", f"{MODEL}/versions/1/stats", "/v2/models/stats"):
        (one,) = look(path)[1]["model_stats"]
        assert (one["name"], one["version"]) == ("loans", "loans@v1")
        assert (one["inference_count"], one["execution_count"]) == (7, 3)
        assert one["inference_stats"]["success"]["count"] == 3
        inferred = one["inference_stats"]["compute_infer"]
        assert inferred["count"] == 3
        assert [x["batch_size"] for x in one["batch_stats"]] == [1, 3]
        assert sum(x["compute_infer"]["ns"] for x in one["batch_stats"]) == inferred["ns"] > 0


def test_statistics_count_failures_apart_and_when_the_last_one_ended(look, engine, monkeypatch):
    def count():
        (one,) = look("/v2/models/stats")[1]["model_stats"]
        stats = one["inference_stats"]
        return stats["success"]["count"], stats["fail"], one["last_inference"]

    def fail(*_):
        raise ModelError("it is broken")

    assert count() == (0, {"count": 0, "ns": 0}, 0)
    body = json.dumps({"row": ROW}).encode()
    before = time.time_ns() // 1_000_000
    assert engine.handle("POST", "/predict", {}, body).status == 200
    answered, failed, last = count()
    assert (answered, failed["count"]) == (1, 0)
    assert before <= last <= time.time_ns() // 1_000_000
    # Wrong rows are refused: the model has not failed.
    assert engine.handle("POST", "/predict", {}, b'{"row": {"debt": "x"}}').status == 422
    assert count() == (answered, failed, last)
    model = engine.router.table.routes[0].model
    monkeypatch.setattr(type(model), "predict_packed", fail)
    assert engine.handle("POST", "/predict", {}, body).status == 500
    answered, failed, later = count()
    assert (answered, failed["count"]) == (1, 1)
    assert failed["ns"] > 0
    assert later >= last


def test_statistics_count_what_other_processes_did(look, engine):
    body = json.dumps({"row": ROW}).encode()
    engine.handle("POST", "/predict", {}, body)
    other = msgspec.json.decode(msgspec.json.encode(engine.metrics.snapshot()), type=Counts)
    engine.others = lambda: [other]
    assert look(f"{MODEL}/stats")[1]["model_stats"][0]["inference_count"] == 2
    engine.others = tuple
    assert look(f"{MODEL}/stats")[1]["model_stats"][0]["inference_count"] == 1


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/v2/models/other", f"{MODEL}/versions/2", f"{MODEL}/versions/2/stats",
     f"{MODEL}/versions/", f"{MODEL}/nothing", "/v1/models/other", "/v2/nothing"],
)  # fmt: skip
def test_unknown_paths_are_404_in_their_tongue(path, look):
    status, answer = look(path)
    assert status == 404
    assert isinstance(answer["error"], str) == (path != "/nothing")
    assert ("there is no model 'other' here, only 'loans'" in str(answer)) == ("other" in path)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/predict", "POST"),
        ("GET", f"{MODEL}/infer", "POST"),
        ("DELETE", f"{MODEL}/versions/3/infer", "POST"),
        ("GET", "/v2/repository/index", "POST"),
        ("POST", "/ping", "GET"),
        ("PUT", MODEL, "GET"),
        ("OPTIONS", "/invocations", "POST"),
    ],
)
def test_wrong_methods_are_405_and_say_the_right_one(method, path, allow, engine):
    response = lookups.look(engine, method, path)
    assert (response.status, response.headers["allow"]) == (405, allow)
    assert "error" in msgspec.json.decode(response.body)


def test_one_route_of_vertex_is_health_and_predict(look, engine):
    environment = {"AIP_ENDPOINT_ID": "7", "AIP_DEPLOYED_MODEL_ID": "8"}
    route = "/v1/endpoints/7/deployedModels/8:predict"
    assert look(route, environment=environment) == (200, b"\n")
    known = contracts.table("loans", environment)
    assert known.find("POST", route).contract.name == "vertex"
    response = lookups.look(engine, "PUT", route, contracts=known)
    assert response.headers["allow"] == "GET, POST"
    assert look("/alive", environment={"AIP_HEALTH_ROUTE": "/alive"}) == (200, b"\n")


NOT_READY = (
    "/ping",
    "/health",
    "/readyz",
    "/v1/models/loans",
    "/v2/health/ready",
    f"{MODEL}/ready",
)


def test_what_is_not_ready_says_503_and_lives(look, engine):
    engine.draining = True
    for path in NOT_READY:
        assert look(path)[0] == 503, path
        assert lookups.look(engine, "GET", path).headers["retry-after"] == "1"
    assert look("/v1/models/loans")[1] == {"name": "loans", "ready": False}
    assert look("/v2/health/ready")[1] == {"ready": False}
    assert "error" in look("/ping")[1]
    for path in ("/", "/livez", "/v2/health/live", "/v2", MODEL):
        assert look(path)[0] == 200, path
    assert look("/v2/repository/index", "POST")[1][0]["state"] == "UNAVAILABLE"
    assert look("/v2/repository/index", "POST", b'{"ready": true}')[1] == []


def test_without_a_model_everything_that_needs_one_is_503(look, engine):
    engine.router.table = None
    for path in (MODEL, f"{MODEL}/config", f"{MODEL}/stats", "/v2/models/stats", "/openapi.json",
                 *NOT_READY):  # fmt: skip
        assert look(path)[0] == 503, path
    assert look("/v2/repository/index", "POST") == (200, [])


def test_a_post_to_look_is_inflated_and_limited(engine):
    body = gzip.compress(b'{"ready": true}')
    index = "/v2/repository/index"
    response = engine.handle("POST", index, {"content-encoding": "gzip"}, body)
    assert msgspec.json.decode(response.body)[0]["state"] == "READY"
    response = engine.handle("POST", index, {"content-encoding": "gzip"}, b"not gzip")
    assert response.status == 400
    assert isinstance(msgspec.json.decode(response.body)["error"], str)
    response = engine.handle("POST", index, {}, b" " * (engine.limits.body + 1))
    assert response.status == 413


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (MODEL, True), ("/v2", True), ("/v2/", True), ("/%76%32/models/stats", True),
        ("/v1/models", True), ("/metrics", False), ("/v2x", False),
    ],
)  # fmt: skip
def test_a_refusal_has_the_words_of_its_path(path, text):
    response = lookups.refusal(path, Refusal(401, "key", "no key", headers={"a": "b"}))
    assert (response.status, response.headers) == (401, {"a": "b"})
    assert isinstance(msgspec.json.decode(response.body)["error"], str) == text


def test_a_long_path_is_not_repeated_whole(look):
    _, answer = look("/" + "x" * 5000)
    assert len(answer["error"]["message"]) < 300
