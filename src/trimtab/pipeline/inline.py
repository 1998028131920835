"""The executor that runs jobs in this process, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from trimtab.errors import NotFoundError
from trimtab.pipeline import perform
from trimtab.pipeline.job import Job, State
from trimtab.pipeline.session import Session
from trimtab.store import runs


class Inline:
    """Runs a job while it is submitted."""

    slots = 1

    def __init__(self, session: Session) -> None:
        self._session = session
        self._states: dict[str, State] = {}
        self._failures: dict[str, BaseException | None] = {}

    def submit(self, job: Job) -> str:
        """Run the job; Ctrl-C goes through."""
        node = self._session.graph.nodes[job.node]
        key = self._session.key(node)
        state, failure = perform.perform(self._session, job, node, key)
        self._states[job.id], self._failures[job.id] = state, failure
        return job.id

    def poll(self, handles: Sequence[str]) -> dict[str, State]:
        """How jobs ended."""
        return {handle: self._state(handle) for handle in handles}

    def cancel(self, handle: str) -> None:
        """Nothing: the job is over."""
        self._state(handle)

    def logs(self, handle: str) -> str:
        """What the job printed."""
        run = self._state(handle).run
        for link in runs.links(self._session.ws, run):
            if (link.direction, link.name) == ("out", perform.LOG):
                return self._session.ws.blobs.read(link.digest).decode()
        return ""

    def failure(self, handle: str) -> BaseException | None:
        """The exception of a failed job."""
        return self._failures.get(handle)

    def close(self) -> None:
        """Nothing is left."""

    def _state(self, handle: str) -> State:
        if handle not in self._states:
            raise NotFoundError(f"there is no job {handle}")
        return self._states[handle]
