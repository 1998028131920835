import pytest

from trimtab.serve.access.auth import is_loopback

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8746", "localhost", "LOCALHOST:1", "[::1]:8746", "127.4.5.6", "a.localhost"]
)
def test_loopback_names_are_answered(client, host):
    assert client.get("/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "192.168.1.4:8746", "0.0.0.0", "", "[::1", "10.1"],
)
def test_other_names_are_refused_before_anything_else(client, host):
    for path in ("/", "/healthz", "/api/v1/overview"):
        answer = client.get(path, headers={"host": host})
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "refused"


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_what_a_form_of_another_site_can_send_is_refused(client, kind):
    answer = client.post("/api/v1/tick", content=b"{}", headers={"content-type": kind})
    assert answer.status_code == 415


def test_a_page_of_another_site_is_refused(client):
    for origin in ("https://evil.example", "http://127.0.0.1:9999", "null"):
        answer = client.post("/api/v1/apply", content=b"{}", headers={**JSON, "origin": origin})
        assert answer.status_code == 403


def test_the_own_page_is_answered(client):
    origin = {"origin": "http://127.0.0.1:8746", "content-type": "application/json; charset=utf-8"}
    assert client.post("/api/v1/apply", content=b"{}", headers=origin).status_code == 200


MLFLOW = "/api/2.0/mlflow/experiments/create"
FILE = "/api/2.0/mlflow-artifacts/artifacts/0/x.bin"


def test_mlflows_paths_are_guarded_too(client):
    foreign = {"origin": "https://evil.example"}
    assert client.post(MLFLOW, json={"name": "x"}, headers=foreign).status_code == 403
    assert client("PUT", FILE, content=b"x", headers=foreign).status_code == 403
    assert client.get(FILE, headers={"host": "evil.example"}).status_code == 403
    for kind in ("", "text/plain", "application/x-www-form-urlencoded"):
        sent = {"content-type": kind}
        assert client.post(MLFLOW, content=b'{"name":"x"}', headers=sent).status_code == 400


def test_a_file_is_stored_whatever_it_is_called(client):
    for kind in ("application/octet-stream", "text/html"):
        sent = {"content-type": kind}
        assert client("PUT", FILE, content=b"<p>", headers=sent).status_code == 200
    headers = client.get(FILE).headers
    assert headers["content-disposition"].startswith("attachment")
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]


def test_every_answer_forbids_what_it_does_not_need(client):
    for path in ("/", "/api/v1/overview", "/nothing"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


def test_what_is_loopback():
    assert is_loopback("::1")
    assert not is_loopback("::")
    assert not is_loopback("example.org")
