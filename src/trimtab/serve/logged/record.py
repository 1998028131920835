"""What of scored requests goes into the prediction log: their frames, less what may not be kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import numpy as np

from trimtab.errors import InputError, StorageError, TrimtabError
from trimtab.model.several import packed
from trimtab.serve.folder import Settings
from trimtab.serve.job import Job, Scored, apart, narrow
from trimtab.serve.logged.frame import Frame, Part, TooLongError
from trimtab.serve.logged.log import Log
from trimtab.serve.logged.outcome import Outcome, columns_of
from trimtab.serve.logged.privacy import Sampling
from trimtab.serve.measured import skew
from trimtab.serve.metrics import Metrics
from trimtab.serve.reply import code_of, status_of
from trimtab.serve.router import Route

_FLOAT32: Final = np.dtype("<f4")


class Recorder:
    """Writes the log of one endpoint. `drops` says that a full disk refuses no answer."""

    def __init__(self, log: Log, settings: Settings, metrics: Metrics) -> None:
        self.log = log
        self._replays = Log(log.folder.parent / skew.CONTRACT, settings.name)
        self.name = settings.name
        self.drops = settings.disk_full == "drop"
        self._metrics = metrics
        self._sampling = Sampling.compile(settings.sample)

    @property
    def samples(self) -> bool:
        """Whether not every answer is logged."""
        return bool(self._sampling)

    def together(
        self,
        contract: str,
        route: Route,
        outcome: Outcome,
        ids: Sequence[str],
        now: int,
        latencies: Sequence[int],
    ) -> None:
        """Append requests of one row each, named as their predictions; microseconds.

        Raises StorageError, and then none of them was appended and none may be answered.
        """
        arrived = [now - one for one in latencies]
        parts = zip(ids, (1,) * len(ids), arrived, latencies, strict=True)
        frame = Frame(
            ids=tuple(ids),
            request=ids[0],
            received_at=arrived[0],
            endpoint=self.name,
            role=route.role,
            model=route.digest,
            label=route.label,
            contract=contract,
            latency_us=latencies[0],
            numbers=outcome.numbers,
            words=outcome.words,
            context=outcome.context,
            score=packed("f", [outcome.scores])[0],
            decision=outcome.decisions,
            # As tuples, which are written alike: a Part costs thrice as much.
            parts=tuple(parts) if len(ids) > 1 else (),  # type: ignore[arg-type]
        )
        self.log.append((frame,))

    def note(self, data: bytes) -> None:
        """Append a frame as bytes; raises StorageError, and then it may not be answered."""
        self.log.put(data)

    def keep(self, scored: Sequence[Scored]) -> StorageError | None:
        """Append what was scored, at once; an error means that none of it may be answered.

        A TooLongError of several requests says that fewer of them may be appended.
        """
        frames = self._frames(scored)
        if not frames:
            return None
        try:
            self._append(frames)
        except StorageError as error:
            is_several = sum(len(one.jobs) for one in scored) > 1
            if not self.drops or (is_several and isinstance(error, TooLongError)):
                return error
            rows = sum(frame.rows for frame in frames)
            self._metrics.add("unlogged_rows_total", rows, reason="disk")
        return None

    def keep_quietly(self, scored: Sequence[Scored]) -> None:
        """Append what no answer depends on: a full disk is counted and changes nothing."""
        frames = self._frames(scored)
        try:
            if frames:
                self._append(frames)
        except TooLongError:
            parts = apart(scored)
            for part in parts:
                self.keep_quietly([one for one in part if isinstance(one, Scored)])
            if not parts:
                self._metrics.add("unlogged_frames_total", 1)
        except StorageError:
            self._metrics.add("unlogged_frames_total", len(frames))

    def refusal(self, job: Job, error: TrimtabError) -> None:
        """Note a request that was refused for its content, or that the model failed on."""
        place = f" in {error.column}" if isinstance(error, InputError) and error.column else ""
        frame = Frame(
            ids=(),
            request=job.request,
            received_at=job.received_at,
            endpoint=self.name,
            role=job.route.role,
            model=job.route.digest,
            label=job.route.label,
            contract=job.contract.name,
            status=status_of(error),
            latency_us=int((time.perf_counter() - job.begun) * 1e6),
            error=code_of(error) + place,
        )
        self._append_quietly([frame])

    def _frames(self, scored: Sequence[Scored]) -> list[Frame]:
        sampled = self._sampling and any(
            one.jobs[0].contract.name != skew.CONTRACT for one in scored
        )
        kept = (self._sampled(one) if sampled else one for one in scored)
        return [self._frame(one) for one in kept if one is not None]

    def _sampled(self, one: Scored) -> Scored | None:
        """What was scored, less the requests that sampling leaves out."""
        route = one.jobs[0].route
        keeps, role, label = self._sampling.keeps, route.role, route.label
        stays = [keeps(role, label, job.request) for job in one.jobs]
        if all(stays):
            return one
        left = sum(job.count for job, kept in zip(one.jobs, stays, strict=True) if kept)
        gone = one.checked.count - left
        self._metrics.add("unlogged_rows_total", gone, reason="sampled")
        return narrow(one, stays) if any(stays) else None

    def _frame(self, one: Scored) -> Frame:
        first, checked, outputs = one.jobs[0], one.checked, one.outputs
        now = time.perf_counter()
        together = len(one.jobs) > 1
        route = first.route
        numbers, words, context = columns_of(route, checked)
        return Frame(
            ids=tuple([name for job in one.jobs for name in job.ids]) if together else first.ids,
            request=first.request,
            received_at=first.received_at,
            endpoint=self.name,
            role=route.role,
            model=route.digest,
            label=route.label,
            contract=first.contract.name,
            latency_us=int((now - first.begun) * 1e6),
            event_times=_times(one.jobs),
            numbers=numbers,
            words=words,
            context=context,
            score=outputs.score.astype(_FLOAT32, copy=False).tobytes(),
            width=outputs.score.shape[1] if outputs.score.ndim == 2 else 1,
            decision=outputs.decision,
            parts=_parts(one.jobs, now) if together else (),
        )

    def _append(self, frames: list[Frame]) -> None:
        """Frames of one contract; replayed rows must not be taken for traffic by who reads the log."""
        (self._replays if frames[0].contract == skew.CONTRACT else self.log).append(frames)

    def _append_quietly(self, frames: list[Frame]) -> None:
        """Log what no answer depends on: a full disk is counted and does not change the answer."""
        try:
            self._append(frames)
        except StorageError:
            self._metrics.add("unlogged_frames_total", len(frames))


def _parts(jobs: Sequence[Job], now: float) -> tuple[Part, ...]:
    return tuple(
        [
            Part(job.request, job.count, job.received_at, int((now - job.begun) * 1e6))
            for job in jobs
        ]
    )


def _times(jobs: Sequence[Job]) -> tuple[int, ...]:
    """The event time of each row, or empty where all are the time of arrival."""
    if not any(job.event_times for job in jobs):
        return ()
    return tuple(time for job in jobs for time in job.event_times or (job.received_at,) * job.count)
