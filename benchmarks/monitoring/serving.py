"""What `trimtab.Monitor` adds to the answers of somebody else's server: goal 8's p99.

`python benchmarks/monitoring/serving.py [--model linear] [--seconds 600]` starts one Starlette app on a core
of its own and asks it over one connection, a request at a time: plain, plain again, with each request's row
(20 features, one score) packed and forgotten, and with a monitor that logs it. Each kind has thirteen
requests in a row, in an order drawn anew for each round, so that whatever else the machine does meets all
alike. What a count of the event loop holds up is the request after the one that asked for it, once in
thirteen times one of another kind; where few requests come a count comes by time, so here four times as often
a logged request as where all are logged. What a thread does meets all kinds: were a count longer than 10 ms,
it would not be seen here (its time is printed), nor is the file that a project's monitor leaves every ten
seconds.

The model is what people serve, a scikit-learn pipeline of boosted trees, or a dot product, which leaves
nothing but the monitor to see. Quantiles are of all of a kind's requests, their intervals resample sixtieths
of the time; the second plain one shows what they are worth.
"""

from __future__ import annotations

import argparse
import gc
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
_TURN = 13
_PARTS = 60
_WARM_SECONDS = 1.0
_DRAWS = 400
_SHARES = (0.5, 0.9, 0.99, 0.999)


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
    monitor = trimtab.Monitor.against(reference)
    logs: list[Callable[[Any, Any], Any] | None] = [
        None, None, lambda row, score: pack(*get(row)), monitor.log,
    ]  # fmt: skip

    async def predict(request: Request) -> Response:
        log = logs[int(request.path_params["kind"])]
        row = await request.json()
        score = score_of(row)
        if log is not None:
            log(row, score)
        return JSONResponse({"score": score})

    async def seen(request: Request) -> Response:
        spent = monitor._counted.seconds  # noqa: SLF001 - who counts is decided by it
        told = {"rows": monitor.rows, "dropped": monitor.dropped}
        return JSONResponse(told | {"ms of a count": round(1e3 * min(spent, 9e9), 2)})

    app = Starlette(routes=[Route("/seen", seen), Route("/{kind}", predict, methods=["POST"])])
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False)


def measure(seconds: float, model: str) -> list[list[np.ndarray]]:
    """Milliseconds of every answer, by part of the time and kind."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = int(one.getsockname()[1])
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", str(port), "--model", model],
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    cores, mine = sorted(os.sched_getaffinity(0)), os.sched_getaffinity(0)
    if len(cores) > 1:
        os.sched_setaffinity(server.pid, set(cores[1:]))
        os.sched_setaffinity(0, {cores[0]})
    random = np.random.default_rng(1)
    bodies = [
        json.dumps({f"f{i}": float(x) for i, x in enumerate(row)}).encode()
        for row in random.normal(size=(256, FEATURES))
    ]
    requests = [[_request("POST", f"/{kind}", one) for one in bodies] for kind in range(len(KINDS))]
    gc.disable()  # the client's own garbage is no answer's time
    try:
        line = _connect(port)
        _some(line, requests, _WARM_SECONDS, random)
        found = [_some(line, requests, seconds / _PARTS, random) for _ in range(_PARTS)]
        print(f"  the monitor saw {_ask(line, _request('GET', '/seen', b'')).decode()}")
        return found
    finally:
        gc.enable()
        os.sched_setaffinity(0, mine)
        server.terminate()
        server.wait()


def _some(
    line: socket.socket,
    requests: list[list[bytes]],
    seconds: float,
    random: np.random.Generator,
) -> list[np.ndarray]:
    spent: list[list[float]] = [[] for _ in KINDS]
    clock, place = time.perf_counter, 0
    end = clock() + seconds
    while clock() < end:
        for kind in random.permutation(len(KINDS)).tolist():
            for _ in range(_TURN):
                place = (place + 1) % len(requests[kind])
                begun = clock()
                _ask(line, requests[kind][place])
                spent[kind].append(clock() - begun)
    return [np.array(one) * 1e3 for one in spent]


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


def report(model: str = "linear", seconds: float = 60.0) -> dict[str, Any]:
    """Print p50, p90, p99 and p99.9 of each, and how far they lie from the plain server's."""
    print(f"{seconds:g} s of requests, {model}, {FEATURES} features")
    found = measure(seconds, model)
    random = np.random.default_rng(2)
    edges = np.geomspace(
        0.01, max(part[kind].max() for part in found for kind in range(len(KINDS))), 40_001
    )
    counts = np.array(
        [[np.histogram(one, edges)[0] for one in part] for part in found]
    )  # part, kind, bin of .02 % and less
    draws = [np.arange(_PARTS), *random.integers(_PARTS, size=(_DRAWS, _PARTS))]
    seen = np.array([_quantiles(counts[draw].sum(axis=0), edges) for draw in draws])
    change = seen / seen[:, :1] - 1  # draw, kind, share
    done: dict[str, Any] = {}
    for place, kind in enumerate(KINDS):
        line = f"  {kind:26} {counts[:, place].sum():9,} requests"
        for row, share in enumerate(_SHARES):
            line += f"  p{100 * share:g} {seen[0, place, row]:.3f} ms"
            if place:
                low, high = np.quantile(change[1:, place, row], [0.025, 0.975]).tolist()
                value = float(change[0, place, row])
                line += f" ({value:+.2%}, {low:+.2%} to {high:+.2%})"
                if share == 0.99:
                    done[kind] = {"p99_change": value, "from": low, "to": high}
        print(line, flush=True)
    return done


def _quantiles(counts: np.ndarray, edges: np.ndarray) -> list[list[float]]:
    """Of each kind."""
    return [
        np.interp(np.array(_SHARES) * one[-1], one, edges).tolist()
        for one in np.concatenate([np.zeros((len(counts), 1)), counts.cumsum(axis=1)], axis=1)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--model", choices=sorted(MODELS), default="linear")
    parser.add_argument("--serve", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve, given.model)
    else:
        report(given.model, given.seconds)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
