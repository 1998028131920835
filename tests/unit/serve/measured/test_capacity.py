"""Capacity curves: what is read off them, and their picture."""

import asyncio
import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from trimtab.serve.measured import bench, capacity, load
from trimtab.serve.measured.capacity import Curve, Level
from trimtab.serve.measured.load import Plan, Sent, corrected


def level(concurrency, per_second, p99=1.0, **fields) -> Level:
    values = {
        "requests": int(per_second),
        "seconds": 1.0,
        "p50": p99 / 2,
        "p999": p99 * 2,
        "largest": p99 * 3,
        "open_p99": p99,
        "cpu_us": 50.0,
    }
    return Level(concurrency=concurrency, per_second=per_second, p99=p99, **(values | fields))


CURVE = Curve(
    levels=(
        level(1, 1000, 1),
        level(2, 1800, 2),
        level(4, 2900, 4),
        level(8, 3000, 8),
        level(16, 3100, 20),
        level(32, 3050, 60, errors={503: 2}),
    )
)


def test_the_knee_is_the_fewest_connections_with_most_of_the_throughput():
    assert CURVE.best.concurrency == 16
    assert CURVE.knee.concurrency == 4
    assert Curve(levels=(level(1, 10),)).knee.concurrency == 1


@pytest.mark.parametrize(
    ("bounds", "chosen"),
    [
        ([], 4),
        ([("p99", 10)], 8),
        ([("p99", 100)], 16),
        ([("p99", 100), ("p99.9", 10)], 4),
        ([("p50", 0.6)], 1),
        ([("p95", 10)], 8),
        ([("p99.99", 6)], 2),
        ([("p99", 0.5)], None),
    ],
)
def test_capacity_is_the_best_level_that_keeps_the_latency(bounds, chosen):
    found = CURVE.within(bounds)
    assert (found.concurrency if found else None) == chosen


def sent(values, at=None, **fields) -> Sent:
    values = np.asarray(values, dtype=np.float64)
    at = np.linspace(0, 0.999, len(values)) if at is None else at
    defaults = {"seconds": 1.0}
    return Sent(milliseconds=values.tobytes(), at=np.asarray(at).tobytes(), **(defaults | fields))


def test_a_level_counts_what_was_sent():
    found = capacity.level(4, sent(range(1, 1001), errors={500: 1000}), cpu_seconds=0.2)
    assert (found.requests, found.failed, found.per_second) == (1000, 1000, 1000)
    assert (found.p50, found.p99, found.p999, found.largest) == (500, 990, 999, 1000)
    assert found.cpu_us == pytest.approx(100)
    assert sum(found.buckets) == 1000
    assert len(found.buckets) == capacity.BUCKETS
    assert max(found.buckets) - min(found.buckets) <= 2


def test_a_level_without_an_answer_has_no_latency():
    found = capacity.level(1, sent([], errors={0: 3}), cpu_seconds=0.0)
    assert found.requests == 0
    assert math.isnan(found.p99)
    assert found.errors == {0: 3}


def test_waits_that_a_closed_loop_did_not_see_are_added():
    values = np.array([1.0] * 99 + [100.0])
    found = corrected(values, expected=1.0)
    # While one request took 100 ms, 98 more would have waited 99, 98, ... 2 ms.
    assert sorted(found[100:]) == list(np.arange(2.0, 100.0))
    assert len(found) == 198
    assert corrected(values, expected=100.0) is not None
    assert len(corrected(values, expected=100.0)) == 100
    assert len(corrected(np.array([]), expected=math.nan)) == 0


def test_the_picture_is_whole_and_names_every_level():
    text = capacity.svg(CURVE, "loans@v1 <&>")
    root = ET.fromstring(text)
    shown = "".join(root.itertext())
    for one in CURVE.levels:
        assert str(one.concurrency) in shown
        assert f"{one.per_second:,.0f}" in shown
    assert "loans@v1 <&>" in shown
    one = capacity.svg(Curve(levels=(level(1, 0.0, math.nan),)), "nothing")
    assert ET.fromstring(one) is not None
    assert len(capacity.bars(CURVE)) == len(CURVE.levels)


def test_golden_rows_are_sent_as_a_client_sends_them(endpoint, engine):
    folder = next((endpoint / "models").iterdir())
    bodies = bench.golden_bodies(folder)
    assert len(bodies) == 4
    for body in bodies:
        assert engine.handle("POST", "/predict", {}, body).status == 200


ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello"


class Server(asyncio.Protocol):
    """Answers in pieces, and with an error to every third request."""

    count = 0
    seen: set[bytes] = set()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        Server.seen.add(data.partition(b"\r\n\r\n")[2])
        Server.count += 1
        answer = ANSWER if Server.count % 3 else ANSWER.replace(b"200 OK", b"503 No")
        self.transport.write(answer[:30])
        asyncio.get_running_loop().call_soon(self.transport.write, answer[30:])


@pytest.mark.slow
def test_the_load_is_sent_in_turn_and_errors_are_counted_apart():
    async def run():
        Server.count, Server.seen = 0, set()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Server, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        plan = Plan(
            host="127.0.0.1", port=port, path="/x", bodies=[b"a", b"bb", b"ccc"],
            concurrency=3, seconds=0.2, warm_up=0.05,
        )  # fmt: skip
        found = await load.drive(plan)
        server.close()
        await server.wait_closed()
        return found

    found = asyncio.run(run())
    assert Server.seen == {b"a", b"bb", b"ccc"}
    assert set(found.errors) == {503}
    assert found.said == "hello"
    assert len(found.latencies) == len(found.answered_at) > 0
    assert (found.latencies > 0).all()
    assert (np.diff(found.answered_at) >= 0).all()
    assert found.answered_at.max() <= found.seconds


def test_an_address_where_nobody_listens_is_all_errors():
    plan = Plan(
        host="127.0.0.1", port=1, path="/x", bodies=[b"a"], concurrency=2, seconds=0.05, warm_up=0
    )
    found = asyncio.run(load.drive(plan))
    assert found.errors == {0: 2}
    assert "no connection" in found.said
