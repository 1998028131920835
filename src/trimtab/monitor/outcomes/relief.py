"""When a concept drift is over: what labelled batches show after the alarm that it gave."""

from __future__ import annotations

import msgspec

from trimtab.monitor.outcomes import concept
from trimtab.monitor.outcomes.concept import Alarm, ConceptState, Ended, Stretch
from trimtab.monitor.statistics.tails import normal_isf


def over(state: ConceptState) -> ConceptState:
    """The state with its alarm ended, where the last two batches show that its cause is gone.

    The detector then begins afresh, and what comes next is an alarm of its own.
    """
    alarm, last = state.alarm, state.course[-2:]
    if alarm is None or len(last) < 2:
        return state
    if last[0].start <= (alarm.at if alarm.at_time is None else alarm.at_time):
        return state
    place = concept.streams_of(state).index(alarm.stream)
    had = _excess_since(state, alarm, place)
    rows = sum(one.rows for one in last)
    excess = sum(one.seen[place] - one.expected[place] for one in last) / rows
    spread = sum(one.variance[place] for one in last) ** 0.5 / rows
    if not is_gone(excess, spread, had, state.margin):
        return state
    first = last[0] if _excess(last[0], place) < had / 2 else last[1]
    # what comes next began after these batches, not with the first row there ever was
    now = None if alarm.at_time is None else last[1].start
    fresh = concept.start(
        state.run_length,
        streams=concept.streams_of(state),
        margin=state.margin,
        caution=state.caution,
        threshold=state.threshold,
    )
    return msgspec.structs.replace(
        fresh,
        rows=state.rows,
        tracks=tuple(
            msgspec.structs.replace(one, row=state.rows, time=now) for one in fresh.tracks
        ),
        course=state.course,
        ended=(*state.ended, Ended(alarm=alarm, until=first.start))[-concept.REMEMBERED :],
        second=state.second,
    )


def is_gone(excess: float, spread: float, had: float, margin: float) -> bool:
    """Whether an `excess` of outcomes a row, with its standard error, lies at 99 % under half of what it
    `had` been, and is not itself above the margin.

    The rows that gave an alarm were the worst, so half of what they showed may be all there is.
    """
    noise = normal_isf(0.01) * spread
    return excess + noise < had / 2 and excess - noise <= margin


def _excess_since(state: ConceptState, alarm: Alarm, place: int) -> float:
    """The excess a row since an alarm's cause began and before the last two batches; what gave the
    alarm where no batch began since. The rows that gave it were the worst.
    """
    begun = alarm.since if alarm.since_time is None else alarm.since_time
    during = [one for one in state.course[:-2] if one.start >= begun]
    if not during:
        return (alarm.seen - alarm.expected) / max(alarm.rows, 1)
    rows = sum(one.rows for one in during)
    return sum(_excess(one, place) * one.rows for one in during) / rows


def _excess(batch: Stretch, place: int) -> float:
    return (batch.seen[place] - batch.expected[place]) / batch.rows
