"""Concept drift on late labels: an e-detector on errors beyond what the model itself expects.

Each labelled row is held against its own calibrated probability, so inputs that move to harder
ground raise nothing; only a changed meaning of the inputs does. State is a plain record, updates
are pure.

Shiryaev-Roberts e-detectors (Shin, Ramdas and Rinaldo, NEJSDS 2024, arXiv 2203.03532): with
M_t = (M_{t-1} + 1) * L_t, L_t of mean at most 1 given the past, the first t with M_t >= A comes
after A rows on average or later, whatever the dependence between rows. L_t is the exponential tilt
exp(d*o_t) / (1 + u_t*(exp(d) - 1)), of mean at most 1 while P(o_t = 1 | past) <= u_t; its logarithm
is lowered for the finite withheld sample (`_allowance`). M is averaged over streams and tilts d.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.errors import DataError, UsageError
from trimtab.monitor.outcomes.calibration import Calibration, cell_of, chance, checked, variances
from trimtab.monitor.statistics import adwin
from trimtab.monitor.statistics.adwin import Adwin

Floats = NDArray[np.float64]
Stream = Literal["errors", "more", "fewer"]

TILTS: Final = (0.1, 0.2, 0.4, 0.8, 1.6)
_BORROWED: Final = 200.0
_BLOCK: Final = 8_192
REMEMBERED: Final = 64


class Track(msgspec.Struct, frozen=True, kw_only=True):
    """One stream at one tilt: the detector's log(1 + M), and where its evidence was lowest.

    `path` is the summed log L since the start, `low` its minimum, reached after `row` rows (at time
    `time`), when `seen` outcomes of an `expected` number had been counted.
    """

    stream: Stream
    tilt: float
    evidence: float = 0.0
    path: float = 0.0
    low: float = 0.0
    row: int = 0
    time: int | None = None
    seen: float = 0.0
    expected: float = 0.0


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """The first crossing: at row `at`, for a change estimated after row `since`.

    `seen` of the `rows` rows from then to the crossing had the outcome of `stream`, where
    `expected` were expected. Times are the caller's, where given.
    """

    stream: Stream
    at: int
    since: int
    at_time: int | None
    since_time: int | None
    rows: int
    seen: float
    expected: float


class Stretch(NamedTuple):
    """A batch that was fed: the time of its first row (or that row), its rows, and per stream how
    many outcomes it had, were expected, and their variance.
    """

    start: int
    rows: int
    seen: tuple[float, ...]
    expected: tuple[float, ...]
    variance: tuple[float, ...]


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm whose cause was gone from the batch that began at `until` on."""

    alarm: Alarm
    until: int


class ConceptState(msgspec.Struct, frozen=True, kw_only=True):
    """The detector between two batches of labels; encode it with msgspec.

    `run_length` is the mean number of rows between false alarms that is kept. `margin` is the
    excess of errors (a share of rows) that is tolerated, `caution` the standard errors of the
    withheld sample that are granted to the model. `course` holds the last 64 batches, `ended` the
    alarms that were over, `second` another view of the first stream's outcomes.
    """

    run_length: float
    margin: float
    caution: float
    threshold: float
    tracks: tuple[Track, ...]
    rows: int = 0
    seen: tuple[float, ...] = ()
    expected: tuple[float, ...] = ()
    alarm: Alarm | None = None
    course: tuple[Stretch, ...] = ()
    ended: tuple[Ended, ...] = ()
    second: Adwin = Adwin()


class _Outcomes(NamedTuple):
    """A stream's outcomes, their expected probabilities and the allowance per row and tilt."""

    outcome: Floats
    chance: Floats
    allowance: dict[float, Floats]


class _Run(NamedTuple):
    """A block's sums of log L and log M (tracks x rows) and running totals per stream."""

    path: Floats
    log_m: Floats
    seen: dict[Stream, Floats]
    expected: dict[Stream, Floats]
    times: NDArray[np.int64] | None
    before: int

    def time(self, row: int) -> int | None:
        return None if self.times is None else int(self.times[row])


def start(
    run_length: float,
    *,
    streams: Sequence[Stream] = ("errors", "more", "fewer"),
    margin: float = 0.01,
    caution: float = 3.0,
    threshold: float = 0.5,
) -> ConceptState:
    """A fresh detector.

    A binary classifier uses all three streams: wrong decisions "score >= `threshold`", more and
    fewer events than expected. A multi-class model whose event is a correct answer uses ("fewer",),
    a regression whose event is a large error ("more",). Take `run_length` from `budget.run_length`.
    """
    if run_length <= 1 or not streams or margin < 0 or caution < 0:
        raise UsageError(
            "a detector needs a run length above 1, a stream, and no negative margin or caution",
            hint="budget.run_length(Budget(), rows_per_month) gives the run length",
        )
    tracks = tuple(Track(stream=stream, tilt=tilt) for stream in streams for tilt in TILTS)
    return ConceptState(
        run_length=run_length,
        margin=margin,
        caution=caution,
        threshold=threshold,
        tracks=tracks,
        seen=(0.0,) * len(streams),
        expected=(0.0,) * len(streams),
    )


def update(
    state: ConceptState,
    calibration: Calibration,
    scores: NDArray[Any],
    events: NDArray[Any],
    *,
    times: NDArray[np.int64] | None = None,
) -> ConceptState:
    """The state after a batch of labelled rows in order: `scores`, and `events` 0 or 1.

    Feed whole batches (a day's labels), each once. The alarm is the first crossing and stays; after
    a new model start afresh. Raises DataError on rows that do not pair up.
    """
    score, event = checked(scores, events)
    if times is not None and len(times) != len(score):
        raise DataError(f"there are {len(times)} times for {len(score)} labelled rows")
    if len(score) == 0:
        return state
    streams = {
        stream: _outcomes(state, calibration, score, event, stream) for stream in streams_of(state)
    }
    first_row = state.rows if times is None else int(times[0])
    known = list(streams.values())
    batch = Stretch(
        start=first_row,
        rows=len(score),
        seen=tuple(float(one.outcome.sum()) for one in known),
        expected=tuple(float(one.chance.sum()) for one in known),
        variance=tuple(float((one.chance * (1 - one.chance)).sum()) for one in known),
    )
    for first in range(0, len(score), _BLOCK):
        block = slice(first, first + _BLOCK)
        state = _advance(state, streams, block, None if times is None else times[block])
    return msgspec.structs.replace(
        state,
        course=(*state.course, batch)[-REMEMBERED:],
        second=adwin.update(state.second, known[0].outcome.tolist()),
    )


def progress(state: ConceptState) -> float:
    """How close the detector is to its alarm: log M over log run length; at 1 it alarms."""
    top = max(track.evidence for track in state.tracks)
    level = top + float(np.log(np.mean([np.exp(t.evidence - top) for t in state.tracks])))
    return level / float(np.log(state.run_length))


def streams_of(state: ConceptState) -> list[Stream]:
    """The streams of a detector, in the order of its sums."""
    return list(dict.fromkeys(track.stream for track in state.tracks))


def _outcomes(
    state: ConceptState, calibration: Calibration, score: Floats, event: Floats, stream: Stream
) -> _Outcomes:
    """A stream's outcomes and what the calibration expects of them."""
    p, cells = chance(calibration, score), cell_of(calibration, score)
    flip = np.zeros(len(score), dtype=np.bool_)
    if stream == "fewer":
        flip[:] = True
    elif stream == "errors":
        flip = score >= state.threshold
    expected = np.where(flip, 1 - p, p)
    allowance = {
        tilt: _allowance(state, calibration, cells, flip, expected, tilt) for tilt in TILTS
    }
    return _Outcomes(np.where(flip, 1 - event, event), expected, allowance)


def _allowance(
    state: ConceptState,
    calibration: Calibration,
    cells: NDArray[np.int64],
    flip: NDArray[np.bool_],
    expected: Floats,
    tilt: float,
) -> Floats:
    """What each row's log L is lowered by, because the expected probability is itself estimated.

    With c = exp(d) - 1, log(1 + p*c) <= log(1 + q*c) + (p - q)*w, w = c/(1 + q*c), so the true
    probabilities p may exceed the calibrated q by as much as the batch's sum of (p - q)*w allows:
    the margin for each row, and `caution` standard errors of that sum. Cell errors are independent,
    so the standard error is the root of summed squares over cells; each row carries its gradient. A
    batch smaller than 200 rows borrows the withheld mix.
    """
    weight = np.expm1(tilt) / (1 + expected * np.expm1(tilt))
    pull = np.bincount(
        cells, weights=np.where(flip, -weight, weight), minlength=len(calibration.rows)
    )
    share = np.array(calibration.rows) / calibration.total
    usual = share * np.expm1(tilt) / (1 + float(expected.mean()) * np.expm1(tilt))
    pull = np.abs(pull) + max(0.0, _BORROWED - len(cells)) * usual
    variance = variances(calibration)
    error = float(np.sqrt(pull**2 @ variance))
    slope = pull * variance / error if error > 0 else np.zeros_like(pull)
    result: Floats = weight * (state.margin + state.caution * slope[cells])
    return result


def _advance(
    state: ConceptState,
    streams: dict[Stream, _Outcomes],
    block: slice,
    times: NDArray[np.int64] | None,
) -> ConceptState:
    """The state after one block of rows."""
    steps = np.stack([_log_ratio(streams[t.stream], t.tilt, block) for t in state.tracks])
    path = np.cumsum(steps, axis=1)
    run = _Run(
        path=path + np.array([[track.path] for track in state.tracks]),
        log_m=_shiryaev_roberts(path, np.array([track.evidence for track in state.tracks])),
        seen={
            n: state.seen[i] + np.cumsum(streams[n].outcome[block])
            for i, n in enumerate(streams_of(state))
        },
        expected={
            n: state.expected[i] + np.cumsum(streams[n].chance[block])
            for i, n in enumerate(streams_of(state))
        },
        times=times,
        before=state.rows,
    )
    last = steps.shape[1] - 1
    crossed = np.flatnonzero(_mean_log(run.log_m) >= np.log(state.run_length))
    alarm = state.alarm
    if alarm is None and crossed.size:
        alarm = _alarm(state, run, int(crossed[0]))
    return msgspec.structs.replace(
        state,
        tracks=tuple(_follow(track, run, i, last) for i, track in enumerate(state.tracks)),
        rows=state.rows + last + 1,
        seen=tuple(float(total[last]) for total in run.seen.values()),
        expected=tuple(float(total[last]) for total in run.expected.values()),
        alarm=alarm,
    )


def _follow(track: Track, run: _Run, place: int, end: int) -> Track:
    """A track carried to row `end` of a block."""
    now = msgspec.structs.replace(
        track,
        evidence=float(np.logaddexp(run.log_m[place, end], 0.0)),
        path=float(run.path[place, end]),
    )
    at = int(run.path[place, : end + 1].argmin())
    if run.path[place, at] >= track.low:
        return now
    return msgspec.structs.replace(
        now,
        low=float(run.path[place, at]),
        row=run.before + at + 1,
        time=run.time(at),
        seen=float(run.seen[track.stream][at]),
        expected=float(run.expected[track.stream][at]),
    )


def _alarm(state: ConceptState, run: _Run, end: int) -> Alarm:
    """The crossing at row `end` of a block: the stream of the track that carries most evidence, since
    the lowest point of the one of its tracks whose rows since then are likeliest to have changed.

    The track that crosses has often seen a lucky few: a large tilt dates a change late and too large.
    """
    worst = state.tracks[int(run.log_m[:, end].argmax())].stream
    tracks = [
        _follow(one, run, place, end)
        for place, one in enumerate(state.tracks)
        if one.stream == worst
    ]
    now = (run.before + end + 1, run.seen[worst][end], run.expected[worst][end])
    track = max(tracks, key=lambda one: _deviance(*now, since=one))
    at = run.before + end + 1
    return Alarm(
        stream=track.stream,
        at=at,
        since=track.row,
        at_time=run.time(end),
        since_time=track.time,
        rows=at - track.row,
        seen=float(run.seen[track.stream][end]) - track.seen,
        expected=float(run.expected[track.stream][end]) - track.expected,
    )


def _deviance(at: int, seen: float, expected: float, *, since: Track) -> float:
    """How much likelier the rows since a track was lowest are at their own share of outcomes than at the
    expected one (logarithm).
    """
    rows, hits, usual = at - since.row, seen - since.seen, expected - since.expected
    found = 0.0
    for count, ordinary in ((hits, usual), (rows - hits, rows - usual)):
        if count > 0 and ordinary > 0:
            found += count * float(np.log(count / ordinary))
    return found


def _log_ratio(stream: _Outcomes, tilt: float, block: slice) -> Floats:
    """The log of L for each row."""
    result: Floats = (
        tilt * stream.outcome[block]
        - np.log1p(stream.chance[block] * np.expm1(tilt))
        - stream.allowance[tilt][block]
    )
    return result


def _shiryaev_roberts(path: Floats, evidence: Floats) -> Floats:
    """The log of M after each row (tracks x rows), from summed log L and log(1 + M) before.

    M_t = exp(S_t) * (1 + M_0 + the sum over 0 < s < t of exp(-S_s)).
    """
    before = np.concatenate([evidence[:, None], -path[:, :-1]], axis=1)
    result: Floats = path + np.logaddexp.accumulate(before, axis=1)
    return result


def _mean_log(evidence: Floats) -> Floats:
    """The logarithm of the mean of M over tracks, per row."""
    top = evidence.max(axis=0)
    result: Floats = top + np.log(np.exp(evidence - top).mean(axis=0))
    return result
