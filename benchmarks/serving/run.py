"""What serving one row costs here and at the peers, side by side on one machine.

`python benchmarks/serving/run.py [--seconds 3] [--repeat 3] [--peers all]` needs `wrk` and two cores:
servers run on the first, the load on the second. Every server answers the same single-row JSON over
keep-alive connections, 64, 8 and 1 at a time. The figure is server CPU per request: user and system
time of the whole process tree over the load, divided by the answers; of `--repeat` loads the cheapest
counts, as others on the machine only add. Peers are installed as pip finds them, each in an environment
of its own under `build/bench`. trimtab answers with API key, metrics and every request logged.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from trimtab.model.digest import folder_digest
from trimtab.serve import folder as endpoint
from trimtab.serve import routes
from trimtab.serve.access import keys
from trimtab.serve.routes import RoutesFile, RouteSpec

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build" / "bench"
MODEL = BUILD / "model"
CONNECTIONS = (64, 8, 1)
SKLEARN = "scikit-learn==1.9.1 pandas numpy joblib"
MODES = {"plain": "", "batch": " batching", "noop": " no-op"}
OIP = "trimtab, 25 tensors"
MLSERVER = f"mlserver==1.7.1 uvloop==0.21.0 {SKLEARN}"


@dataclass(frozen=True)
class Peer:
    """A server: what to install, how to start it, what it is asked."""

    name: str
    install: str
    command: list[str]
    path: str = "/predict"
    ready: str = "/ping"
    before: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)


def peers(port: int) -> list[Peer]:
    """Every server, our own last."""
    uvicorn = ["-m", "uvicorn", "--port", str(port), "--log-level", "warning", "--no-access-log"]
    settings = str(HERE / "peers" / "mlserver_settings.py")
    return [
        Peer("echo", "", [str(HERE / "peers" / "echo.py"), str(port), "echo"]),
        Peer("echo + ONNX", "", [str(HERE / "peers" / "echo.py"), str(port), "onnx"]),
        Peer(
            "FastAPI + ONNX",
            "fastapi uvicorn[standard] onnxruntime numpy",
            [*uvicorn, "--app-dir", str(HERE / "peers"), "fastapi_onnx:app"],
        ),
        Peer(
            "FastAPI + scikit-learn",
            f"fastapi uvicorn[standard] {SKLEARN}",
            [*uvicorn, "--app-dir", str(HERE / "peers"), "fastapi_sklearn:app"],
        ),
        Peer(
            "MLflow",
            f"mlflow==3.17.2 {SKLEARN}",
            ["-m", "mlflow", "models", "serve", "-m", str(BUILD / "mlflow"), "-p", str(port),
             "--env-manager", "local", "-w", "1"],
            path="/invocations",
            before=[str(HERE / "peers" / "mlflow_model.py"), str(BUILD / "mlflow"), str(MODEL)],
        ),
        *(
            Peer(
                f"MLServer{MODES[mode]}",
                MLSERVER,
                ["-m", "mlserver.cli.main", "start", str(BUILD / f"mlserver-{mode}")],
                path="/v2/models/loans/infer",
                ready="/v2/models/loans/ready",
                before=[settings, str(BUILD / f"mlserver-{mode}"), str(port), str(MODEL), mode],
            )
            for mode in MODES
        ),
        Peer(
            "KServe no-op",
            "kserve==0.21.0",
            [str(HERE / "peers" / "kserve_noop.py"), str(port)],
            path="/v2/models/loans/infer",
            ready="/v2/models/loans/ready",
        ),
        Peer(
            "BentoML batching",
            f"bentoml==1.4.39 {SKLEARN}",
            ["-m", "bentoml", "serve", "bentoml_service:Loans", "--working-dir",
             str(HERE / "peers"), "--port", str(port)],
            ready="/readyz",
        ),
    ]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--peers", default="echo,echo + ONNX", help="comma-separated names, or all")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if shutil.which("wrk") is None:
        print(
            "there is no wrk here: install it (Debian: apt-get install wrk) to run this",
            file=sys.stderr,
        )
        return 0
    BUILD.mkdir(parents=True, exist_ok=True)
    if not (MODEL / "package" / "model.onnx").exists():
        subprocess.run([sys.executable, str(HERE / "model.py"), str(MODEL)], check=True)
    wanted, results = given.peers.split(","), {}
    for peer in peers(free_port()):
        if given.peers != "all" and peer.name not in wanted:
            continue
        try:
            with started(peer) as (process, port):
                results[peer.name] = loads(peer, process.pid, port, given)
        except (RuntimeError, subprocess.CalledProcessError) as error:
            print(f"{peer.name}: {error}", file=sys.stderr)
            continue
        show(peer.name, results[peer.name])
    for name in ("trimtab", OIP, "trimtab, scikit-learn"):
        with own(name) as (peer, process, port):
            results[name] = loads(peer, process.pid, port, given)
        show(name, results[name])
    ratios(results)
    if given.json:
        given.json.write_text(json.dumps(results, indent=1))
    return 0


@contextlib.contextmanager
def started(peer: Peer) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A peer that answers, on the first core."""
    python = environment(peer)
    port = (
        int(next(x for x in peer.command if x.isdecimal()))
        if "mlserver" not in peer.install
        else int(peer.before[2])
    )
    environ = {
        **os.environ,
        "MODEL": str(MODEL),
        "OMP_NUM_THREADS": "1",
        "BENTOML_DO_NOT_TRACK": "True",
    }
    if peer.before:
        subprocess.run([python, *peer.before], check=True, env=environ, capture_output=True)
    process = subprocess.Popen(
        ["taskset", "-c", "0", python, *peer.command],
        env={**environ, "PATH": f"{Path(python).parent}:{environ['PATH']}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until(
            lambda: process.poll() is not None or answers(port, peer.ready) or connects(port, peer)
        )
        if process.poll() is not None:
            raise RuntimeError(f"ended with {process.returncode} as it started")
        yield process, port
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def environment(peer: Peer) -> str:
    """The Python of a peer's environment, installed where it is not there."""
    if not peer.install:
        return sys.executable
    place = BUILD / "".join(c if c.isalnum() else "-" for c in peer.install)[:80]
    python = place / "bin" / "python"
    if not (place / ".done").exists():
        print(f"installing {peer.name}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        subprocess.run(
            [python, "-m", "pip", "install", "-q", *peer.install.split()],
            check=True,
            capture_output=True,
        )
        (place / ".done").touch()
    return str(python)


@contextlib.contextmanager
def own(name: str) -> Iterator[tuple[Peer, subprocess.Popen[bytes], int]]:
    """Our own endpoint with a key, metrics and the whole log, as one of three names."""
    folder = BUILD / "endpoint"
    shutil.rmtree(folder, ignore_errors=True)
    package = MODEL / ("native" if "scikit-learn" in name else "package")
    endpoint.write_settings(folder, endpoint.Settings(name="loans"))
    spec = RouteSpec(
        role="champion", model=folder_digest(package), label="loans@v1", folder=str(package)
    )
    routes.write(folder, RoutesFile(version=1, name="loans", routes=(spec,)))
    _, key = keys.add(folder, "bench")
    process = subprocess.Popen(
        ["taskset", "-c", "0", sys.executable, "-m", "trimtab.serve.endpoint", str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        until(lambda: (s := endpoint.read_state(folder)) is not None and s.ready)
        state = endpoint.read_state(folder)
        assert state is not None
        yield (
            Peer(
                name, "", [], path="/v2/models/loans/infer" if name == OIP else "/predict",
                headers={"authorization": f"Bearer {key}"},
            ),
            process,
            state.port,
        )  # fmt: skip
    finally:
        process.terminate()
        process.wait()


def loads(peer: Peer, pid: int, port: int, given: argparse.Namespace) -> list[dict[str, float]]:
    """The cheapest load of each number of connections."""
    return [
        min(
            (load(peer, pid, port, c, given.seconds) for _ in range(given.repeat)),
            key=lambda one: one["cpu_us"],
        )
        for c in CONNECTIONS
    ]


def load(peer: Peer, pid: int, port: int, connections: int, seconds: float) -> dict[str, float]:
    """CPU microseconds per request, requests per second, p50 and p99 in milliseconds, memory."""
    script = BUILD / "load.lua"
    body = json.dumps(body_of(peer))
    headers = {"content-type": "application/json", **peer.headers}
    lines = [f"wrk.headers[{json.dumps(k)}] = {json.dumps(v)}" for k, v in headers.items()]
    failures = "s.errors.status + s.errors.read + s.errors.timeout"
    times = "l:percentile(50) / 1000, l:percentile(99) / 1000"
    report = f'io.write(string.format("%d %d %f %f\\n", s.requests, {failures}, {times}))'
    script.write_text(
        'wrk.method = "POST"\n' + f"wrk.body = {json.dumps(body)}\n" + "\n".join(lines)
        + f"\nfunction done(s, l, r) {report} end\n"
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}{peer.path}"
    wrk = [
        "taskset",
        "-c",
        "1",
        "wrk",
        "-t1",
        "--timeout",
        "30s",
        f"-c{connections}",
        "-s",
        str(script),
    ]
    subprocess.run([*wrk, "-d1s", url], check=True, capture_output=True)
    before, begun = cpu(pid), time.perf_counter()
    done = subprocess.run(
        [*wrk, f"-d{int(seconds)}s", url], check=True, capture_output=True, text=True
    )
    spent, wall = cpu(pid) - before, time.perf_counter() - begun
    count, failed, p50, p99 = map(float, done.stdout.strip().splitlines()[-1].split())
    if failed or not count:
        raise RuntimeError(f"{failed:.0f} of {count:.0f} requests failed")
    return {
        "cpu_us": spent / count * 1e6,
        "rps": count / wall,
        "p50": p50,
        "p99": p99,
        "mb": memory(pid),
    }


def body_of(peer: Peer) -> object:
    """One row in the peer's own words."""
    row = json.loads((MODEL / "body.json").read_bytes())["row"]
    if peer.name == "MLflow":
        return {"dataframe_split": {"columns": list(row), "data": [list(row.values())]}}
    if peer.path.startswith("/v2"):
        kinds = {True: "BYTES", False: "FP64"}
        return {
            "parameters": {"content_type": "pd"},
            "inputs": [
                {"name": k, "shape": [1], "datatype": kinds[isinstance(v, str)], "data": [v]}
                | ({"parameters": {"content_type": "str"}} if isinstance(v, str) else {})
                for k, v in row.items()
            ],
        }
    if peer.name.startswith("BentoML"):
        return {"rows": [row]}
    return {"row": row} if peer.name.startswith("trimtab") else row


def tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    found, ahead = [], [pid]
    while ahead:
        one = ahead.pop()
        found.append(one)
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                ahead += map(int, (task / "children").read_text().split())
    return found


def cpu(pid: int) -> float:
    """User and system seconds of a process tree."""
    total = 0.0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def memory(pid: int) -> float:
    """Proportional memory of a process tree in MB."""
    total = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int, path: str) -> bool:
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5).status == 200
    except OSError:
        return False


def connects(port: int, peer: Peer) -> bool:
    """Whether a server is there that has no path to ask."""
    if not peer.name.startswith("echo"):
        return False
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(holds) -> None:  # noqa: ANN001
    end = time.monotonic() + 120
    while not holds():
        if time.monotonic() > end:
            raise RuntimeError("it did not answer within two minutes")
        time.sleep(0.05)


def show(name: str, found: list[dict[str, float]]) -> None:
    costs = " / ".join(f"{one['cpu_us']:.1f}" for one in found)
    first, last = found[0], found[-1]
    print(
        f"{name:24} {costs:>24} us   {first['rps']:>9,.0f}/s"
        f"   p50 {last['p50']:.2f}  p99 at 8 {found[1]['p99']:.2f} ms   {first['mb']:.0f} MB",
        flush=True,
    )


def ratios(results: dict[str, list[dict[str, float]]]) -> None:
    """Our cost against everybody's, at 64, 8 and 1 connections."""
    ours, native = results["trimtab"], results["trimtab, scikit-learn"]
    for name, theirs in results.items():
        if name.endswith("no-op"):
            parts = [a["cpu_us"] / b["cpu_us"] for a, b in zip(results[OIP], theirs, strict=True)]
            print(f"{OIP}, the model run: {' / '.join(f'{x:.2f}' for x in parts)} of {name}")
            continue
        mine = native if "scikit-learn" in name or "batching" in name else ours
        for what, reference in (("", ours), (" (same scikit-learn model)", native)):
            if what and mine is ours:
                continue
            parts = [a["cpu_us"] / b["cpu_us"] for a, b in zip(theirs, reference, strict=True)]
            if not name.startswith("trimtab"):
                print(f"{name}{what}: {' / '.join(f'{x:.2f}' for x in parts)} times our CPU")


if __name__ == "__main__":
    raise SystemExit(main())
