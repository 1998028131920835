"""`python -m trimtab.pipeline.worker JOB.json`: runs one job and writes its result beside it.

The result is written when the store has the record, and whole or not at all. SIGTERM ends the step
like Ctrl-C: its run is marked cancelled.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import NoReturn

import msgspec

from trimtab.errors import ConflictError, UsageError
from trimtab.pipeline import blame, graph, load, perform
from trimtab.pipeline.heartbeat import Heartbeat
from trimtab.pipeline.job import Job, State
from trimtab.pipeline.outputs import Outputs
from trimtab.pipeline.processes import RESULT
from trimtab.pipeline.session import Session
from trimtab.store.workspace import open_workspace


def work(job: Job) -> State:
    """Run a job; its failure is in the state, Ctrl-C goes through."""
    try:
        session = _session(job)
        node = session.graph.nodes[job.node]
        key = session.key(node)
        if key.key != job.key:
            raise ConflictError(
                f"the code of step {job.step} changed after the run began",
                hint="run it again: finished steps are kept",
            )
    except Exception as error:
        return State(status="failed", run=job.id, error=blame.as_data(error))
    with Heartbeat(session.ws) as heart:
        heart.add(job.id)
        state, _ = perform.perform(session, job, node, key)
    return state


def _session(job: Job) -> Session:
    ws = open_workspace(Path(job.project_dir), job.project)
    flow = load.load_flow(job.flow, Path(job.folder))
    session = Session(
        ws=ws,
        config=job.config,
        graph=graph.draw(flow, job.config, job.params),
        run=job.parent,
        code=job.code,
        environment=job.environment,
    )
    for one in job.inputs:
        session.outputs[one.node] = Outputs(one.digests, one.codecs, one.is_tuple)
    return session


def _stop(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def main(argv: list[str]) -> int:
    """Run the job of a file; the exit code says whether there is a result."""
    if len(argv) != 1:
        raise UsageError("usage: python -m trimtab.pipeline.worker JOB.json")
    path = Path(argv[0])
    signal.signal(signal.SIGTERM, _stop)
    job = msgspec.json.decode(path.read_bytes(), type=Job)
    try:
        state = work(job)
    except KeyboardInterrupt:
        state = State(status="cancelled", run=job.id)
    staged = path.with_name(f".{RESULT}")
    staged.write_bytes(msgspec.json.encode(state))
    staged.replace(path.with_name(RESULT))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
