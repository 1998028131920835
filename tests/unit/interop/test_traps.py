"""What has gone wrong in servers of this protocol, and what a client sees here.

A server that listens stands for clients' own guards; a stock server's answers to the same requests are
compared in tests/conformance/mlflow-tracking.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from trimtab.interop.mlflow.app import Mlflow
from trimtab.store import metrics
from trimtab.store.records import Point
from trimtab.store.workspace import open_workspace

API = "/api/2.0/mlflow/"
FILES = "/api/2.0/mlflow-artifacts/artifacts/"
GREATEST = 1.7976931348623157e308


class Client:
    """Asks an app as a client does; an answer that would be tried again for minutes fails the test."""

    def __init__(self, app):
        self.app = app

    def __call__(self, method, path, body=b"", code=200, raw=False):
        found = asyncio.run(self._ask(method, path, body))
        assert found[0] == code, found
        assert found[0] not in (408, 429, 500, 502, 503, 504)
        return found if raw else json.loads(found[2] or b"{}")

    def post(self, path, code=200, /, **fields):
        return self("POST", API + path, json.dumps(fields).encode(), code)

    def get(self, path, code=200, /, **fields):
        query = "&".join(f"{name}={quote(str(value))}" for name, value in fields.items())
        return self("GET", f"{API}{path}?{query}", code=code)

    async def _ask(self, method, path, body):
        path, _, query = path.partition("?")
        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(),
            "query_string": query.encode(), "headers": [(b"content-type", b"application/json")],
        }  # fmt: skip
        said = []

        async def receive():
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message):
            said.append(message)

        await self.app(scope, receive, send)
        data = b"".join(one.get("body", b"") for one in said[1:])
        return said[0]["status"], dict(said[0]["headers"]), data


@pytest.fixture
def ws(tmp_path):
    opened = open_workspace(tmp_path, "demo")
    yield opened
    opened.close()


@pytest.fixture
def ask(ws):
    return Client(Mlflow(None, ws))


@pytest.fixture
def run(ask):
    made = ask.post("runs/create", experiment_id="0", start_time=1, run_name="one")
    return made["run"]["info"]["run_id"]


def history(ask, run, key):
    found = ask.get("metrics/get-history", run_id=run, metric_key=key).get("metrics", [])
    return [(one["value"], one["timestamp"], one["step"]) for one in found]


def point(ask, run, code=200, /, **fields):
    return ask.post(
        "runs/log-metric", code, **{"run_id": run, "key": "m", "timestamp": 1, **fields}
    )


@pytest.mark.parametrize(
    "fields",
    [
        *('"value": 1e400', '"value": -1e400', '"value": 1, "step": 1.5'),
        *('"value": 1, "timestamp": 5.5', '"value": 1, "step": 9223372036854775808'),
        *('"value": "abc"', '"value": null', '"value": 1, "timestamp": -1'),
        *('"value": 1, "timestamp": 9223372036854775807', '"value": 1, "timestamp": null'),
    ],
)
def test_what_a_stock_server_stores_wrongly_is_refused(ask, run, fields):
    body = f'{{"run_id": "{run}", "key": "m", "timestamp": 1, {fields}}}'
    fault = ask("POST", f"{API}runs/log-metric", body.encode(), 400)
    assert fault["error_code"] in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")
    assert history(ask, run, "m") == []


@pytest.mark.parametrize(
    ("literal", "stored", "shown"),
    [
        *(("NaN", math.nan, "NaN"), ('"NaN"', math.nan, "NaN")),
        *(("Infinity", math.inf, GREATEST), ('"-Infinity"', -math.inf, -GREATEST)),
        *(
            ("true", 1.0, 1.0),
            ('"1.5"', 1.5, 1.5),
            ("-0.0", -0.0, -0.0),
            ("5e-324", 5e-324, 5e-324),
        ),
    ],
)
def test_odd_values_are_kept_and_leave_as_clients_read_them(ws, ask, run, literal, stored, shown):
    body = f'{{"run_id": "{run}", "key": "m", "timestamp": 1, "value": {literal}}}'
    ask("POST", f"{API}runs/log-metric", body.encode())
    assert history(ask, run, "m") == [(shown, 1, 0)]
    (found,) = metrics.read(ws, run)
    assert repr(found.value) == repr(stored)


def test_large_integers_are_exact_and_leave_as_numbers(ask, run):
    most = (2**63 - 1) // 1000
    for time, step in ((9_007_199_254_740_993, 2**63 - 1), (str(most), -(2**63))):
        point(ask, run, value=1, timestamp=time, step=step)
    assert sorted(history(ask, run, "m")) == [
        (1.0, 9_007_199_254_740_993, 2**63 - 1),
        (1.0, most, -(2**63)),
    ]


def test_steps_may_be_negative_absent_and_go_backwards(ask, run):
    for time, step in ((1, 5), (2, 4), (3, -3), (4, None)):
        point(ask, run, value=time, timestamp=time, **({} if step is None else {"step": step}))
    assert history(ask, run, "m") == [(1.0, 1, 5), (2.0, 2, 4), (3.0, 3, -3), (4.0, 4, 0)]
    latest = ask.get("runs/get", run_id=run)["run"]["data"]["metrics"]
    assert latest == [{"key": "m", "value": 1.0, "timestamp": 1, "step": 5}]
    point(ask, run, 400, value=1, timestamp=None)


def test_a_clock_that_is_wrong_is_the_clients_own(ask, run):
    """Years ahead, before 1970 for a run, and set back in between: all kept, ordered by time."""
    for time in (4_102_444_800_000, 0, 1_000):
        point(ask, run, value=time, timestamp=time)
    assert [one[1] for one in history(ask, run, "m")] == [0, 1_000, 4_102_444_800_000]
    made = ask.post("runs/create", experiment_id="0", start_time=-5_000)["run"]["info"]
    assert made["start_time"] == -5_000
    ended = ask.post("runs/update", run_id=made["run_id"], status="FINISHED", end_time=-9_000)
    assert ended["run_info"]["end_time"] == -9_000


def test_the_same_point_again_is_one_and_another_value_two(ask, run):
    for value in (1.0, 1.0, 2.0, 1.0):
        point(ask, run, value=value, step=1)
    assert history(ask, run, "m") == [(1.0, 1, 1), (2.0, 1, 1)]


def test_a_param_is_set_once(ask, run):
    for code, value in ((200, "1"), (200, "1"), (400, "2")):
        found = ask.post("runs/log-parameter", code, run_id=run, key="p", value=value)
    assert found["message"].startswith("Changing param values is not allowed. Param with key='p'")


def test_long_values_are_cut_and_long_keys_refused(ask, run):
    ask.post("runs/log-parameter", run_id=run, key="p", value="v" * 6_001)
    ask.post("runs/set-tag", run_id=run, key="t", value="v" * 8_001)
    data = ask.get("runs/get", run_id=run)["run"]["data"]
    assert len(data["params"][0]["value"]) == 6_000
    assert {len(one["value"]) for one in data["tags"] if one["key"] == "t"} == {8_000}
    point(ask, run, 400, key="k" * 251, value=1)


def test_either_name_of_a_runs_id(ask, run):
    assert ask.get("runs/get", run_uuid=run) == ask.get("runs/get", run_id=run)
    info = ask.get("runs/get", run_id=run)["run"]["info"]
    assert info["run_id"] == info["run_uuid"] == run
    assert info["artifact_uri"] == f"mlflow-artifacts:/0/{run}/artifacts"


def test_the_name_and_its_tag_are_one(ask, run):
    ask.post("runs/set-tag", run_id=run, key="mlflow.runName", value="two")
    assert ask.get("runs/get", run_id=run)["run"]["info"]["run_name"] == "two"
    ask.post("runs/update", run_id=run, run_name="three")
    tags = ask.get("runs/get", run_id=run)["run"]["data"]["tags"]
    assert {"key": "mlflow.runName", "value": "three"} in tags
    unnamed = ask.post("runs/create", experiment_id="0")["run"]["info"]
    assert unnamed["run_name"]


def test_a_deleted_run_is_shown_and_takes_nothing(ask, run):
    ask.post("runs/delete", run_id=run)
    assert ask.get("runs/get", run_id=run)["run"]["info"]["lifecycle_stage"] == "deleted"
    for path, fields in (
        ("runs/log-metric", {"key": "m", "value": 1, "timestamp": 1}),
        ("runs/log-batch", {"metrics": [{"key": "m", "value": 1.0, "timestamp": 1}]}),
        ("runs/set-tag", {"key": "t", "value": "x"}),
    ):
        fault = ask.post(path, 400, run_id=run, **fields)
        assert "must be in the 'active' state" in fault["message"]
    assert history(ask, run, "m") == []


def test_the_first_experiment_is_there_and_a_second_of_a_name_tells_nothing_of_the_store(ask):
    found = ask.get("experiments/get", experiment_id="0")["experiment"]
    assert (found["name"], found["experiment_id"]) == ("Default", "0")
    ask.post("experiments/create", name="a")
    fault = ask.post("experiments/create", 400, name="a")
    assert fault["error_code"] == "RESOURCE_ALREADY_EXISTS"
    assert not {"sql", "insert", "unique", "/"} & set(fault["message"].lower().split())


def test_files_that_are_not_there(ask, run):
    ask("PUT", f"{FILES}0/{run}/artifacts/a/b.txt", b"x")
    assert ask.get("artifacts/list", run_id=run, path="none") == {
        "root_uri": f"mlflow-artifacts:/0/{run}/artifacts"
    }
    assert ask("GET", f"{FILES[:-1]}?path=0/{run}/none") == {}
    assert "files" not in ask.get("artifacts/list", run_id=run, path="a/b.txt")
    fault = ask("GET", f"{FILES}0/{run}/artifacts/none", code=404)
    assert fault["error_code"] == "RESOURCE_DOES_NOT_EXIST"
    _, headers, data = ask("GET", f"{FILES}0/{run}/artifacts/a/b.txt", raw=True)
    assert data == b"x"
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"content-disposition"].startswith(b"attachment")
    assert {b"content-type", b"etag", b"accept-ranges"} <= headers.keys()


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "path",
    [
        "../x",
        "%2e%2e/x",
        "a%2f..%2fx",
        "a/%2e%2e/%2e%2e/x",
        "/etc/passwd",
        "C:/x",
        "a%00b",
        "a%5c..%5cx",
    ],
)
def test_no_path_leads_out(ws, ask, method, path):
    assert ask(method, FILES + path, b"x", 400)["message"] == "Invalid path"
    assert list(ws.blobs.digests()) == []


@pytest.mark.parametrize(
    "place",
    [
        *("mlflow-artifacts:/a#b", "mlflow-artifacts:/a?b=c", "mlflow-artifacts:/a/../../b"),
        "mlflow-artifacts:/a/%2e%2e/b",
    ],
)
def test_no_experiment_lies_elsewhere(ask, place):
    ask.post("experiments/create", 400, name="x", artifact_location=place)


@pytest.mark.parametrize(
    "source",
    ["file:///etc", "/etc", "../x", "runs://host/x", "models://host/x", "mlflow-artifacts:/../x"],
)
def test_no_version_comes_from_elsewhere(ask, run, source):
    ask.post("registered-models/create", name="R")
    ask.post("model-versions/create", 400, name="R", source=source, run_id=run)
    assert ask.get("model-versions/search", filter="name='R'").get("model_versions", []) == []


def test_transfers_in_parts_are_refused_as_a_client_expects(ask):
    fault = ask("POST", "/api/2.0/mlflow-artifacts/mpu/create/x", b"{}", 404)
    assert fault["error_code"] == "NOT_IMPLEMENTED"
    words = "Multipart upload is not supported for the current artifact repository"
    assert fault["message"].startswith(words)  # by which a client knows that it may send the whole
    flags = ask.get("server-info")
    assert flags["multipart_uploads_enabled"] is flags["multipart_downloads_enabled"] is False


def test_versions_are_counted_on_and_aliases_go_with_them(ask, run):
    ask.post("registered-models/create", name="R")
    source = f"mlflow-artifacts:/0/{run}/artifacts/m"
    made = [
        ask.post("model-versions/create", name="R", source=source, run_id=run)["model_version"]
        for _ in range(2)
    ]
    assert [one["version"] for one in made] == ["1", "2"]
    ask.post("registered-models/alias", name="R", alias="champion", version="2")
    for version in "12":
        ask.post(
            "model-versions/transition-stage", name="R", version=version, stage="production",
            archive_existing_versions=True,
        )  # fmt: skip
    first = ask.get("model-versions/get", name="R", version="1")["model_version"]
    assert first["current_stage"] == "Archived"
    latest = ask.post("registered-models/get-latest-versions", name="R")["model_versions"]
    assert {one["version"] for one in latest if one["status"] == "READY"} == {"1", "2"}
    ask("DELETE", f"{API}model-versions/delete", b'{"name": "R", "version": "2"}')
    ask.get("registered-models/alias", 400, name="R", alias="champion")
    again = ask.post("model-versions/create", name="R", source=source, run_id=run)
    assert again["model_version"]["version"] == "3"


def test_prompts_are_hidden_where_nobody_asks_for_them(ask):
    prompt = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    ask.post("registered-models/create", name="P", tags=prompt)
    ask.post("registered-models/create", name="R")
    names = [
        [one["name"] for one in ask.get("registered-models/search", **asked)["registered_models"]]
        for asked in ({}, {"filter": "tag.`mlflow.prompt.is_prompt` != 'true'"})
    ]
    assert names == [["R"], ["R"]]


def test_the_end_of_a_list_is_no_token(ask, run):
    point(ask, run, value=1)
    found = ask.get("metrics/get-history", run_id=run, metric_key="m", max_results=1)
    assert not found.get("next_page_token")


@pytest.mark.slow
def test_ten_thousand_keys_in_one_run(ws, ask, run):
    for begin in range(0, 10_000, 1000):
        points = [
            {"key": f"layer.{n}/weight", "value": float(n), "timestamp": 1}
            for n in range(begin, begin + 1000)
        ]
        ask.post("runs/log-batch", run_id=run, metrics=points)
    shown = ask.get("runs/get", run_id=run)["run"]["data"]["metrics"]
    assert {one["key"]: one["value"] for one in shown} == {
        f"layer.{n}/weight": float(n) for n in range(10_000)
    }
    assert len(metrics.keys(ws, run)) == 10_000
    found = ask.post(
        "runs/search", experiment_ids=["0"], filter="metrics.`layer.9999/weight` = 9999"
    )
    assert [one["info"]["run_id"] for one in found["runs"]] == [run]


@pytest.mark.slow
def test_keys_of_every_class_of_unicode(ws, ask, run):
    """Letters, digits and marks of a word are a key as they are in stock MLflow; the rest is refused."""
    found = {}
    for code in range(sys.maxunicode + 1):
        found.setdefault(unicodedata.category(chr(code)), []).append(chr(code))
    kept = []
    for category, characters in found.items():
        for character in (characters[0], characters[-1]):
            key = f"a{character}b"
            body = {"run_id": run, "key": key, "value": 1, "timestamp": 1}
            data = json.dumps(body).encode()  # a half of a surrogate pair as \uD800
            status, _, told = asyncio.run(ask._ask("POST", f"{API}runs/log-metric", data))
            assert status in (200, 400), (category, told)
            is_word = character.isalnum() or character in "_-. :/"
            assert (status == 200) == is_word, (category, character)
            if status == 200:
                kept.append(key)
    assert sorted(metrics.keys(ws, run)) == sorted(kept)
    assert all(history(ask, run, key) == [(1.0, 1, 0)] for key in kept)


@pytest.mark.slow
def test_two_processes_write_one_run(ws, ask, run, tmp_path):
    """A client over HTTP, and a process that writes to the store itself."""
    other = open_workspace(tmp_path, "demo")

    def write():
        for number in range(200):
            metrics.append(other, run, [Point(key="own", step=number, time=number, value=0.5)])

    with ThreadPoolExecutor() as pool:
        work = pool.submit(write)
        for number in range(200):
            point(ask, run, value=number, step=number)
        work.result()
    assert len(history(ask, run, "m")) == len(history(ask, run, "own")) == 200
    assert {one.key: one.step for one in metrics.read(ws, run)} == {"m": 199, "own": 199}
    other.close()
