"""A step call as data: what an executor takes, and what it tells of it.

A job names code, never carries it: the worker imports the flow, draws it again and runs node number
`node`. It refuses where the key it works out is not the job's, so edited code never runs under the
key of the code before.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from trimtab.config import Config

JobStatus = Literal["running", "done", "cached", "failed", "cancelled"]


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """The outputs of a node that a job reads: digests, and the codec of each."""

    node: int
    digests: tuple[str, ...]
    codecs: tuple[str, ...]
    is_tuple: bool = False


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A step to run. `id` becomes the id of its run; `parent` is the flow's run; `folder` holds the
    code.
    """

    id: str
    step: str
    key: str
    flow: str
    node: int
    project_dir: str
    folder: str
    project: str
    config: Config
    argv: tuple[str, ...] = ()
    params: dict[str, Any] = {}
    inputs: tuple[Input, ...] = ()
    parent: str = ""
    code: str = ""
    environment: str = ""
    reason: str = ""
    resources: dict[str, float] = {}


class State(msgspec.Struct, frozen=True, kw_only=True):
    """How a job stands. `run` is the run that made the outputs, the job's own or an earlier one."""

    status: JobStatus
    run: str = ""
    digests: tuple[str, ...] = ()
    codecs: tuple[str, ...] = ()
    is_tuple: bool = False
    weak: tuple[str, ...] = ()
    error: dict[str, Any] | None = None
    seconds: float = 0.0

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.status != "running"
