"""What an endpoint of ours costs beside its requests: start, memory of each worker, the log.

`python benchmarks/serving/costs.py` prints seconds from start to the first answer, proportional memory of
one worker and of each further one (idle, after a first request each), and CPU microseconds per request in
batches of 32 with and without the prediction log. The model is that of `run.py`.
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from run import BUILD, HERE, MODEL, cpu, memory, until

from trimtab.model.digest import folder_digest
from trimtab.serve import folder as endpoint
from trimtab.serve import routes
from trimtab.serve.engine import Engine
from trimtab.serve.logged import log
from trimtab.serve.reply import Response
from trimtab.serve.router import Router
from trimtab.serve.routes import RoutesFile, RouteSpec

REQUESTS = 30_000


def prepared(folder: Path, **settings: int) -> Path:
    """The folder of an endpoint of the model."""
    shutil.rmtree(folder, ignore_errors=True)
    package = MODEL / "package"
    endpoint.write_settings(folder, endpoint.Settings(name="loans", **settings))
    digest = folder_digest(package)
    spec = RouteSpec(role="champion", model=digest, label="loans@v1", folder=str(package))
    routes.write(folder, RoutesFile(version=1, name="loans", routes=(spec,)))
    return folder


@contextlib.contextmanager
def running(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], endpoint.State]]:
    """A started endpoint, as soon as it is ready."""
    process = subprocess.Popen([sys.executable, "-m", "trimtab.serve.endpoint", str(folder)])
    try:
        until(lambda: (found := endpoint.read_state(folder)) is not None and found.ready)
        state = endpoint.read_state(folder)
        assert state is not None
        yield process, state
    finally:
        process.terminate()
        process.wait()


def ask(state: endpoint.State) -> None:
    """One prediction."""
    url = f"http://{state.host}:{state.port}/predict"
    urllib.request.urlopen(url, (MODEL / "body.json").read_bytes(), timeout=10).read()


def starts(times: int = 5) -> tuple[float, float]:
    """Median seconds, and CPU seconds, from the start to the first answer."""
    walls, cpus = [], []
    for _ in range(times):
        folder = prepared(BUILD / "start")
        begun = time.perf_counter()
        with running(folder) as (process, state):
            ask(state)
            walls.append(time.perf_counter() - begun)
            cpus.append(cpu(process.pid))
    return statistics.median(walls), statistics.median(cpus)


def worker_memory() -> tuple[float, float]:
    """MB of one worker, and of each further one."""
    found = []
    for workers in (1, 4):
        with running(prepared(BUILD / "start", workers=workers)) as (process, state):
            for _ in range(40):  # a connection each, so that every worker gets some
                ask(state)
            time.sleep(1)
            found.append(memory(process.pid))
    return found[0], (found[1] - found[0]) / 4  # the supervisor counts as one


def logging() -> tuple[float, float]:
    """CPU microseconds per request in batches of 32, with the log and without."""
    body = (MODEL / "body.json").read_bytes()
    headers = {"host": "localhost", "content-type": "application/json"}
    found: dict[bool, list[float]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as place:
        router = Router(prepared(BUILD / "start"))
        router.reload()
        for turn in range(10):
            is_logged = turn % 2 == 0
            writer = log.Log(Path(place), "loans")
            if not is_logged:
                writer.append = lambda frames: None  # type: ignore[method-assign]
            engine = Engine(name="loans", router=router, log=writer)
            if not is_logged:
                engine.recorder.keep = lambda scored: None  # type: ignore[method-assign]
            begun = time.process_time()
            for _ in range(REQUESTS // 32):
                jobs = [engine.begin("POST", "/predict", headers, body) for _ in range(32)]
                engine.answer([job for job in jobs if not isinstance(job, Response)])
            found[is_logged].append((time.process_time() - begun) / REQUESTS * 1e6)
            writer.close()
    return statistics.median(found[True]), statistics.median(found[False])


def main() -> None:
    BUILD.mkdir(parents=True, exist_ok=True)
    if not (MODEL / "package" / "model.onnx").exists():
        subprocess.run([sys.executable, str(HERE / "model.py"), str(MODEL)], check=True)
    wall, spent = starts()
    print(f"start to first answer           {wall:6.2f} s   CPU {spent:.2f} s")
    first, further = worker_memory()
    print(f"one worker, each further one    {first:6.0f} MB  {further:.0f} MB")
    logged, bare = logging()
    share = (logged - bare) / logged
    print(
        f"request in process, of 32       {logged:6.2f} us  without the log {bare:.2f} us: {share:.0%}"
    )


if __name__ == "__main__":
    main()
