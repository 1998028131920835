"""The contract of an executor as tests: subclass `ExecutorConformance` and give it your factory.

class TestMine(ExecutorConformance):
    factory = staticmethod(MyExecutor)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Final

from trimtab import config, ids
from trimtab.errors import NotFoundError
from trimtab.pipeline import graph, load, outputs
from trimtab.pipeline.executors import Executor, Factory
from trimtab.pipeline.job import Input, Job, State
from trimtab.pipeline.outputs import Outputs
from trimtab.pipeline.session import Session
from trimtab.store import cache, runs
from trimtab.store.workspace import open_workspace

MODULE: Final = "executor_contract"
CODE: Final = """
import time
from trimtab import flow, step

@step
def greet(name: str) -> str:
    print("hello", name)
    return "hello " + name

@step
def shout(text: str) -> str:
    return text.upper()

@step
def fail(text: str) -> str:
    raise ValueError("cannot do " + text)

@step
def wait(seconds: float) -> str:
    time.sleep(seconds)
    return "waited"

@flow
def work(name: str = "you", seconds: float = 60.0):
    text = greet(name)
    return [shout(text), fail(text), wait(seconds)]
"""
NODES: Final = {"greet": 0, "shout": 1, "fail": 2, "wait": 3}


class ExecutorConformance:
    """What every executor must do.

    `timeout` is how long a job of a moment may take, in seconds; `is_async` says whether `submit`
    returns before the job is over.
    """

    timeout: ClassVar[float] = 60.0
    is_async: ClassVar[bool] = True

    def make(self, session: Session) -> Executor:
        """The executor to test."""
        raise NotImplementedError

    def test_a_job_runs_and_its_result_is_in_the_store(self, tmp_path: Path) -> None:
        with _executor(self.make, tmp_path) as (executor, session):
            state = self._wait(executor, executor.submit(_job(session, "greet")))
            assert state.status == "done"
            assert _value(session, state) == "hello you"
            run = runs.get(session.ws, state.run)
            assert (run.status, run.kind, run.name) == ("done", "step", "greet")

    def test_a_job_reads_the_output_of_another(self, tmp_path: Path) -> None:
        with _executor(self.make, tmp_path) as (executor, session):
            made = self._wait(executor, executor.submit(_job(session, "greet")))
            session.outputs[0] = Outputs(made.digests, made.codecs, made.is_tuple)
            state = self._wait(executor, executor.submit(_job(session, "shout")))
            assert _value(session, state) == "HELLO YOU"

    def test_a_job_that_is_known_is_not_run_again(self, tmp_path: Path) -> None:
        with _executor(self.make, tmp_path) as (executor, session):
            first = self._wait(executor, executor.submit(_job(session, "greet")))
            again = self._wait(executor, executor.submit(_job(session, "greet")))
            assert (again.status, again.run) == ("cached", first.run)
            assert again.digests == first.digests

    def test_a_failure_is_data(self, tmp_path: Path) -> None:
        with _executor(self.make, tmp_path) as (executor, session):
            made = self._wait(executor, executor.submit(_job(session, "greet")))
            session.outputs[0] = Outputs(made.digests, made.codecs, made.is_tuple)
            job = _job(session, "fail")
            state = self._wait(executor, executor.submit(job))
            assert state.status == "failed"
            assert state.error is not None
            assert state.error["type"] == "ValueError"
            assert state.error["message"] == "cannot do hello you"
            assert f"{MODULE}.py:" in state.error["where"]
            assert "Traceback" in state.error["traceback"]
            assert runs.get(session.ws, job.id).status == "failed"
            assert cache.get(session.ws, job.key) is None

    def test_what_a_job_prints_is_in_its_log(self, tmp_path: Path) -> None:
        with _executor(self.make, tmp_path) as (executor, session):
            handle = executor.submit(_job(session, "greet"))
            self._wait(executor, handle)
            assert "hello you" in executor.logs(handle)

    def test_many_are_polled_at_once_and_stay_over(self, tmp_path: Path) -> None:
        with _executor(self.make, tmp_path) as (executor, session):
            handles = [executor.submit(_job(session, "greet")) for _ in range(2)]
            for handle in handles:
                self._wait(executor, handle)
            states = executor.poll(handles)
            assert set(states) == set(handles)
            assert executor.poll(handles) == states
            executor.cancel(handles[0])
            assert executor.poll(handles) == states

    def test_a_job_can_be_cancelled(self, tmp_path: Path) -> None:
        with _executor(self.make, tmp_path, seconds=60.0 if self.is_async else 0.0) as both:
            executor, session = both
            job = _job(session, "wait")
            handle = executor.submit(job)
            while self.is_async and not runs.find(session.ws, kind="step", name="wait"):
                time.sleep(0.02)
            executor.cancel(handle)
            state = executor.poll([handle])[handle]
            assert state.status == ("cancelled" if self.is_async else "done")
            assert runs.get(session.ws, job.id).status == state.status

    def test_an_unknown_handle_is_told(self, tmp_path: Path) -> None:
        with _executor(self.make, tmp_path) as (executor, _):
            asks: list[Callable[[], object]] = [
                lambda: executor.poll(["nothing"]),
                lambda: executor.cancel("nothing"),
                lambda: executor.logs("nothing"),
            ]
            for ask in asks:
                assert _raises_not_found(ask)

    def test_edited_code_never_runs_under_the_old_key(self, tmp_path: Path) -> None:
        with _executor(self.make, tmp_path) as (executor, session):
            job = _job(session, "greet")
            file = tmp_path / f"{MODULE}.py"
            file.write_text(CODE.replace('"hello " + name', '"bye " + name'))
            state = self._wait(executor, executor.submit(job))
            if state.status == "done":  # it runs the code that was loaded, not the file
                assert _value(session, state) == "hello you"
            else:
                assert state.error is not None
                assert "changed after the run began" in state.error["message"]

    def _wait(self, executor: Executor, handle: str) -> State:
        until = time.monotonic() + self.timeout
        while True:
            state = executor.poll([handle])[handle]
            if state.is_over:
                return state
            assert time.monotonic() < until, f"job {handle} does not end"
            time.sleep(0.02)


@contextmanager
def _executor(
    factory: Factory, folder: Path, seconds: float = 60.0
) -> Iterator[tuple[Executor, Session]]:
    (folder / f"{MODULE}.py").write_text(CODE)
    load.forget(folder)
    found = config.parse({"project": {"name": "contract"}})
    flow = load.load_flow(f"{MODULE}:work", folder)
    ws = open_workspace(folder, "contract")
    drawn = graph.draw(flow, found, {"seconds": seconds})
    session = Session(ws=ws, config=found, graph=drawn, folder=folder)
    executor = factory(session)
    try:
        yield executor, session
    finally:
        executor.close()
        load.forget(folder)
        ws.close()


def _job(session: Session, step: str) -> Job:
    node = session.graph.nodes[NODES[step]]
    inputs = tuple(
        Input(node=ref.node, digests=one.digests, codecs=one.codecs, is_tuple=one.is_tuple)
        for ref in node.inputs
        for one in (session.outputs[ref.node],)
    )
    return Job(
        id=ids.new_id(),
        step=step,
        key=session.key(node).key,
        flow=f"{MODULE}:work",
        node=node.number,
        project_dir=str(session.ws.project_dir),
        folder=str(session.folder),
        project=session.ws.project_name,
        config=session.config,
        params=dict(session.graph.params),
        inputs=inputs,
    )


def _value(session: Session, state: State) -> object:
    made = Outputs(state.digests, state.codecs, state.is_tuple)
    return outputs.load(session.ws, made)


def _raises_not_found(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except NotFoundError:
        return True
    return False
