"""What one turn of a server's loop costs in process, whole and part by part.

`python benchmarks/serving/turn.py [--rows 1 8 50]` feeds requests of one row each, all in one turn, to
connections whose answers go nowhere: key, metrics and log as in `run.py`, but no sockets. Microseconds.
Warm are turns one after the other, rested those after a sleep of 25 us, as between the requests of one
client: what a processor forgets in its sleep it pays for. Of turns the 10th percentile counts, of parts,
each repeated alone and so warm, the least of many: others on the machine only add.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
import timeit
from collections.abc import Callable
from typing import Any

import numpy as np
from costs import prepared
from run import BUILD, MODEL

from trimtab import ids
from trimtab.serve import folder
from trimtab.serve.access import keys
from trimtab.serve.access.auth import ANYBODY
from trimtab.serve.batcher import Batcher
from trimtab.serve.engine import Engine
from trimtab.serve.logged.noted import noter
from trimtab.serve.router import Route, Router
from trimtab.serve.shell import written
from trimtab.serve.shell.fast import Row
from trimtab.serve.shell.hot import Way
from trimtab.serve.shell.http import Connection, Connections
from trimtab.serve.worker import GARBAGE, build

REST = 25e-6
TURNS = 8_000


class Nowhere:
    """A transport that keeps the last answer."""

    def write(self, data: bytes) -> None:
        self.last = data


class Ready:
    """As much of an event loop as a turn asks for."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    def call_soon(self, done: Callable[..., None], *given: Any) -> None:
        self.waiting.append((done, given))

    def run(self) -> None:
        while self.waiting:
            done, given = self.waiting.pop(0)
            done(*given)


async def connected(engine: Engine, count: int) -> tuple[list[Connection], list[Nowhere], Ready]:
    """So many clients, and what lets their requests be answered."""
    ready = Ready()
    connections = Connections(engine, Batcher(engine, ready))  # type: ignore[arg-type]
    clients, wires = [connections() for _ in range(count)], [Nowhere() for _ in range(count)]
    for client, wire in zip(clients, wires, strict=True):
        client.connection_made(wire)
    return clients, wires, ready


def turns(engine: Engine, sent: bytes, count: int) -> tuple[float, float]:
    """A turn of so many requests: warm, and rested."""
    clients, wires, ready = asyncio.run(connected(engine, count))

    def turn() -> None:
        for client in clients:
            client.data_received(bytes(memoryview(sent)))  # other bytes each time
        ready.run()

    for _ in range(300):
        turn()
    assert all(wire.last.startswith(b"HTTP/1.1 200 OK") for wire in wires)
    found = []
    for pause in (0.0, REST):
        spent = []
        for _ in range(TURNS):
            if pause:
                time.sleep(pause)
            begun = time.perf_counter()
            turn()
            spent.append(time.perf_counter() - begun)
        found.append(sorted(spent)[TURNS // 10] * 1e6)
    return found[0], found[1]


def of_one(engine: Engine, body: bytes) -> dict[str, float]:
    """The parts of a turn of one row."""
    way = the_way(engine)
    route, metrics = way.route, engine.metrics
    row, name = route.fast.one(body)
    width, single = len(route.fast.columns), route.model.single()
    score, decision = single.predict(row)
    note, made, arrived = noter("loans", way.contract, route), ids.new_id(), ids.now()
    told = ("champion", route.label, way.contract)
    frame = note(made, arrived, 50, row[:width], {}, score, decision)
    whole = least(lambda: single.predict(row))
    ran = the_run(route, [row])
    return {
        "decode the body, categories": least(lambda: route.fast.unseen(route.fast.one(body)[0])),
        "ONNX Runtime": ran,
        "its inputs, the score's range, decision": whole - ran,
        "id": least(ids.new_id),
        "write the answer": least(lambda: way.write(made, name, written.encode(score), decision)),
        "log: frame, checksum": least(
            lambda: note(made, arrived, 50, row[:width], {}, score, decision)
        ),
        "log: write": least(lambda: engine.log.put(frame)),
        "metrics and callers": least(
            lambda: metrics.alone(*told, waited=1e-5, spent=1e-5, now=arrived)
        )
        + least(lambda: engine.consumers.note(ANYBODY.id, "", way.contract, route.label)),
    }


def of_many(engine: Engine, body: bytes, count: int) -> dict[str, float]:
    """The parts of a turn of several rows."""
    way = the_way(engine)
    route, metrics, bodies = way.route, engine.metrics, [body] * count
    rows, names = way.read(bodies)
    outcome, made = way.score(rows), ids.new_ids(count)
    assert outcome is not None
    latencies, seconds = [50] * count, [5e-5] * count
    ran = the_run(route, rows)
    told = {"requests": count, "rows": count, "runs": 1, "waited": 1e-5, "spent": 1e-5}
    return {
        "decode the bodies": least(lambda: way.read(bodies)),
        "ONNX Runtime": ran,
        "its inputs, categories, ranges, decisions, columns": least(lambda: way.score(rows)) - ran,
        "ids": least(lambda: ids.new_ids(count)),
        "write the answers": least(
            lambda: written.many(way.write, made, names, outcome.scores, outcome.decisions)
        ),
        "log: frame, checksum, write": least(
            lambda: engine.recorder.together(
                way.contract, route, outcome, made, ids.now(), latencies
            )
        ),
        "metrics and callers": least(lambda: metrics.scored("champion", route.label, **told))
        + least(lambda: metrics.answered_together(way.contract, seconds)),
    }


def the_way(engine: Engine) -> Way:
    """The one way that its requests take."""
    (way,) = engine.hot._ways.values()  # noqa: SLF001 - nobody else asks
    return way


def the_run(route: Route, rows: list[Row]) -> float:
    """The graph alone, in pieces as it is run, on inputs that are there."""
    signed, run, spent = route.model.signature, route.model.run_packed.__self__.run, 0.0
    split, end = len(signed.numbers), len(signed.numbers) + len(signed.words)
    for start in range(0, len(rows), route.most):
        piece = rows[start : start + route.most]
        feed = {
            "numbers": np.array([row[:split] for row in piece], dtype=np.float32),
            "words": np.array([row[split:end] for row in piece], dtype=object),
        }
        spent += least(lambda feed=feed: run([signed.output], feed, None))
    return spent


def least(part: Callable[[], object]) -> float:
    """Microseconds of a part alone."""
    part()
    return min(timeit.repeat(part, number=20, repeat=400)) / 20 * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8, 50])
    given = parser.parse_args()
    place = prepared(BUILD / "turn")
    _, key = keys.add(place, "bench")
    router = Router(place)
    router.reload()
    body = (MODEL / "body.json").read_bytes()
    head = f"POST /predict HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    for count in given.rows:
        engine = build(place, folder.read_settings(place), router)
        gc.freeze()
        gc.set_threshold(GARBAGE)
        warm, rested = turns(engine, head.encode() + body, count)
        parts = of_one(engine, body) if count == 1 else of_many(engine, body, count)
        print(
            f"{count} rows: {warm:.1f} warm, {rested:.1f} rested, parts {sum(parts.values()):.1f}"
        )
        for name, spent in parts.items():
            print(f"   {name:52}{spent:7.2f}")
        engine.log.close()


if __name__ == "__main__":
    main()
