"""The executor port: where a job runs. Strangers register a factory in the group "executors".

`inline` runs in this process, one job after the other. `process` runs each job in a process of its
own and several at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from trimtab import plugins
from trimtab.pipeline.job import Job, State
from trimtab.pipeline.session import Session


class Executor(Protocol):
    """A place where jobs run; made for one session.

    `submit` returns a handle at once or after the job ended, and raises PipelineError where it
    cannot be started. `poll` tells how jobs stand, by handle; a job that is over stays so, a job
    whose process died is "failed" and says so. `cancel` returns when the job runs no more, and does
    nothing to one that is over. `logs` is what it has printed so far. An unknown handle raises
    NotFoundError. `close` lets go of what is left; the store keeps results and logs. `slots` is how
    many jobs may run at once. `trimtab.testing.executors.ExecutorConformance` is the contract as
    tests.
    """

    slots: int

    def submit(self, job: Job) -> str:
        """Start a job and return its handle."""
        ...

    def poll(self, handles: Sequence[str]) -> dict[str, State]:
        """How jobs stand."""
        ...

    def cancel(self, handle: str) -> None:
        """Stop a job."""
        ...

    def logs(self, handle: str) -> str:
        """What a job printed."""
        ...

    def failure(self, handle: str) -> BaseException | None:
        """The exception of a failed job, where it happened in this process."""
        ...

    def close(self) -> None:
        """Let go of what is left."""
        ...


Factory = Callable[[Session], Executor]

plugins.register("executors", "inline", "trimtab.pipeline.inline:Inline")
plugins.register("executors", "process", "trimtab.pipeline.processes:Processes")


def make(name: str, session: Session) -> Executor:
    """The executor called `name` for a session; raises NotFoundError."""
    factory: Factory = plugins.get("executors", name)
    return factory(session)
