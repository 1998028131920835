"""What `trimtab.Monitor` adds to the answers of somebody else's server: goal 8's p99.

`python benchmarks/monitoring/serving.py [--model linear] [--requests 2500] [--rate 200] [--starts 16]`
starts one Starlette app four times, each in a process of its own: plain, plain again, one that packs each
request's row (20 features, one score) and forgets it, and one with a monitor that logs it. The model is
what people serve, a scikit-learn pipeline of boosted trees, or a dot product, which leaves nothing but the
monitor to see. One client asks them in turn, a request at a time, in an order drawn anew for each round, so
that whatever else the machine does meets all alike. The second plain one shows the noise, the third what
any look at a row costs. Processes differ from each other by more than requests do, so all are started anew
many times: the medians over starts count, and their intervals resample starts.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from operator import itemgetter
from typing import Any

import numpy as np

FEATURES = 20
KINDS = ("plain", "plain again", "packs a row and forgets it", "with a monitor")
_WARM = 500


def trees(names: list[str]) -> Callable[[dict[str, float]], float]:
    """A fitted pipeline as a server holds it: one row in, one probability out."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    random = np.random.default_rng(1)
    x = random.normal(size=(5_000, len(names)))
    y = x[:, 0] + random.normal(size=5_000) > 0
    model = make_pipeline(SimpleImputer(), StandardScaler(), HistGradientBoostingClassifier())
    model.fit(x, y)
    return lambda row: float(model.predict_proba(np.array([[row[name] for name in names]]))[0, 1])


def linear(names: list[str]) -> Callable[[dict[str, float]], float]:
    """A logistic model as one product."""
    weights = np.random.default_rng(0).normal(size=len(names))
    return lambda row: float(1 / (1 + np.exp(-(weights @ [row[name] for name in names]))))


MODELS = {"trees": trees, "linear": linear}


def serve(port: int, kind: str, model: str) -> None:
    """The app: reads JSON, scores it, answers."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    import trimtab

    random = np.random.default_rng(0)
    names = [f"f{i}" for i in range(FEATURES)]
    score_of = MODELS[model](names)
    monitor: Any = None
    pack, get = struct.Struct(f"{FEATURES}d").pack, itemgetter(*names)
    if kind == KINDS[3]:
        monitor = trimtab.Monitor.against({name: random.normal(size=20_000) for name in names})

    async def predict(request: Request) -> Response:
        row = await request.json()
        score = score_of(row)
        if monitor is not None:
            monitor.log(row, score)
        elif kind == KINDS[2]:
            pack(*get(row))
        return JSONResponse({"score": score})

    async def seen(request: Request) -> Response:
        return JSONResponse({"rows": monitor.rows, "dropped": monitor.dropped} if monitor else {})

    app = Starlette(routes=[Route("/", predict, methods=["POST"]), Route("/seen", seen)])
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False)


def measure(requests: int, rate: float, model: str, seed: int = 1) -> dict[str, Any]:
    """Milliseconds of every answer of each server, and what the monitor counted."""
    ports = [_free_port() for _ in KINDS]
    servers = [
        subprocess.Popen(
            [
                *(sys.executable, __file__, "--serve", str(port), "--model", model),
                *("--kind", kind),
            ],
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        for kind, port in zip(KINDS, ports, strict=True)
    ]
    try:
        lines = [_connect(port) for port in ports]
        spent = _ask(lines, requests, rate, seed)
        counted = _read(lines[-1], "GET", "/seen", b"")
    finally:
        for one in servers:
            one.terminate()
        for one in servers:
            one.wait()
    return {"ms": spent, "seen": json.loads(counted)}


def _ask(
    lines: list[http.client.HTTPConnection], requests: int, rate: float, seed: int
) -> np.ndarray:
    random = np.random.default_rng(seed)
    bodies = [
        json.dumps({f"f{i}": float(x) for i, x in enumerate(row)}).encode()
        for row in random.normal(size=(256, FEATURES))
    ]
    spent = np.zeros((len(lines), requests))
    for turn in range(-_WARM, requests):
        if rate and turn >= 0:
            time.sleep(random.exponential(1 / rate))
        for place in random.permutation(len(lines)).tolist():
            begun = time.perf_counter()
            _read(lines[place], "POST", "/", bodies[turn % 256])
            if turn >= 0:
                spent[place, turn] = (time.perf_counter() - begun) * 1e3
    return spent


def report(requests: int, rate: float, model: str = "trees", starts: int = 8) -> dict[str, Any]:
    """Print p50, p99 and p99.9 of each, and how far they lie from the plain server's, with intervals."""
    pace = f"about {rate:g} rounds a second" if rate else "without a pause"
    print(f"{starts} x {requests:,} requests to each server, {model}, {FEATURES} features, {pace}")
    found = [measure(requests, rate, model, seed) for seed in range(starts)]
    print(f"  the last monitor: {found[-1]['seen']}")
    done = {}
    shares = (0.5, 0.99, 0.999)
    seen = np.array(
        [np.quantile(one["ms"], shares, axis=1) for one in found]
    )  # start, share, server
    change = seen / seen[:, :, :1] - 1
    for place, kind in enumerate(KINDS):
        line = f"  {kind:26}"
        for row, share in enumerate(shares):
            line += f" p{100 * share:g} {np.median(seen[:, row, place]):.3f} ms"
            if place:
                value, low, high = _median(change[:, row, place])
                line += f" ({value:+.1%}, {low:+.1%} to {high:+.1%})"
                if share == 0.99:
                    done[kind] = {"p99_change": value, "from": low, "to": high}
        print(line, flush=True)
    return done


def _median(values: np.ndarray, turns: int = 2_000) -> tuple[float, float, float]:
    """The median over starts and its 95 % interval, by resampling starts."""
    random = np.random.default_rng(2)
    drawn = np.median(random.choice(values, (turns, len(values))), axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975]).tolist()
    return float(np.median(values)), low, high


def _connect(port: int) -> http.client.HTTPConnection:
    for _ in range(200):
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            line.connect()
        except OSError:
            time.sleep(0.1)
            continue
        assert line.sock is not None
        line.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return line
    raise RuntimeError(f"no server answers at port {port}")


def _read(line: http.client.HTTPConnection, method: str, path: str, body: bytes) -> bytes:
    line.request(method, path, body)
    answer = line.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{answer.status}: {content[:200]!r}")
    return content


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=2_500)
    parser.add_argument("--starts", type=int, default=16)
    parser.add_argument("--model", choices=sorted(MODELS), default="trees")
    parser.add_argument("--rate", type=float, default=0.0, help="rounds a second (0: no pause)")
    parser.add_argument("--serve", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--kind", choices=KINDS, default=KINDS[0], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve, given.kind, given.model)
    else:
        report(given.requests, given.rate, given.model, given.starts)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
