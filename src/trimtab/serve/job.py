"""A prediction request on its way: read, waiting to be scored together with others, and scored."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from trimtab.errors import ModelError, TrimtabError
from trimtab.model.load import Outputs
from trimtab.serve.answer import Call, Contract
from trimtab.serve.protocols import parse
from trimtab.serve.protocols.parse import Checked
from trimtab.serve.reply import Refusal
from trimtab.serve.router import Route, Table
from trimtab.serve.shell.fast import Taken

_said: Final = logging.getLogger("trimtab.serve")


class Job(msgspec.Struct, eq=False):
    """A request that was read, with the route that answers it.

    Its rows are `taken` (the short way) or `checked`. `ids` are their prediction ids, `event_times`
    in microseconds or empty. `received_at` is in microseconds, `begun` of perf_counter. `told` are
    headers for the answer. Whoever waits for the answer sets `gone` when nobody does any more.
    """

    request: str
    contract: Contract
    call: Call
    table: Table
    route: Route
    received_at: int
    begun: float
    ids: tuple[str, ...]
    taken: Taken | None = None
    checked: Checked | None = None
    event_times: tuple[int, ...] = ()
    options: Any = None
    told: dict[str, str] | None = None
    gone: bool = False

    @property
    def count(self) -> int:
        """How many rows it has."""
        return len(self.ids)


class Scored(msgspec.Struct, frozen=True, eq=False):
    """Jobs of one route and contract that were scored together, their rows in order.

    `waited` and `spent` are seconds before and in the model; `runs` counts its calls.
    """

    jobs: Sequence[Job]
    checked: Checked
    outputs: Outputs
    waited: float
    spent: float
    runs: int


class Failed(msgspec.Struct, frozen=True, eq=False):
    """A job that cannot be answered, and why."""

    job: Job
    error: TrimtabError


def score(jobs: Sequence[Job]) -> list[Scored | Failed]:
    """Score jobs of one route and contract as one table, in their order. Raises nothing.

    What fails together is tried one by one, so that no request fails for another's rows. Touches
    nothing but the jobs: it may run in a thread.
    """
    begun = time.perf_counter()
    if len(jobs) > 1:
        try:
            checked = _gather(jobs)
            if checked is not None:
                return [_predicted(jobs, checked, begun)]
        except TrimtabError:
            pass
    return [_score_one(job) for job in jobs]


def _score_one(job: Job) -> Scored | Failed:
    begun = time.perf_counter()
    try:
        return _predicted((job,), job.checked or _pack((job,)) or ordinary(job), begun)
    except ModelError as error:
        return Failed(job, Refusal(500, "model", error.message, hint=error.hint))
    except TrimtabError as error:
        return Failed(job, error)
    except Exception:
        _said.exception("request %s failed", job.request)
        return Failed(job, Refusal(500, "internal", "the endpoint failed on this request"))


def ordinary(job: Job) -> Checked:
    """A job's rows, read and checked the ordinary way; raises Refusal or InputError."""
    rows = job.contract.read(job.call, job.route.model.signature)
    return job.route.checker.check(rows, job.table.known)


def _predicted(jobs: Sequence[Job], checked: Checked, begun: float) -> Scored:
    outputs, runs = predict(jobs[0].route, checked)
    spent = time.perf_counter() - begun
    return Scored(jobs, checked, outputs, begun - jobs[0].begun, spent, runs)


def predict(route: Route, checked: Checked) -> tuple[Outputs, int]:
    """Score rows in pieces of the size that is cheapest for the model; also how many pieces."""
    most, count = route.most, checked.count
    words = list(checked.words.values())
    if count <= most:
        return route.model.predict_packed(checked.numbers, words), 1
    found = [
        route.model.predict_packed(
            checked.numbers[:, start : start + most],
            [column[start : start + most] for column in words],
        )
        for start in range(0, count, most)
    ]
    decisions = [one for part in found for one in part.decision]
    return Outputs(np.concatenate([part.score for part in found]), decisions), len(found)


def narrow(one: Scored, stays: Sequence[bool]) -> Scored:
    """The same without some of its jobs."""
    left: list[Job] = []
    parts: list[Checked] = []
    places: list[int] = []
    start = 0
    for job, is_kept in zip(one.jobs, stays, strict=True):
        end = start + job.count
        if is_kept:
            left.append(job)
            parts.append(one.checked.take(start, end))
            places += range(start, end)
        start = end
    outputs = Outputs(one.outputs.score[places], [one.outputs.decision[at] for at in places])
    return msgspec.structs.replace(one, jobs=left, checked=parse.join(parts), outputs=outputs)


def apart(scored: Sequence[Scored | Failed]) -> list[list[Scored | Failed]]:
    """The same in two parts, by requests and in their order; none where it is one request."""
    if len(scored) > 1:
        half = len(scored) // 2
        return [list(scored[:half]), list(scored[half:])]
    one = scored[0]
    if isinstance(one, Failed) or len(one.jobs) < 2:
        return []
    is_first = [place < len(one.jobs) // 2 for place in range(len(one.jobs))]
    rest = narrow(one, [not first for first in is_first])
    return [[narrow(one, is_first)], [msgspec.structs.replace(rest, runs=0)]]


def _gather(jobs: Sequence[Job]) -> Checked | None:
    """The rows of all jobs in order, None where rows taken the short way need a look each."""
    if all(job.checked is None for job in jobs):
        return _pack(jobs)
    parts = []
    for job in jobs:
        part = job.checked or _pack((job,))
        if part is None:
            return None
        parts.append(part)
    return parse.join(parts)


def _pack(jobs: Sequence[Job]) -> Checked | None:
    taken = [job.taken for job in jobs if job.taken is not None]
    return jobs[0].route.fast.pack(taken) if len(taken) == len(jobs) else None
