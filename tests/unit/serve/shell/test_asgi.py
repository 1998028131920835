import asyncio
import json

import pytest

from trimtab.serve.logged import log
from trimtab.serve.shell.asgi import App

ROW = {"income": 10.0, "debt": 1.0, "owner": True, "purpose": "car", "region": "n"}


def ask(engine, chunks, method="POST", path="/predict", headers=(), **scope):
    """Send a request in chunks; None as a chunk is a client that goes away."""
    sent, waiting = [], list(chunks)

    async def receive():
        chunk = waiting.pop(0)
        if chunk is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": chunk, "more_body": bool(waiting)}

    async def send(message):
        sent.append((message, [frame.role for frame in log.read(engine.log.folder)[0]]))

    scope |= {"type": "http", "method": method, "path": path, "headers": list(headers)}
    asyncio.run(App(engine)(scope, receive, send))
    return sent, waiting


def test_a_body_in_pieces_is_answered_once_it_is_whole(engine):
    body = json.dumps({"row": ROW}).encode()
    sent, _ = ask(engine, [body[:10], body[10:20], body[20:]])
    start, rest = sent[0][0], sent[1][0]
    assert start["status"] == 200
    headers = dict(start["headers"])
    assert headers[b"content-length"] == str(len(rest["body"])).encode()
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"x-model-version"] == b"loans@v1"
    assert sent[0][1] == ["champion"]


def test_a_body_above_the_limit_is_not_read_to_its_end(engine):
    chunk = b"x" * (engine.limits.body // 2)
    sent, unread = ask(engine, [chunk] * 6)
    assert sent[0][0]["status"] == 413
    assert (b"connection", b"close") in sent[0][0]["headers"]
    assert len(unread) == 3


def test_a_client_that_goes_away_is_not_answered(engine):
    sent, _ = ask(engine, [b'{"row":', None])
    assert sent == []
    assert log.read(engine.log.folder)[0] == []


@pytest.mark.parametrize(("version", "status"), [("1.1", 200), ("2", 200), ("2.0", 505)])
def test_a_version_that_asgi_does_not_know_is_not_answered_as_one_that_it_does(
    engine, version, status
):
    sent, _ = ask(engine, [b""], method="GET", path="/v2/health/live", http_version=version)
    assert sent[0][0]["status"] == status


def test_head_has_no_body(engine):
    sent, _ = ask(engine, [b""], method="HEAD", path="/v2/health/live")
    assert sent[0][0]["status"] == 200
    assert sent[1][0]["body"] == b""


def test_a_draining_endpoint_asks_to_close(engine):
    engine.draining = True
    sent, _ = ask(engine, [json.dumps({"row": ROW}).encode()])
    assert (b"connection", b"close") in sent[0][0]["headers"]


def test_requests_that_arrive_together_are_scored_together(engine):
    async def run():
        app, body = App(engine), json.dumps({"row": ROW}).encode()
        sent = []

        async def receive():
            return {"type": "http.request", "body": body}

        async def send(message):
            sent.append(message.get("status"))

        scope = {"type": "http", "method": "POST", "path": "/predict", "headers": []}
        await asyncio.gather(*[app(scope, receive, send) for _ in range(5)])
        return sent

    assert asyncio.run(run()).count(200) == 5
    (frame,) = log.read(engine.log.folder)[0]
    assert len(frame.requests()) == 5
