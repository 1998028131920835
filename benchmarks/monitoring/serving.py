"""What `trimtab.Monitor` adds to the answers of somebody else's server: goal 8's p99.

`python benchmarks/monitoring/serving.py [--model linear] [--seconds 2] [--rounds 60]` starts one Starlette
app and asks it over one connection, a request at a time, for some seconds each: plain, plain again, with
each request's row (20 features, one score) packed and forgotten, and with a monitor that logs it; in an
order drawn anew for each round, so that whatever else the machine does meets all alike. A monitor is made
for its seconds alone; what it has not counted at their end (at most 5 seconds of few requests, 4,096 of
many) is counted after them, so give a slow model longer ones. The model is what people serve, a
scikit-learn pipeline of boosted trees, or a dot product, which leaves nothing but the monitor to see.
Quantiles are of all of a kind's requests, their intervals resample rounds; the second plain one shows what
they are worth.
"""

from __future__ import annotations

import argparse
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
_WARM_SECONDS = 0.6
_SHARES = (0.5, 0.99, 0.999)


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


def serve(port: int, model: str) -> None:
    """The app: reads JSON, scores it, answers; `/turn` says which kind it is from now on."""
    import gc

    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    import trimtab

    random = np.random.default_rng(0)
    names = [f"f{i}" for i in range(FEATURES)]
    score_of = MODELS[model](names)
    reference = {name: random.normal(size=20_000) for name in names}
    pack, get = struct.Struct(f"{FEATURES}d").pack, itemgetter(*names)
    log: Callable[[Any, Any], Any] | None = None
    monitor: Any = None

    async def predict(request: Request) -> Response:
        row = await request.json()
        score = score_of(row)
        if log is not None:
            log(row, score)
        return JSONResponse({"score": score})

    async def turn(request: Request) -> Response:
        nonlocal log, monitor
        before, kind = monitor, request.query_params["kind"]
        log = monitor = None
        seen = {}
        if before is not None:
            seen = {"rows": before.rows, "dropped": before.dropped}
            before.close()
        if kind == "3":
            monitor = trimtab.Monitor.against(reference)
            log = monitor.log
        elif kind == "2":
            log = lambda row, score: pack(*get(row))  # noqa: E731
        gc.collect()
        return JSONResponse(seen)

    app = Starlette(routes=[Route("/", predict, methods=["POST"]), Route("/turn", turn)])
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False)


def measure(seconds: float, rounds: int, model: str) -> list[list[np.ndarray]]:
    """Milliseconds of every answer, by round and kind."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = int(one.getsockname()[1])
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", str(port), "--model", model],
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    random = np.random.default_rng(1)
    bodies = [
        json.dumps({f"f{i}": float(x) for i, x in enumerate(row)}).encode()
        for row in random.normal(size=(256, FEATURES))
    ]
    requests = [_request("POST", "/", body) for body in bodies]
    try:
        line = _connect(port)
        found = []
        for _ in range(rounds):
            spent = [np.empty(0)] * len(KINDS)
            for kind in random.permutation(len(KINDS)).tolist():
                _ask(line, _request("GET", f"/turn?kind={kind}", b""))
                _many(line, requests, _WARM_SECONDS)
                spent[kind] = _many(line, requests, seconds)
            found.append(spent)
        _ask(line, _request("GET", "/turn?kind=3", b""))
        _many(line, requests, seconds)
        print(f"  a monitor saw {_ask(line, _request('GET', '/turn?kind=0', b'')).decode()}")
        return found
    finally:
        server.terminate()
        server.wait()


def _many(line: socket.socket, requests: list[bytes], seconds: float) -> np.ndarray:
    spent: list[float] = []
    now = time.perf_counter()
    end = now + seconds
    while now < end:
        begun = now
        _ask(line, requests[len(spent) % len(requests)])
        now = time.perf_counter()
        spent.append(now - begun)
    return np.array(spent) * 1e3


def _request(method: str, path: str, body: bytes) -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Content-Type: application/json\r\n\r\n" + body


def _ask(line: socket.socket, request: bytes) -> bytes:
    """The body of the answer; it ends with the only closing brace there is."""
    line.sendall(request)
    answer = b""
    while not answer.endswith(b"}"):
        part = line.recv(65_536)
        if not part:
            raise RuntimeError("the server hung up")
        answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(answer[:300])
    return body


def _connect(port: int) -> socket.socket:
    for _ in range(300):
        try:
            line = socket.create_connection(("127.0.0.1", port), timeout=60)
        except OSError:
            time.sleep(0.1)
            continue
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return line
    raise RuntimeError(f"no server answers at port {port}")


def report(model: str = "linear", seconds: float = 2.0, rounds: int = 60) -> dict[str, Any]:
    """Print p50, p99 and p99.9 of each, and how far they lie from the plain server's, with intervals."""
    print(f"{rounds} rounds of {seconds:g} s of each kind, {model}, {FEATURES} features")
    found = measure(seconds, rounds, model)
    done: dict[str, Any] = {}
    random = np.random.default_rng(2)
    draws = [range(rounds), *random.integers(rounds, size=(200, rounds)).tolist()]
    seen = np.array(
        [
            [
                np.quantile(np.concatenate([found[one][kind] for one in draw]), _SHARES)
                for kind in range(len(KINDS))
            ]
            for draw in draws
        ]
    )  # draw, kind, share
    change = seen / seen[:, :1] - 1
    for place, kind in enumerate(KINDS):
        count = sum(len(one[place]) for one in found)
        line = f"  {kind:26} {count:9,} requests"
        for row, share in enumerate(_SHARES):
            line += f"  p{100 * share:g} {seen[0, place, row]:.3f} ms"
            if place:
                low, high = np.quantile(change[1:, place, row], [0.025, 0.975]).tolist()
                value = float(change[0, place, row])
                line += f" ({value:+.1%}, {low:+.1%} to {high:+.1%})"
                if share == 0.99:
                    done[kind] = {"p99_change": value, "from": low, "to": high}
        print(line, flush=True)
    return done


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--model", choices=sorted(MODELS), default="linear")
    parser.add_argument("--serve", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve, given.model)
    else:
        report(given.model, given.seconds, given.rounds)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
