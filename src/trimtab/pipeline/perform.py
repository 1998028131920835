"""Running one step: claim its key, run it, store what it gives, and only then say that it is done.

The claim is the run's row with the key as its concurrency key: one process at a time runs a key,
the others wait for its result. Whatever happens, the row ends as done, failed or cancelled.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, Final, TextIO

from trimtab import ids
from trimtab.errors import ConflictError
from trimtab.pipeline import blame, context, graph, lookup, outputs, tracing
from trimtab.pipeline.context import Context
from trimtab.pipeline.events import StepWaiting
from trimtab.pipeline.graph import Node
from trimtab.pipeline.job import Job, State
from trimtab.pipeline.keys import StepKey
from trimtab.pipeline.observe import Watch
from trimtab.pipeline.outputs import Outputs, Stored
from trimtab.pipeline.session import Session
from trimtab.store import cache, runs, steps
from trimtab.store.records import Artifact, CachedStep, Link, Run, RunStatus
from trimtab.store.workspace import Workspace
from trimtab.track import process

LOG: Final = "log"
MAX_LOG: Final = 4 * 1024 * 1024
_PAUSES: Final = (0.02, 0.05, 0.1, 0.25)


def perform(
    session: Session, job: Job, node: Node, key: StepKey
) -> tuple[State, BaseException | None]:
    """Run a step or take over the result of a process that runs it already.

    Returns how it ended, with the exception where it failed. Ctrl-C marks the run cancelled and
    goes on as KeyboardInterrupt.
    """
    started = time.perf_counter()
    claimed = claim(session, job, node, key)
    if isinstance(claimed, CachedStep):
        return cached(claimed), None
    try:
        made, items, weak = _execute(session, node, key, claimed)
    except BaseException as error:
        status: RunStatus = "cancelled" if isinstance(error, KeyboardInterrupt) else "failed"
        data = blame.as_data(error)
        runs.finish(session.ws, claimed.id, status, error=data, peak_bytes=process.peak_bytes())
        if not isinstance(error, Exception):
            raise
        seconds = time.perf_counter() - started
        return State(status="failed", run=claimed.id, error=data, seconds=seconds), error
    session.outputs[node.number] = made
    session.keep(node, items)
    return _state("done", claimed.id, made, weak, time.perf_counter() - started), None


def claim(session: Session, job: Job, node: Node, key: StepKey) -> Run | CachedStep:
    """The run that may now do the step, or what another one remembered of it meanwhile."""
    ws, waits = session.ws, 0
    is_cached = node.step is not None and node.step.cache
    while True:
        try:
            with ws.transaction():
                run = _start(session, job, node, key)
                # Between the last look and the claim another process may have finished it.
                is_known = is_cached and cache.get(ws, key.key) is not None
        except ConflictError:
            holders = runs.find(ws, kind="step", key=key.key, status="running")
        else:
            known = lookup.find(ws, key.key, ws.project_dir)[0] if is_known else None
            if known is not None:
                runs.finish(ws, run.id, "cached")
            return known or run
        if not any(process.is_alive(run) for run in holders):
            process.reap(ws)
            continue
        if not waits:
            session.listener(StepWaiting(key.name, holders[0].id))
        time.sleep(_PAUSES[min(waits, len(_PAUSES) - 1)])
        waits += 1


def cached(step: CachedStep) -> State:
    """A remembered step as the state of a job."""
    return _state("cached", step.run, outputs.of_cached(step), tuple(step.weak), 0.0)


def _start(session: Session, job: Job, node: Node, key: StepKey) -> Run:
    is_cached = node.step is not None and node.step.cache
    shown = {
        name.partition(":")[2]: value
        for name, value in key.components.items()
        if name.startswith("param:")
    }
    return runs.start(
        session.ws,
        "step",
        key.name,
        id=job.id,
        parent=session.run,
        key=key.key,
        concurrency_key=f"step:{key.key}" if is_cached else "",
        params=shown,
        cause={"reason": job.reason} if job.reason else {},
        tags={process.TAG: process.mark()},
        code=session.code,
        environment=session.environment,
    )


def _execute(
    session: Session, node: Node, key: StepKey, run: Run
) -> tuple[Outputs, list[Any], tuple[str, ...]]:
    if node.step is None:
        raise TypeError(f"{node.name} is a dataset")
    ws = session.ws
    arguments = session.arguments(node)
    watch = Watch(ws.project_dir, ws.root)
    with _talking(ws, run.id):
        token = context.active.set(Context(ws, run.id, key, session.listener))
        drawing = tracing.active.set(None)
        try:
            with watch:
                value = graph.call(node.step, arguments)
        finally:
            tracing.active.reset(drawing)
            context.active.reset(token)
    items, is_tuple = outputs.split(value)
    stored = [outputs.store(ws, item) for item in items]
    observed = watch.observed()
    weak = tuple(sorted({*key.weak, *watch.weak}))
    made = Outputs(
        tuple(one.digest for one in stored), tuple(one.codec for one in stored), is_tuple
    )
    _commit(session, node, key, run, stored, made, observed, weak)
    return made, items, weak


def _commit(
    session: Session,
    node: Node,
    key: StepKey,
    run: Run,
    stored: list[Stored],
    made: Outputs,
    observed: dict[str, str],
    weak: tuple[str, ...],
) -> None:
    """The blobs are there already; the record appears whole or not at all."""
    links = [
        Link(run=run.id, direction="out", name=_name(number, made), digest=one.digest)
        for number, one in enumerate(stored)
    ]
    links += [
        Link(run=run.id, direction="in", name=name, digest=digest)
        for name, digest in inputs(session, node)
    ]
    now = ids.now()
    remembered = CachedStep(
        key=key.key,
        run=run.id,
        name=key.name,
        outputs=list(made.digests),
        codecs=[outputs.TUPLE, *made.codecs] if made.is_tuple else list(made.codecs),
        components=key.components,
        observed=observed,
        weak=list(weak),
        created_at=now,
    )
    is_cached = node.step is not None and node.step.cache
    steps.finish(
        session.ws,
        run.id,
        artifacts=[
            Artifact(digest=one.digest, kind=one.codec, size=one.size, run=run.id, created_at=now)
            for one in stored
        ],
        links=links,
        remembered=lookup.rows(remembered) if is_cached else [],
        peak_bytes=process.peak_bytes(),
    )


def inputs(session: Session, node: Node) -> list[tuple[str, str]]:
    """Name and digest of everything that a step reads."""
    found = []
    for name, value in node.arguments.items():
        for ref in graph.refs(value):
            made = session.outputs[ref.node]
            items = range(len(made.digests)) if ref.item is None else (ref.item,)
            found += [(name, made.digests[item]) for item in items]
    return list(dict.fromkeys(found))


def _name(number: int, made: Outputs) -> str:
    return f"output-{number}" if made.is_tuple else "output"


def _state(status: Any, run: str, made: Outputs, weak: tuple[str, ...], seconds: float) -> State:
    return State(
        status=status,
        run=run,
        digests=made.digests,
        codecs=made.codecs,
        is_tuple=made.is_tuple,
        weak=weak,
        seconds=seconds,
    )


class _Tee(io.TextIOBase):
    """Passes text on to stderr, where logs go, and keeps the first part of it."""

    def __init__(self, onward: TextIO, kept: list[str]) -> None:
        self._onward = onward
        self._kept = kept
        self._room = MAX_LOG

    def write(self, text: str) -> int:
        """Write through."""
        if self._room > 0:
            self._kept.append(text[: self._room])
            self._room -= len(text)
        return self._onward.write(text)

    def flush(self) -> None:
        """Flush what it is passed on to."""
        self._onward.flush()

    def isatty(self) -> bool:
        """As what it is passed on to."""
        return self._onward.isatty()


@contextmanager
def _talking(ws: Workspace, run: str) -> Iterator[None]:
    """What the step prints goes to stderr and into the run's log, even when the step fails."""
    kept: list[str] = []
    onward = sys.stderr
    try:
        with redirect_stdout(_Tee(onward, kept)), redirect_stderr(_Tee(onward, kept)):
            yield
    finally:
        if kept:
            runs.link(ws, run, "out", LOG, ws.blobs.put("".join(kept).encode("utf-8", "replace")))
