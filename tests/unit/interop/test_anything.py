"""Whatever is sent, it is answered or refused: never a fault of ours, never half a change."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimtab.interop.mlflow import routes
from trimtab.interop.mlflow.app import Mlflow
from trimtab.interop.mlflow.board import Board
from trimtab.store.workspace import open_workspace

NAMES = (
    "alias archive_existing_versions artifact_location ascending dataset_digest "
    "dataset_name datasets description end_step end_time experiment_id experiment_ids "
    "experiment_name field_name filter key max_results metric_key metrics model_id "
    "model_json models name new_name order_by page_token params path run_id run_ids "
    "run_link run_name run_uuid run_view_type source source_run_id stage stages "
    "start_step start_time status step tag_key tags timestamp user_id value version "
    "view_type "
)
FIELDS = sorted(NAMES.split())
WORDS = ["", "0", "1", "R", "x", "a/b", "..", "\0", "\ud800", "NaN", "mlflow-artifacts:/0/x"]
WORDS += [
    "models:/R/1",
    "RUNNING",
    "FINISHED",
    "Production",
    "ALL",
    "metrics.m > 1",
    "name",
    "m DESC",
]
WORDS += ["LOGGED_MODEL_READY", "9" * 5000, "metrics.m > " + "9" * 5000, "é" * 300]
NUMBERS = [0, 1, -1, 7, 1.5, 2**63, -(2**63), 10**400, float("nan"), float("inf"), True, None]
LEAVES = st.sampled_from([*WORDS, *NUMBERS, "RUN", "MODEL"])
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from([*FIELDS, "dataset", "digest"]), inner, max_size=4),
        st.fixed_dictionaries({"key": inner, "value": inner, "timestamp": inner, "step": inner}),
    ),
    max_leaves=8,
)
ROUTES = sorted(routes._TABLE) + [
    (method, f"logged-models/MODEL/{path}".rstrip("/")) for method, path in routes._MODEL
]


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    opened = open_workspace(tmp_path_factory.mktemp("any"), "demo")
    made = Mlflow(None, opened)
    post(made, "registered-models/create", {"name": "R"})
    post(made, "model-versions/create", {"name": "R", "source": "mlflow-artifacts:/0/x"})
    yield made
    opened.close()


def call(app, method, path, body=b"", query=b""):
    sent = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": f"/api/2.0/mlflow/{path}",
        "query_string": query,
        "headers": [(b"content-type", b"application/json")],
    }
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], json.loads(sent[1]["body"])


def post(app, path, fields):
    return call(app, "POST", path, json.dumps(fields).encode())


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(st.sampled_from(ROUTES), st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=5))
def test_any_fields(app, route, fields):
    method, path = route
    status, made = post(app, "runs/create", {"experiment_id": "0", "start_time": 1})
    run = made["run"]["info"]["run_id"] if status == 200 else ""
    model = next(iter(app.board.models), "m-none")
    text = json.dumps(fields).replace('"RUN"', f'"{run}"').replace('"MODEL"', f'"{model}"')
    if "run" in path:
        text = json.dumps({"run_id": run} | json.loads(text))
    path = path.replace("MODEL", model)
    if method == "GET":
        from urllib.parse import urlencode

        pairs = {
            key: value
            for key, value in json.loads(text).items()
            if not isinstance(value, str) or value.isprintable()
        }
        query = urlencode(pairs, doseq=True, errors="replace").encode()
        status, answer = call(app, method, path, query=query)
    else:
        status, answer = call(app, method, path, text.encode())
    assert status in {200, 400, 404}, answer
    assert status == 200 or set(answer) == {"error_code", "message"}


@pytest.mark.slow
def test_the_store_has_what_the_board_has(app):
    """After all of that: nothing was changed in memory that was refused."""
    again = Board(app.board.ws)
    again.load()
    for name in ("experiments", "models", "registered", "versions"):
        loaded, held = (sorted(getattr(one, name).items()) for one in (again, app.board))
        assert repr(loaded) == repr(held), name
    assert again.runs.keys() == app.board.runs.keys()
    for id_, run in again.runs.items():
        known = app.board.runs[id_]
        for field in ("name", "status", "stage", "end", "inputs", "outputs", "model_inputs"):
            assert getattr(run, field) == getattr(known, field), field
        assert (run.params, run.tags) == (known.params, known.tags)
        assert repr(sorted(run.metrics.items())) == repr(sorted(known.metrics.items()))
