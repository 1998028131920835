import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import msgspec
import pytest

from trimtab import ids
from trimtab.deploy import local
from trimtab.loop.retiring import retirement
from trimtab.serve.access import consumers
from trimtab.store import operations

# The endpoint of the project was never started: what ends it finds no process.


@pytest.fixture
def called(loans):
    """The project with a caller of yesterday."""
    ws = loans.ws
    row = operations.endpoint(ws, "loans")
    operations.save_endpoint(ws, msgspec.structs.replace(row, pid=0, port=0, state="stopped"))
    place = local.folder(ws, "loans")
    place.mkdir(parents=True, exist_ok=True)
    one = consumers.Row(caller="k1", name="nightly", contract="predict", model="loans@v1",
                        requests=1234, last=ids.now() - 86_400_000_000)  # fmt: skip
    consumers.add(place, [one])
    return loans


def test_consumers_are_listed(call, called):
    ended = call("endpoints", "consumers")
    assert "nightly" in ended.out
    assert "1,234" in ended.out
    found = call("endpoints", "consumers", "loans", "--json").body
    assert [(one["name"], one["requests"]) for one in found["consumers"]] == [("nightly", 1234)]
    assert call("endpoints", "consumers", "nobody").code == 4


def test_without_yes_it_only_says_what_would_be_done(call, called):
    ended = call("retire")
    assert ended.code == 0
    assert "nightly" in ended.out
    assert "ledger" in ended.out
    assert "it would be refused: called within 7d by nightly" in ended.err
    assert call("retire", "--in", "2w").err.strip().endswith("--yes does it")
    assert call("retire", "--json").body["done"] is False
    assert retirement.of(called.ws, "loans") is None


@pytest.mark.slow
def test_who_called_lately_is_told_first(call, called):
    ended = call("retire", "--yes")
    assert (ended.code, "--in 2w" in ended.err) == (3, True)
    ended = call("retire", "loans", "--in", "2w", "--reason", "merged", "--by", "maria", "--yes")
    assert ended.code == 0
    assert "announced by maria: merged" in ended.out
    assert call("retire", "--yes", "--force").code == 5
    assert "loans retires on" in call("status").out.replace("\n", " ")
    assert "its end was taken back" in call("retire", "--cancel").out
    assert call("retire", "--cancel").code == 5


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["nobody"], 4),
        (["--in", "2w", "--now"], 2),
        (["--in", "2020-01-01"], 2),
        (["--in", "soon"], 2),
        (["--successor", "loans"], 2),
        (["--successor", "nobody"], 4),
        (["--successor", "file:///etc"], 2),
    ],
)
def test_what_makes_no_sense_is_said(call, called, arguments, code):
    for more in ([], ["--yes", "--force"]):
        ended = call("retire", *arguments, *more)
        assert ended.code == code
        assert ended.err.startswith("error: ")


def test_a_monitor_inside_another_server_is_watched_no_more(call, loans):
    row = operations.endpoint(loans.ws, "loans")
    shop = msgspec.structs.replace(
        row, name="shop", target="embedded", state="embedded", pid=0, port=0
    )
    operations.save_endpoint(loans.ws, shop)
    ended = call("retire", "shop")
    assert "shop, inside another server" in ended.out
    assert "with the next row that it logs" in ended.out
    assert "410" not in ended.out
    assert ended.err.strip() == "nothing was changed: --yes does it"
    refused = call("retire", "shop", "--in", "2w", "--json")
    assert (refused.code, "watching ends at once" in refused.body["error"]["hint"]) == (2, True)
    assert "`trimtab retire shop` ends the watching" in call("down", "shop").err.replace("\n", " ")
    assert call("endpoints", "consumers", "shop").code == 2
    done = call("retire", "shop", "--reason", "moved", "--by", "maria", "--yes", "--json").body
    assert (done["done"], done["retirement"]["phase"], done["newest_row"]) == (True, "retired", 0)
    assert "by maria: moved" in call("retire", "shop").out
    again = call("retire", "shop", "--yes")
    assert (again.code, "--cancel" in again.err) == (5, True)
    assert "shop was retired on" in call("status").out.replace("\n", " ")
    assert "its end was taken back" in call("retire", "shop", "--cancel").out
    assert call("retire", "shop", "--cancel").code == 5


@pytest.fixture
def server(loans):
    """What answers at the endpoint's address: it keeps the headers that it was sent."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            seen.append(self.headers.get("x-api-key"))
            known = seen[-1] == "tt_right"
            body = b'{"error": {"message": "no", "hint": ""}}'
            if known:
                body = b'{"model_version": "loans@v1", "predictions": [{"id": "a", "value": 1}]}'
            self.send_response(200 if known else 401)
            self.send_header("sunset", "Mon, 30 Nov 2026 00:53:20 GMT")
            self.send_header("link", '<https://new/>; rel="successor-version"')
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    found = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=found.serve_forever)
    thread.start()
    yield found.server_port, seen
    found.shutdown()
    thread.join()
    found.server_close()


def test_predict_sends_a_key_and_tells_of_the_end(call, loans, server, monkeypatch, tmp_path):
    from trimtab.cli import predict
    from trimtab.model.signature import Column, Signature

    port, seen = server
    signed = Signature(task="regression", engine="onnx", inputs=(Column(name="x", kind="number"),))
    monkeypatch.setattr(predict, "_signature", lambda endpoint: signed)
    row = operations.endpoint(loans.ws, "loans")
    operations.save_endpoint(loans.ws, msgspec.structs.replace(row, port=port))
    (tmp_path / "rows.json").write_text('{"x": 1}')
    (tmp_path / "key").write_text("tt_right\n")
    monkeypatch.setenv("KEY", "tt_right")
    for reference in ("key", "env:KEY"):
        ended = call("predict", "loans", "rows.json", "--key", reference)
        assert (ended.code, "ask https://new/" in ended.err) == (0, True)
    ended = call("predict", "loans", "rows.json")
    assert (ended.code, "--key env:NAME" in ended.err) == (3, True)
    monkeypatch.setenv("KEY", "two\nlines")
    assert call("predict", "loans", "rows.json", "--key", "env:KEY").code == 2
    assert call("predict", "loans", "rows.json", "--key", "env:NOTHING").code == 2
    assert call("predict", "loans", "rows.json", "out.csv", "--key", "key").code == 2
    assert seen == ["tt_right", "tt_right", None]
