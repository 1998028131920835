"""What `trimtab.Monitor` adds to the answers of somebody else's server: goal 8's p99.

`python benchmarks/monitoring/serving.py [--model linear] [--seconds 600]` starts one Starlette app on a core
of its own and asks it over one connection, a request at a time: plain, plain again, and twice as often with a
monitor that logs each request's row (20 features, one score); `--packing` adds a kind that packs the row and
forgets it. Thirteen requests of a kind follow each other, in an order drawn anew for each round, so that
whatever else the machine does meets all alike. What a count of the event loop holds up is the request after
the one that asked for it, once in thirteen times one of another kind. What a thread does meets all kinds:
were a count longer than 10 ms, it would not be seen here (its time is printed), nor is the file that a
project's monitor leaves every ten seconds.

The model is what people serve, a scikit-learn pipeline of boosted trees, or a dot product, which leaves
nothing but the monitor to see. Quantiles are of all of a kind's requests. The monitor and the packing are
held against both plain kinds, the second of which, against the first, shows what the machine leaves to
chance. Intervals resample sixtieths of the time.

What separates kinds by 1 % takes hours on a machine that others use too. `--own` logs every request and has
the server tell what it spent in each on `Monitor.log`, and before each on counting: quantiles of the same
requests with that and without, which noise meets alike. It says nothing of what the monitor costs
elsewhere, such as in caches.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import math
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any

import numpy as np

FEATURES = 20
KINDS = ("plain", "plain again", "with a monitor", "packs a row and forgets it")
_BASES = ((0,), (0,), (0, 1), (0, 1))
"""What each kind is held against."""
_ROUND = (0, 1, 2, 2)
_PACKING = 3
_OWN = 4
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
        None, None, monitor.log, lambda row, score: pack(*get(row)),
    ]  # fmt: skip

    clock, count = time.perf_counter, monitor._counted.count  # noqa: SLF001
    took: list[float] = []
    waited = [0.0]

    def counted(seconds: float = math.inf) -> None:
        begun = clock()
        count(seconds)
        waited[0] += clock() - begun

    def log_and_tell(row: Any, score: Any) -> None:
        before, begun = waited[0], clock()
        monitor.log(row, score)
        took.append(clock() - begun + before)
        waited[0] = 0.0

    monitor._counted.count = counted  # type: ignore[method-assign]  # noqa: SLF001
    logs.append(log_and_tell)

    async def predict(request: Request) -> Response:
        log = logs[int(request.path_params["kind"])]
        row = await request.json()
        score = score_of(row)
        if log is not None:
            log(row, score)
        return JSONResponse({"score": score})

    async def seen(request: Request) -> Response:
        told = {"rows": monitor.rows, "dropped": monitor.dropped, "own": took.copy()}
        took.clear()
        return JSONResponse(told)

    app = Starlette(routes=[Route("/seen", seen), Route("/{kind}", predict, methods=["POST"])])
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False)


@contextlib.contextmanager
def asking(model: str) -> Iterator[tuple[socket.socket, list[list[bytes]]]]:
    """A running server, a connection to it, and requests of each kind."""
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
    gc.disable()  # the client's own garbage is no answer's time
    try:
        yield (
            _connect(port),
            [[_request("POST", f"/{kind}", one) for one in bodies] for kind in range(_OWN + 1)],
        )
    finally:
        gc.enable()
        os.sched_setaffinity(0, mine)
        server.terminate()
        server.wait()


def measure(seconds: float, model: str, kinds: tuple[int, ...]) -> list[list[np.ndarray]]:
    """Milliseconds of every answer, by part of the time and kind; `kinds` are the turns of a round."""
    random = np.random.default_rng(1)
    with asking(model) as (line, requests):
        _some(line, requests, kinds, _WARM_SECONDS, random)
        found = [_some(line, requests, kinds, seconds / _PARTS, random) for _ in range(_PARTS)]
        seen = _seen(line)
        print(f"  the monitor saw {seen['rows']:,} rows and dropped {seen['dropped']}")
    return found


def own(model: str = "trees", seconds: float = 60.0) -> dict[str, Any]:
    """Quantiles of logged requests, with what the monitor's own code took of each and without."""
    print(f"{seconds:g} s of requests, {model}, {FEATURES} features, every one logged")
    random = np.random.default_rng(1)
    found, took = [], []
    with asking(model) as (line, requests):
        _some(line, requests, (_OWN,), _WARM_SECONDS, random)
        _seen(line)
        for _ in range(_PARTS):
            found.append(_some(line, requests, (_OWN,), seconds / _PARTS, random)[_OWN])
            took.append(1e3 * np.array(_seen(line)["own"]))
    shares = np.array(_SHARES)
    draws = [np.arange(_PARTS), *random.integers(_PARTS, size=(_DRAWS, _PARTS))]
    change = []
    for draw in draws:
        all_, own_ = (np.concatenate([of[part] for part in draw]) for of in (found, took))
        change.append(np.quantile(all_, shares) / np.quantile(all_ - own_, shares) - 1)
    low, high = np.quantile(change[1:], [0.025, 0.975], axis=0)
    spent = np.concatenate(took)
    print(f"  {len(spent):,} requests, of each {1e3 * np.median(spent):.1f} us, on average "
          f"{1e3 * spent.mean():.1f} and at most {spent.max():.2f} ms the monitor's own")  # fmt: skip
    every = np.quantile(np.concatenate(found), shares)
    for place, share in enumerate(_SHARES):
        print(f"  p{100 * share:g} {every[place]:.3f} ms ({change[0][place]:+.2%}, "
              f"{low[place]:+.2%} to {high[place]:+.2%})", flush=True)  # fmt: skip
    p99 = _SHARES.index(0.99)
    return {"p99_change": float(change[0][p99]), "from": float(low[p99]), "to": float(high[p99])}


def _seen(line: socket.socket) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(_ask(line, _request("GET", "/seen", b"")))
    return told


def _some(
    line: socket.socket,
    requests: list[list[bytes]],
    kinds: tuple[int, ...],
    seconds: float,
    random: np.random.Generator,
) -> list[np.ndarray]:
    spent: list[list[float]] = [[] for _ in range(_OWN + 1)]
    clock, place = time.perf_counter, 0
    end = clock() + seconds
    while clock() < end:
        for kind in random.permutation(kinds).tolist():
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


def report(model: str = "linear", seconds: float = 60.0, packing: bool = True) -> dict[str, Any]:
    """Print p50, p90, p99 and p99.9 of each, and how far they lie from the plain server's."""
    print(f"{seconds:g} s of requests, {model}, {FEATURES} features")
    turns = (*_ROUND, _PACKING) if packing else _ROUND
    found = measure(seconds, model, turns)
    random = np.random.default_rng(2)
    kinds = sorted(set(turns))
    top = max(part[kind].max() for part in found for kind in kinds)
    edges = np.geomspace(0.01, top, 40_001)  # of .02 % and less
    counts = np.array(
        [[np.histogram(part[kind], edges)[0] for kind in kinds] for part in found]
    )  # part, kind, bin
    draws = [np.arange(_PARTS), *random.integers(_PARTS, size=(_DRAWS, _PARTS))]
    done: dict[str, Any] = {}
    drawn = [counts[draw].sum(axis=0) for draw in draws]
    for kind in kinds:
        seen = np.array([_quantiles(one[kind], edges) for one in drawn])
        base = np.array([_quantiles(one[list(_BASES[kind])].sum(axis=0), edges) for one in drawn])
        change = seen / base - 1  # draw, share
        line = f"  {KINDS[kind]:26} {counts[:, kind].sum():9,} requests"
        for place, share in enumerate(_SHARES):
            line += f"  p{100 * share:g} {seen[0, place]:.3f} ms"
            if kind:
                low, high = np.quantile(change[1:, place], [0.025, 0.975]).tolist()
                value = float(change[0, place])
                line += f" ({value:+.2%}, {low:+.2%} to {high:+.2%})"
                if share == 0.99:
                    done[KINDS[kind]] = {"p99_change": value, "from": low, "to": high}
        print(line, flush=True)
    return done


def _quantiles(counts: np.ndarray, edges: np.ndarray) -> list[float]:
    """Of the requests counted between the edges."""
    below = np.concatenate([[0], counts.cumsum()])
    found: list[float] = np.interp(np.array(_SHARES) * below[-1], below, edges).tolist()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--model", choices=sorted(MODELS), default="linear")
    parser.add_argument("--packing", action="store_true", help="also pack rows and forget them")
    parser.add_argument("--own", action="store_true", help="what the monitor's code takes of each")
    parser.add_argument("--serve", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve, given.model)
    elif given.own:
        own(given.model, given.seconds)
    else:
        report(given.model, given.seconds, given.packing)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
