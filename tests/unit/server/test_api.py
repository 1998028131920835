import json

import pytest

from trimtab.server import operations
from trimtab.server.failure import Failed

JSON = {"content-type": "application/json"}


@pytest.mark.slow
def test_the_overview_tells_the_whole_loop(client):
    answer = client.get("/api/v1/overview")
    assert answer.status_code == 200
    found = answer.json()
    assert found["project"] == "loans"
    assert [node["name"] for node in found["nodes"]] == [
        "data", "run", "model", "endpoint", "monitor",
    ]  # fmt: skip


def test_runs_are_listed_shown_and_measured(client):
    listed = client.get("/api/v1/runs", params={"kind": "trial", "limit": "1"}).json()["runs"]
    assert [run["name"] for run in listed] == ["trial 1"]
    shown = client.get(f"/api/v1/runs/{listed[0]['id']}").json()
    assert shown["run"]["params"] == {"depth": 1}
    series = client.get(f"/api/v1/runs/{listed[0]['id']}/metrics").json()["series"]
    assert [(one["key"], len(one["points"])) for one in series] == [("cv_roc_auc", 5)]


def test_whole_runs_leave_out_those_inside(client):
    every = client.get("/api/v1/runs").json()["runs"]
    whole = client.get("/api/v1/runs", params={"top": "true"}).json()["runs"]
    assert {run["kind"] for run in whole} == {"flow"}
    assert {run["kind"] for run in every} == {"flow", "trial"}


def test_a_series_that_a_run_lacks_is_not_found(client):
    run = client.get("/api/v1/runs", params={"kind": "trial"}).json()["runs"][0]["id"]
    answer = client.get(f"/api/v1/runs/{run}/metrics", params={"key": "f1"})
    assert answer.status_code == 404
    assert "cv_roc_auc" in answer.json()["error"]["hint"]


def test_versions_come_with_aliases(client):
    found = client.get("/api/v1/models").json()
    assert [version["number"] for version in found["versions"]] == [1]
    assert found["aliases"] == {"loans@champion": found["versions"][0]["digest"]}


def test_a_model_is_shown_by_alias_and_by_digest(client):
    by_alias = client.get("/api/v1/models/loans@champion").json()
    by_digest = client.get(f"/api/v1/models/{by_alias['digest']}").json()
    assert by_alias == by_digest
    assert by_alias["aliases"] == ["champion"]
    assert len(by_alias["verdicts"]) == 9


def test_a_data_version_says_who_used_it(client):
    found = client.get("/api/v1/data/applications@v1").json()
    assert [link["direction"] for link in found["users"]] == ["in"]


def test_an_endpoint_comes_with_all_that_belongs_to_it(client):
    found = client.get("/api/v1/endpoints/loans").json()
    assert found["endpoint"]["name"] == "loans"
    assert len(found["windows"]) == 1
    assert {one["state"] for one in found["incidents"]} == {"open", "resolved"}


def test_an_incident_is_resolved_once(client):
    incidents = client.get("/api/v1/incidents", params={"state": "open"}).json()["incidents"]
    path = f"/api/v1/incidents/{incidents[0]['id']}/resolve"
    closed = client.post(path, json={"note": "a new employer list"})
    assert closed.json()["resolution"] == "a new employer list"
    again = client.post(path, json={})
    assert again.status_code == 409
    assert client.get("/api/v1/incidents", params={"state": "open"}).json()["incidents"] == []


def test_apply_changes_once(client, project):
    (project.folder / "trimtab.toml").write_text(
        '[project]\nname = "loans"\n[require]\nrows = { min = 10 }\n', encoding="utf-8"
    )
    assert client.post("/api/v1/apply", json={}).json()["changed"] is True
    assert client.post("/api/v1/apply", json={}).json()["changed"] is False
    assert client.get("/api/v1/config").json()["config"]["require"][0]["metric"] == "rows"


def test_a_project_file_that_broke_meanwhile_is_reported(client, project):
    (project.folder / "trimtab.toml").write_text(
        '[project]\nname = "loans"\nowned = "me"\n', encoding="utf-8"
    )
    answer = client.get("/api/v1/config")
    assert answer.status_code == 400
    assert "did you mean 'owner'" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "status", "word"),
    [
        ("/api/v1/models/nobody@v1", 404, "nobody"),
        ("/api/v1/endpoints/nowhere", 404, "nowhere"),
        ("/api/v1/runs/zzzzzzz", 404, "zzzzzzz"),
        ("/api/v1/runs?limit=many", 400, "limit"),
        ("/api/v1/runs?colour=red", 400, "colour"),
        ("/api/v1/nothing", 404, "/api/v1/nothing"),
    ],
)
def test_what_is_wrong_is_named(client, path, status, word):
    answer = client.get(path)
    assert answer.status_code == status
    failure = answer.json()["error"]
    assert set(failure) == {"code", "message", "hint"}
    assert word in failure["message"]


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"subject": 3}', b'{"subject": "a", "more": 1}'])
def test_a_body_that_is_no_request_is_refused(client, body):
    answer = client.post("/api/v1/gate", content=body, headers=JSON)
    assert answer.status_code == 400
    assert "subject" in answer.json()["error"]["hint"]


def test_a_body_beyond_a_megabyte_is_refused(client):
    answer = client.post("/api/v1/gate", content=b"{" + b" " * (1 << 20), headers=JSON)
    assert answer.status_code == 400
    assert "1 MiB" in answer.json()["error"]["message"]


def test_a_field_of_the_path_wins_over_the_body(client):
    answer = client.post("/api/v1/endpoints/nowhere/rollback", json={"name": "loans"})
    assert answer.status_code == 404
    assert "nowhere" in answer.json()["error"]["message"]


def test_a_method_that_a_path_lacks_says_so(client):
    answer = client.post("/api/v1/overview", json={})
    assert answer.status_code == 405
    assert answer.json()["error"]["code"] == "usage"


def test_a_fault_of_our_own_is_500_without_its_details(client, monkeypatch, caplog):
    def broken(_project, _request):
        raise RuntimeError("the secret of the house")

    monkeypatch.setattr("trimtab.server.handlers.runs.ls", broken)
    answer = client.get("/api/v1/runs")
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal"
    assert "secret" not in answer.text
    assert "the secret of the house" in caplog.text


def test_healthz_says_which_version_answers(client):
    assert client.get("/healthz").json()["ok"] is True


def test_the_openapi_document_is_made_of_the_table(client):
    document = client.get("/api/v1/openapi.json").json()
    described = {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert set(described) == {(one.method, one.url) for one in operations.TABLE}
    schemas = document["components"]["schemas"]
    for one in operations.TABLE:
        operation = described[one.method, one.url]
        answer = operation["responses"][str(one.status)]["content"]["application/json"]["schema"]
        assert answer["$ref"].rpartition("/")[2] in schemas
        sent = {field["name"] for field in operation["parameters"]}
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        sent |= set(body.get("schema", {}).get("properties", {}))
        assert sent == set(one.request.__struct_fields__)
    assert Failed.__name__ in schemas


def test_every_reference_of_the_openapi_document_leads_somewhere(client):
    text = client.get("/api/v1/openapi.json").text
    document = json.loads(text)

    def references(value):
        if isinstance(value, dict):
            yield from [value["$ref"]] if "$ref" in value else []
            for inner in value.values():
                yield from references(inner)
        if isinstance(value, list):
            for inner in value:
                yield from references(inner)

    names = {name.rpartition("/")[2] for name in references(document)}
    assert names <= set(document["components"]["schemas"])
