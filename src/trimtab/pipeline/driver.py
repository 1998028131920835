"""Running a flow: what is remembered is reused, the rest runs as soon as its inputs are there.

A run can be stopped at any moment, by Ctrl-C or by kill -9; the next one goes on from the last step
that finished. Flows may overlap: a step runs once and the others wait for it (`perform`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from trimtab import ids
from trimtab.config import Config
from trimtab.errors import PipelineError, UsageError
from trimtab.pipeline import blame, datasets, executors, graph, lookup, outputs, perform, snapshot
from trimtab.pipeline import plan as planning
from trimtab.pipeline.events import (
    FlowFinished,
    FlowStarted,
    Listener,
    StepCached,
    StepFinished,
    StepStarted,
    silent,
)
from trimtab.pipeline.flow import Flow
from trimtab.pipeline.graph import Graph, Node
from trimtab.pipeline.heartbeat import Heartbeat
from trimtab.pipeline.job import Input, Job, State
from trimtab.pipeline.keys import StepKey
from trimtab.pipeline.outputs import Outputs
from trimtab.pipeline.result import FlowResult, StepResult, output_refs
from trimtab.pipeline.session import Session
from trimtab.pipeline.snapshot import Snapshot
from trimtab.store import runs
from trimtab.store.records import Run, RunStatus
from trimtab.store.workspace import Workspace
from trimtab.track import environment, process

_PAUSE: Final = 0.01


def run(
    ws: Workspace,
    config: Config,
    flow: str | Flow[..., Any] = "",
    params: Mapping[str, Any] | None = None,
    *,
    cause: Mapping[str, Any] | None = None,
    on_event: Listener = silent,
    executor: str = "inline",
    data: Mapping[str, str] | None = None,
    code: str = "",
) -> FlowResult:
    """Run a flow (by default `[model] flow`) of the project folder.

    `data` pins datasets to versions (`{"applications": "applications@v2"}`); others are read from
    their source. `code` is the digest of a snapshot to run instead of the project's files. `cause`
    says what asked for the run. Raises PipelineError where a step fails, naming it and the line;
    Ctrl-C marks what runs as cancelled and goes through.
    """
    process.reap(ws)
    folder = snapshot.materialise(ws, code) if code else ws.project_dir
    drawn = graph.draw(planning.named(ws, config, flow, folder), config, params or {})
    for name in data or {}:
        if name not in drawn.flow.datasets:
            raise UsageError(f"flow {drawn.flow.name} takes no dataset {name!r}")
    taken = snapshot.kept(code) if code else snapshot.take(ws, config)
    started = _start(ws, config, drawn, taken, dict(cause or {}))
    session = Session(
        ws=ws,
        config=config,
        graph=drawn,
        run=started.id,
        code=started.code,
        environment=started.environment,
        folder=folder,
        listener=on_event,
    )
    on_event(FlowStarted(started.id, drawn.flow.name, tuple(node.name for node in drawn.steps)))
    begun = time.perf_counter()
    status: RunStatus = "failed"
    try:
        with Heartbeat(ws) as heart:
            heart.add(started.id)
            versions = _read_data(session, data or {})
            steps = _Drive(session, executors.make(executor, session), heart).all()
        status = "cached" if all(step.status == "cached" for step in steps) else "done"
        found = _finish(session, status)
    except BaseException as error:
        status = "cancelled" if isinstance(error, KeyboardInterrupt) else "failed"
        runs.finish(ws, started.id, status, error=blame.as_data(error))
        raise
    finally:
        on_event(FlowFinished(started.id, status, time.perf_counter() - begun))
    return FlowResult(
        run=runs.get(ws, started.id),
        outputs=found,
        steps=steps,
        data=versions,
        load=lambda: graph.fill(drawn.result, session.value),
    )


def _start(
    ws: Workspace, config: Config, drawn: Graph, taken: Snapshot, cause: dict[str, Any]
) -> Run:
    tags: dict[str, Any] = {process.TAG: process.mark(), "config": config.digest}
    if taken.git is not None:
        tags["git"] = msgspec.to_builtins(taken.git)
    return runs.start(
        ws,
        "flow",
        drawn.flow.name,
        params=dict(drawn.params),
        cause=cause,
        tags=tags,
        code=taken.digest,
        environment=environment.record(ws),
    )


def _read_data(session: Session, pinned: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for node in session.graph.nodes:
        if node.step is None:
            version = datasets.read(
                session.ws,
                session.config,
                node.name,
                run=session.run,
                pinned=pinned.get(node.name, ""),
            )
            session.outputs[node.number] = outputs.of_dataset(version.digest)
            runs.link(session.ws, session.run, "in", node.name, version.digest)
            found[node.name] = version.label
    return found


def _finish(session: Session, status: RunStatus) -> dict[str, str]:
    """Link what the flow returned, and end its run."""
    ws = session.ws
    found: dict[str, str] = {}
    for name, ref in output_refs(session.graph.result).items():
        made = session.outputs[ref.node]
        items = range(len(made.digests)) if ref.item is None else (ref.item,)
        for item in items:
            found[name if len(items) == 1 else f"{name}.{item}"] = made.digests[item]
    if status == "done":
        ws.blobs.flush()
    with ws.transaction():
        for name, digest in found.items():
            runs.link(ws, session.run, "out", name, digest)
        runs.finish(ws, session.run, status, peak_bytes=process.peak_bytes())
    return found


class _Drive:
    """The steps of a session on their way through an executor."""

    def __init__(self, session: Session, executor: executors.Executor, heart: Heartbeat) -> None:
        self._session = session
        self._executor = executor
        self._heart = heart
        self._waiting = list(session.graph.steps)
        self._before = planning.before(session.ws, session.graph)
        self._running: dict[str, tuple[Node, StepKey, tuple[str, ...]]] = {}
        self._done: dict[int, StepResult] = {}
        self._failure: PipelineError | None = None

    def all(self) -> tuple[StepResult, ...]:
        """Run every step; raises PipelineError for the first that fails, when no other runs."""
        try:
            while self._running or (self._waiting and self._failure is None):
                if not (self._start_ready() | self._collect()):
                    time.sleep(_PAUSE)
        except BaseException:
            for handle in self._running:
                self._executor.cancel(handle)
            raise
        finally:
            self._executor.close()
        if self._failure is not None:
            raise self._failure
        return tuple(self._done[node.number] for node in self._session.graph.steps)

    def _start_ready(self) -> bool:
        """Start what can start now; whether anything moved."""
        moved = False
        for node in tuple(self._waiting):
            if self._failure or len(self._running) >= self._executor.slots:
                break
            if all(ref.node in self._session.outputs for ref in node.inputs):
                self._waiting.remove(node)
                self._start(node)
                moved = True
        return moved

    def _start(self, node: Node) -> None:
        session = self._session
        key = session.key(node)
        is_cached = node.step is not None and node.step.cache
        reasons: tuple[str, ...] = ("not cached",)
        if is_cached:
            known, changed = lookup.find(session.ws, key.key, session.ws.project_dir)
            if known is not None:
                self._take(node, key, perform.cached(known), ())
                return
            reasons = planning.why(key, self._before.get(key.name), changed)
        job = _job(session, node, key, reasons)
        self._heart.add(job.id)
        session.listener(StepStarted(node.name, job.id, "; ".join(reasons)))
        self._running[self._executor.submit(job)] = (node, key, reasons)

    def _collect(self) -> bool:
        """Take in what has ended; whether anything had."""
        states = self._executor.poll(list(self._running))
        over = {handle: state for handle, state in states.items() if state.is_over}
        for handle, state in over.items():
            node, key, reasons = self._running.pop(handle)
            self._heart.remove(handle)
            if state.status in ("done", "cached"):
                self._take(node, key, state, reasons)
            else:
                self._fail(node, handle, state)
        return bool(over)

    def _take(self, node: Node, key: StepKey, state: State, reasons: tuple[str, ...]) -> None:
        session = self._session
        session.outputs.setdefault(
            node.number, Outputs(state.digests, state.codecs, state.is_tuple)
        )
        session.finished(node)
        if state.status == "cached":
            session.listener(StepCached(node.name, state.run))
        else:
            session.listener(StepFinished(node.name, state.run, state.status, state.seconds))
        self._done[node.number] = StepResult(
            name=node.name,
            status=state.status,
            key=key.key,
            run=state.run,
            seconds=state.seconds,
            reasons=reasons,
            weak=state.weak,
        )

    def _fail(self, node: Node, handle: str, state: State) -> None:
        session = self._session
        session.listener(StepFinished(node.name, state.run, state.status, state.seconds))
        if self._failure is None:
            error = state.error or {"type": "Cancelled", "message": "it was cancelled"}
            self._failure = blame.failed(node.name, error)
            self._failure.__cause__ = self._executor.failure(handle)


def _job(session: Session, node: Node, key: StepKey, reasons: tuple[str, ...]) -> Job:
    ws = session.ws
    inputs = {ref.node: session.outputs[ref.node] for ref in node.inputs}
    return Job(
        id=ids.new_id(),
        step=node.name,
        key=key.key,
        flow=session.graph.flow.reference,
        node=node.number,
        project_dir=str(ws.project_dir),
        folder=str(session.folder),
        project=ws.project_name,
        config=session.config,
        params=dict(session.graph.params),
        inputs=tuple(
            Input(node=number, digests=one.digests, codecs=one.codecs, is_tuple=one.is_tuple)
            for number, one in inputs.items()
        ),
        parent=session.run,
        code=session.code,
        environment=session.environment,
        reason="; ".join(reasons),
    )
