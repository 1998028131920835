"""Runs a flow: looks every step up, runs what is not known, remembers what it gave.

A step's outputs are stored before the row that says so, so a run that dies anywhere is gone on with
by the next, which repeats no finished step. Two runs at once share work: a step is run by one of
them and awaited by the other.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trimtab import ids
from trimtab.config import Config
from trimtab.data import tables
from trimtab.errors import PipelineError, TrimtabError
from trimtab.pipeline import codecs, planning, snapshot
from trimtab.pipeline.context import Context, entered
from trimtab.pipeline.flow import Graph, trace
from trimtab.pipeline.handle import Handle
from trimtab.pipeline.load import load
from trimtab.pipeline.planning import Prepared
from trimtab.pipeline.step import Node
from trimtab.store import cache, leases, runs
from trimtab.store.records import CachedStep, Run
from trimtab.store.workspace import Workspace

Progress = Callable[[str, dict[str, Any]], None]
_LEASE_SECONDS: Final = 20.0
_WAIT_SECONDS: Final = 0.1


@dataclass(frozen=True)
class FlowResult:
    """A flow's run. `output` is the digest of what it returned; `value()` loads it."""

    run: Run
    output: str
    value: Callable[[], Any]
    nothing_to_do: bool
    steps_run: int
    steps_cached: int


class Execution:
    """The state of one run of a flow: digests and codecs per node, and values that are loaded."""

    def __init__(
        self, ws: Workspace, config: Config, folder: Path, run: Run, say: Progress
    ) -> None:
        self.ws = ws
        self.config = config
        self.folder = folder
        self.run = run
        self.say = say
        self.digests: dict[str, str] = {}
        self.codecs: dict[str, str] = {}
        self.values: dict[str, Any] = {}
        self.ran = 0
        self.cached = 0

    def value(self, node: str) -> Any:
        """The value of a node, loaded when it is first needed."""
        if node not in self.values:
            if node.startswith("data:"):
                self.values[node] = tables.read(self.ws, self.digests[node])
            else:
                self.values[node] = codecs.get(self.ws, self.digests[node], self.codecs[node])
        return self.values[node]


def run(
    ws: Workspace,
    config: Config,
    folder: Path,
    *,
    params: Mapping[str, Any] | None = None,
    cause: Mapping[str, Any] | None = None,
    data: Mapping[str, str] | None = None,
    on_event: Progress | None = None,
) -> FlowResult:
    """Run the project's flow from the code in `folder`.

    `data` names versions of sources to use instead of the latest. Raises PipelineError naming the
    step and the line of the user's code, or the TrimtabError that a step raised.
    """
    say = on_event or _silent
    close_dead(ws)
    graph = trace(load(folder, config.model.flow), config.data, params or {})
    inputs = planning.inputs(ws, graph, data or {})
    code, facts = snapshot.take(ws, folder)
    flow_run = runs.start(
        ws,
        "flow",
        graph.name,
        params=graph.params,
        cause=dict(cause or {}),
        tags=facts,
        code=code,
        environment=snapshot.environment(ws),
    )
    state = Execution(ws, config, folder, flow_run, say)
    for name, version in inputs.items():
        state.digests[f"data:{name}"] = version.digest
        runs.link(ws, flow_run.id, "in", name, version.digest)
    try:
        with _beating(ws, flow_run.id):
            for number, node in enumerate(graph.nodes, start=1):
                _node(state, node, number, len(graph.nodes))
    except BaseException as error:
        status = "cancelled" if isinstance(error, KeyboardInterrupt) else "failed"
        runs.finish(ws, flow_run.id, status, error=described(error))  # type: ignore[arg-type]
        raise
    return _finished(state, graph)


def close_dead(ws: Workspace) -> None:
    """Mark runs as failed whose process of this machine is gone."""
    for one in runs.find(ws, status="running", limit=1000):
        if one.pid and one.pid != os.getpid() and not _exists(one.pid):
            runs.finish(
                ws, one.id, "failed", error={"type": "Killed", "message": "its process is gone"}
            )


def described(error: BaseException) -> dict[str, Any]:
    """An error as data."""
    return {
        "type": type(error).__name__,
        "message": str(error),
        "traceback": "".join(traceback.format_exception(error)),
    }


def _node(state: Execution, node: Node, number: int, total: int) -> None:
    prepared = planning.prepare(node, state.digests, state.config)
    facts = {"step": node.id, "number": number, "total": total}
    found = planning.lookup(state.ws, prepared.key)
    if found is None:
        found = _single_flight(state, node, prepared, facts)
    else:
        state.cached += 1
        state.say("cached", facts)
    state.digests[node.id] = found.outputs[0]
    state.codecs[node.id] = found.codecs[0]


def _single_flight(
    state: Execution, node: Node, prepared: Prepared, facts: dict[str, Any]
) -> CachedStep:
    """Run a step, unless another process is at it: then wait for what it gives."""
    ws, lease, holder = state.ws, f"step:{prepared.key}", state.run.id
    told = False
    while not leases.acquire(ws, lease, holder, _LEASE_SECONDS):
        if not told:
            state.say("waiting", {**facts, "reason": "another run is at this step"})
            told = True
        time.sleep(_WAIT_SECONDS)
    try:
        found = planning.lookup(ws, prepared.key)
        if found is not None:
            state.cached += 1
            state.say("cached", facts)
            return found
        state.say("step", {**facts, "reason": planning.reason(ws, node, prepared)})
        with _renewing(ws, lease, holder):
            return _execute(state, node, prepared)
    finally:
        leases.release(ws, lease, holder)


def _execute(state: Execution, node: Node, prepared: Prepared) -> CachedStep:
    ws = state.ws
    step_run = runs.start(
        ws, "step", node.step.name, parent=state.run.id, key=prepared.key, params=_shown(node)
    )
    arguments = {
        name: state.value(value.node) if isinstance(value, Handle) else value
        for name, value in node.arguments.items()
    }
    context = Context(ws, state.config, state.folder, step_run.id, prepared.key, state.say)
    try:
        with entered(context):
            value = node.step.function(**arguments)
        digest, codec = codecs.put(ws, value, f"step {node.id!r}")
    except BaseException as error:
        status = "cancelled" if isinstance(error, KeyboardInterrupt) else "failed"
        runs.finish(ws, step_run.id, status, error=described(error))  # type: ignore[arg-type]
        if isinstance(error, TrimtabError) or not isinstance(error, Exception):
            raise
        raise PipelineError(
            f"step {node.id!r} failed: {type(error).__name__}: {error}{_where(error, state.folder)}",
            hint=f"`trimtab runs show {step_run.id}` has the whole traceback",
        ) from error
    found = CachedStep(
        key=prepared.key,
        run=step_run.id,
        name=node.step.name,
        outputs=[digest],
        codecs=[codec],
        components=prepared.components,
        observed=context.observed,
        weak=list(prepared.weak),
        created_at=ids.now(),
    )
    with ws.transaction():
        if not cache.put(ws, found):
            cache.remove(
                ws, prepared.key
            )  # what it observed has changed since, or its output is gone
            cache.put(ws, found)
        for name, one in node.arguments.items():
            if isinstance(one, Handle):
                runs.link(ws, step_run.id, "in", name, state.digests[one.node])
        runs.link(ws, step_run.id, "out", node.id, digest)
        runs.finish(ws, step_run.id, "done", peak_bytes=_peak())
    state.values[node.id] = value
    state.ran += 1
    return found


def _finished(state: Execution, graph: Graph) -> FlowResult:
    ws, output = state.ws, graph.output.node
    status: Any = "done" if state.ran else "cached"
    with ws.transaction():
        runs.link(ws, state.run.id, "out", "result", state.digests[output])
        runs.finish(ws, state.run.id, status, peak_bytes=_peak())
    return FlowResult(
        run=runs.get(ws, state.run.id),
        output=state.digests[output],
        value=lambda: state.value(output),
        nothing_to_do=not state.ran,
        steps_run=state.ran,
        steps_cached=state.cached,
    )


@contextmanager
def _beating(ws: Workspace, run_id: str) -> Iterator[None]:
    with _every(5.0, lambda: runs.update(ws, run_id, heartbeat_at=ids.now())):
        yield


@contextmanager
def _renewing(ws: Workspace, lease: str, holder: str) -> Iterator[None]:
    with _every(_LEASE_SECONDS / 4, lambda: leases.acquire(ws, lease, holder, _LEASE_SECONDS)):
        yield


@contextmanager
def _every(seconds: float, act: Callable[[], Any]) -> Iterator[None]:
    """Act every so often in a thread while the block runs."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(seconds):
            act()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _peak() -> int:
    """The most memory this process has held, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _shown(node: Node) -> dict[str, Any]:
    return {
        name: value if isinstance(value, str | int | float | bool | None) else repr(value)
        for name, value in node.arguments.items()
        if not isinstance(value, Handle)
    }


def _where(error: BaseException, folder: Path) -> str:
    """The last line of the user's own code that the error came through."""
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(folder)
    ]
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""


def _silent(_event: str, _facts: dict[str, Any]) -> None:
    """Progress that nobody watches."""
