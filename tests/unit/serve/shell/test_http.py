"""The native shell over real sockets of this machine."""

import asyncio
import contextlib
import json
import socket

import pytest
from tests.unit.serve.conftest import ROW

from trimtab.serve.batcher import Batcher
from trimtab.serve.logged import log
from trimtab.serve.shell import http as native
from trimtab.serve.shell import wire
from trimtab.serve.shell.http import Connections

BODY = json.dumps({"row": ROW}).encode()


def request(body=BODY, path="/predict", method="POST", *, version="1.1", **headers):
    lines = [f"{method} {path} HTTP/{version}", "host: localhost"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body and "transfer_encoding" not in headers:
        lines.append(f"content-length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def talk(engine, *pieces, sweep=False, eof=True):
    """Send pieces one after the other, each in a turn of its own; everything that comes back."""

    async def run():
        loop = asyncio.get_running_loop()
        connections = Connections(engine, Batcher(engine, loop))
        server = await loop.create_server(connections, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.005)
        if eof:
            with contextlib.suppress(OSError):  # the server has closed already
                writer.write_eof()
        if sweep:
            connections.sweep()
        data = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        server.close()
        return data

    return asyncio.run(run())


def answers(data):
    """Status, headers and body of each response in the bytes of a connection."""
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        status = int(first.split()[1])
        length = int(headers.get("content-length", 0))
        found.append((status, headers, data[:length]))
        data = data[length:]
    return found


def statuses(data):
    return [status for status, _, _ in answers(data)]


def test_a_prediction(engine):
    ((status, headers, body),) = answers(talk(engine, request(x_request_id="r1")))
    assert status == 200
    assert headers["x-request-id"] == "r1"
    assert headers["content-type"] == "application/json"
    assert json.loads(body)["predictions"][0]["decision"] == "yes"
    assert log.read(engine.log.folder)[0][0].request == "r1"


def test_every_split_of_a_request_is_the_same_request(engine):
    whole = request(x_request_id="r1") + request(x_request_id="r2")
    expected = [json.loads(x[2])["predictions"][0]["score"] for x in answers(talk(engine, whole))]
    for cut in range(1, len(whole), 23):
        found = answers(talk(engine, whole[:cut], whole[cut:]))
        assert [x[1]["x-request-id"] for x in found] == ["r1", "r2"]
        assert [json.loads(x[2])["predictions"][0]["score"] for x in found] == expected


@pytest.mark.parametrize("first", [b"GET", b"GE", b"\r\n\r\n", b"\r\n", b"\n\n", b""])
def test_no_client_gets_the_answer_to_what_another_sent(engine, first):
    """Heads are remembered: a piece of one, or what stands before it, must not pass for a whole."""

    async def run():
        loop = asyncio.get_running_loop()
        connections = Connections(engine, Batcher(engine, loop))
        server = await loop.create_server(connections, "127.0.0.1", 0)
        found = []
        for path in ("/ping", "/no/such/path", "/ping"):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            whole = first + request(b"", path, "GET")[len(first) if first[:1] == b"G" else 0 :]
            for piece in (whole[: len(first)], whole[len(first) :]):
                writer.write(piece)
                await asyncio.sleep(0.01)
            writer.write_eof()
            found.append(await asyncio.wait_for(reader.read(), 20))
            writer.close()
        server.close()
        return found

    statuses = [[status for status, _, _ in answers(one)] for one in asyncio.run(run())]
    assert statuses == [[200], [404], [200]]


def test_pipelined_requests_are_answered_in_their_order(engine):
    mixed = b"".join(
        request(x_request_id=f"r{i}") if i % 3 else request(b"", "/v2/health/live", "GET")
        for i in range(150)
    )
    found = answers(talk(engine, mixed))
    assert len(found) == 150
    named = [headers.get("x-request-id") for _, headers, _ in found]
    assert named == [f"r{i}" if i % 3 else None for i in range(150)]


def test_chunks(engine):
    chunked = b"%x\r\n%s\r\n%x;ext=1\r\n%s\r\n0\r\ntrailer: x\r\n\r\n" % (
        10, BODY[:10], len(BODY) - 10, BODY[10:],
    )  # fmt: skip
    data = talk(engine, request(chunked, transfer_encoding="chunked"), request())
    assert statuses(data) == [200, 200]


def test_expect_is_answered_before_the_body_comes(engine):
    head = request(b"", content_length=len(BODY), expect="100-continue")
    data = talk(engine, head, BODY)
    assert data.startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert statuses(data) == [100, 200]
    assert statuses(talk(engine, request(expect="200-ok"))) == [417]


def test_head_has_no_body_and_the_length_it_would_have(engine):
    data = talk(engine, request(b"", "/v2/health/live", "HEAD"))
    head, _, body = data.partition(b"\r\n\r\n")
    assert (b"content-length: 13" in head, body) == (True, b"")


@pytest.mark.parametrize(
    ("version", "connection", "closes"),
    [
        ("1.1", "keep-alive", False),
        ("1.1", "close", True),
        ("1.0", "", True),
        ("1.0", "keep-alive", False),
    ],
)
def test_connections_are_kept_as_the_client_wants(engine, version, connection, closes):
    headers = {"connection": connection} if connection else {}
    one = request(version=version, **headers)
    assert statuses(talk(engine, one, request())) == ([200] if closes else [200, 200])


def test_a_draining_endpoint_closes_behind_the_answer(engine):
    engine.draining = True
    ((status, headers, _),) = answers(talk(engine, request() + request(), eof=False))
    assert (status, headers["connection"]) == (200, "close")


REFUSED = {
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    "a length and chunks": (request(b"0\r\n\r\n", transfer_encoding="chunked", content_length=5), 400),
    "two lengths": (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", 400),
    "a length that is none": (request(b"", content_length="1e3"), 400),
    "a negative length": (request(b"", content_length="-1"), 400),
    "another transfer encoding": (request(b"", transfer_encoding="gzip"), 501),
    "no host": (b"GET /ping HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET /ping HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
    "a folded header": (b"GET /ping HTTP/1.1\r\nhost: a\r\n folded\r\n\r\n", 400),
    "a space before the colon": (b"GET /ping HTTP/1.1\r\nhost : a\r\n\r\n", 400),
    "a bare line feed in a header": (b"GET /ping HTTP/1.1\r\nhost: a\nx: y\r\n\r\n", 400),
    "a chunk size that is none": (request(b"zz\r\n", transfer_encoding="chunked"), 400),
    "too long a body": (request(b"", content_length=(16 << 20) + 1), 413),
    "too long a target": (request(b"", "/" + "x" * 40_000, "GET"), 431),
    "too long a header": (request(b"", "/ping", "GET", x="y" * 40_000), 431),
    "too many headers": (request(b"", "/ping", "GET", **{f"x{i}": i for i in range(150)}), 431),
    "a target that is none": (b"GET http://[x HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    "a fragment": (b"GET /ping#x HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    "a target without a path": (b"GET http://x HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    "another major version": (request(b"", "/ping", "GET", version="2.0"), 505),
    "a version before 1.0": (request(b"", "/ping", "GET", version="0.9"), 505),
    "an upgrade": (request(b"", "/ping", "GET", connection="upgrade", upgrade="websocket"), 501),
    "a tunnel": (b"CONNECT x:1 HTTP/1.1\r\nhost: x:1\r\n\r\n", 501),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_gets_a_word_and_the_connection_ends(engine, name):
    sent, expected = REFUSED[name]
    found = answers(talk(engine, request(x_request_id="before"), sent, request()))
    assert [status for status, _, _ in found] == [200, expected]
    _, headers, body = found[-1]
    assert headers["connection"] == "close"
    assert json.loads(body)["error"]["code"]


def test_a_body_that_never_ends_is_refused_at_the_limit(engine):
    chunk = b"%x\r\n%s\r\n" % (1 << 20, b"x" * (1 << 20))
    data = talk(engine, request(b"", transfer_encoding="chunked"), *[chunk] * 20)
    assert statuses(data) == [413]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [(b"GET /pi", [408]), (request()[:-10], [408]), (b"", []), (request() + b"POST", [200, 408])],
)
def test_a_slow_client_is_told_and_left(engine, monkeypatch, sent, expected):
    for name in ("HEAD_SECONDS", "REQUEST_SECONDS", "IDLE_SECONDS"):
        monkeypatch.setattr(native, name, -1.0)
    assert statuses(talk(engine, sent, sweep=True, eof=False)) == expected


@pytest.mark.slow
def test_a_client_that_does_not_read_its_answers_is_left(engine, monkeypatch):
    monkeypatch.setattr(native, "WRITE_SECONDS", -1.0)

    async def run():
        loop = asyncio.get_running_loop()
        connections = Connections(engine, Batcher(engine, loop))
        server = await loop.create_server(connections, "127.0.0.1", 0)
        client = socket.create_connection(server.sockets[0].getsockname())
        client.setblocking(False)
        many = request(b"", "/metrics", "GET") * 200
        with pytest.raises(ConnectionError):
            while True:
                with contextlib.suppress(BlockingIOError):
                    client.send(many)
                await asyncio.sleep(0.001)
                connections.sweep()
        client.close()
        server.close()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_client_that_goes_away_is_not_scored(engine):
    async def run():
        loop = asyncio.get_running_loop()
        batcher = Batcher(engine, loop)
        connection = Connections(engine, batcher)()

        class Transport:
            def write(self, data):
                pytest.fail("nobody is there")

        connection.connection_made(Transport())
        connection.data_received(request())
        connection.connection_lost(None)
        await asyncio.sleep(0.01)
        assert batcher.pending == 0

    asyncio.run(run())
    assert log.read(engine.log.folder)[0] == []


def test_targets():
    assert wire.target(b"/a/b?c=d?e") == ("/a/b", "c=d?e")
    assert wire.target(b"http://host:80/a%20b?x") == ("/a b", "x")
    assert wire.target(b"*") == ("*", "")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        (b"/a?b=http://c/", "a:1"),
        (b"*", "a:1"),
        (b"http://b:80/a?x", "b:80"),
        (b"http://me@[::1]:80/", "[::1]:80"),
    ],
)
def test_the_host_of_a_target_that_names_one_is_the_one_that_was_asked(url, host):
    headers = {"host": "a:1"}
    wire.target(url, headers)
    assert headers == {"host": host}


def test_a_header_given_twice_is_one_list(engine, monkeypatch):
    seen = []
    begin = engine.begin
    monkeypatch.setattr(
        engine, "begin", lambda m, p, h, b, q="": seen.append(h) or begin(m, p, h, b, q)
    )
    talk(engine, b"GET /ping HTTP/1.1\r\nhost: x\r\nAccept: a\r\naccept: b\r\n\r\n")
    assert seen[0]["accept"] == "a, b"
