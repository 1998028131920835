"""An endpoint's pulse: how much it is asked, how fast it answers, whether its clock moves on.

Traffic is of the endpoint, whichever models share it; latency of the champion alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Final, NamedTuple

import msgspec

from trimtab import ids
from trimtab.config import Config, duration
from trimtab.monitor.budget import Budget
from trimtab.monitor.findings import FeatureFinding, Finding
from trimtab.monitor.requests import asking, failures, refusals, slowness, volume
from trimtab.serve.logged.frame import Frame
from trimtab.store import operations, states, versions
from trimtab.store.records import Window
from trimtab.store.workspace import Workspace

_DAY: Final = 86_400_000_000
_WEEK: Final = 7 * _DAY
_HOUR: Final = 3_600_000_000
_REMEMBERED: Final = 1_400
_RECENT: Final = 64


class Pulse(NamedTuple):
    """Findings whose `since` is a moment, sentences on single requests, and up to when it looked."""

    findings: list[Finding]
    sentences: list[str]
    reached: int = 0


def look(
    ws: Workspace,
    config: Config,
    endpoint: str,
    closed: Sequence[Window],
    moment: int,
    budget: Budget,
    champion: str = "",
) -> Pulse:
    """What the newest closed windows show of traffic and latency; `closed` are the champion's.

    What a version other than the `champion` (its label; "" for any) turned away is no longer news.
    """
    span, alpha = duration(config.monitor.window), volume.level(budget)
    found = []
    serving = [champion, *_candidates(ws, endpoint)] if champion else []
    refused = refusals.look(ws, config, endpoint, moment, alpha, serving=serving)
    failed = failures.look(ws, config, endpoint, moment, alpha, serving=serving[:1])
    turned = [one for one in (refused, failed) if one is not None]
    starts, counts = _volumes(ws, config, endpoint, moment, span)
    before = states.get(ws, _reached(endpoint)) or 0
    change = _traffic(counts, alpha, span)
    if change is None or change.ratio > 1 or change.until is not None:
        found += _silences(ws, endpoint, (starts, counts), alpha, span)
    if change is not None and change.until is None:
        if not turned or change.ratio > 1:  # what is refused was asked
            found.append(volume.finding("traffic change", change, counts[-1], "", starts))
    elif change is not None and not found and _news(change, starts, counts, span, before):
        was = round((change.usual + 1) * change.ratio - 1)
        found.append(volume.finding("traffic change", change, was, "", starts))
    found += slowness.look(
        closed, alpha, span, _cycles(span), before,
        others=_others(ws, endpoint, closed, span), label=partial(_label, ws),
    )  # fmt: skip
    standing = [*_clock(ws, config, endpoint, span), *turned]
    unseen = asking.sentence(closed[-1].features.get(asking.UNSEEN, {})) if closed else ""
    said = [one for one in (unseen, _ahead(ws, endpoint)) if one]
    until = starts[-1] + span if starts else 0
    return Pulse([*found, *standing], [f"{endpoint}: {one}" for one in said], until)


def told(ws: Workspace, endpoint: str, until: int) -> None:
    """Remember up to when windows without a row have been acted on."""
    if until > (states.get(ws, _reached(endpoint)) or 0):
        states.put(ws, _reached(endpoint), until)


def reached(frames: Sequence[Frame]) -> int:
    """The newest event time of these rows, 0 for none. Rows that say they are of over an hour after
    they came tell no time: one of 2099 would close every window before its rows have come.
    """
    return max((max(_come(one), default=0) for one in frames if one.ids), default=0)


def arrive(ws: Workspace, config: Config, endpoint: str, frames: Sequence[Frame]) -> None:
    """Note when the newest event time moved on last, and what was refused and failed; call it where the
    log's cursor moves.
    """
    refusals.arrive(ws, config, endpoint, frames)
    failures.arrive(ws, config, endpoint, frames)
    frames = [one for one in frames if one.ids]
    if not frames:
        return
    body: dict[str, Any] = states.get(ws, _name(endpoint)) or {"newest": 0, "at": 0, "rows": 0}
    for one in frames:
        newest, arrived = reached([one]), max(part.received_at for part in one.requests())
        moved, latest = newest > body["newest"], max(one.times())
        early = one.rows - len(_come(one))
        body = {
            "newest": max(newest, body["newest"]),
            "at": arrived if moved else body["at"],
            "seen": max(arrived, body.get("seen", 0)),
            "rows": 0 if moved else body["rows"] + one.rows,
            "ahead": body.get("ahead", 0) + early,
            "latest": max(latest if early else 0, body.get("latest", 0)),
        }
    states.put(ws, _name(endpoint), body)


def _come(frame: Frame) -> Sequence[int]:
    """The event times of the rows whose time had come, to an hour, when they did."""
    times, parts = frame.times(), frame.requests()
    if max(times) <= min(part.received_at for part in parts) + _HOUR:
        return times
    received = [part.received_at for part in parts for _ in range(part.rows)]
    return [one for one, at in zip(times, received, strict=True) if one <= at + _HOUR]


def _ahead(ws: Workspace, endpoint: str) -> str:
    body = states.get(ws, _name(endpoint)) or {}
    count = body.get("ahead", 0)
    if not count:
        return ""
    rows = "row says that it is" if count == 1 else "rows say that they are"
    until = ids.iso(body["latest"])
    return (
        f"{count:,} {rows} of a time that had not come yet, up to {until}: mend the client's clock"
    )


def _clock(ws: Workspace, config: Config, endpoint: str, span: int) -> list[Finding]:
    body = states.get(ws, _name(endpoint))
    if config.serve.event_time != "client" or not body or not body["rows"] or not body["newest"]:
        return []
    stood = body["seen"] - body["at"]
    if stood <= max(span, _HOUR) or body["rows"] < config.monitor.min_rows:
        return []
    note = f"newest event time stands at {ids.iso(body['newest'])} while {body['rows']:,} rows came"
    return [
        Finding(
            kind="broken input",
            severity="alarm",
            features=(
                FeatureFinding(
                    feature="event time", statistic="stale", p=0.0, effect=1.0, lo=1.0, hi=1.0,
                    unit="share", note=note,
                ),
            ),
            since=body["newest"],
            text=f"Broken input (stale source): the {note} since {ids.iso(body['at'])}.",
            detail={"rows_touched": 1.0, "rows": float(body["rows"])},
            form="stale source",
            share=1.0,
        )
    ]  # fmt: skip


def _traffic(counts: Sequence[float], alpha: float, span: int) -> volume.Change | None:
    period, week = _cycles(span)
    known = volume.newest if counts and counts[-1] else volume.silence
    return known(counts, alpha, period=period, week=week)


def _news(
    change: volume.Change, starts: list[int], counts: list[float], span: int, before: int
) -> bool:
    """Whether a change was seen to be over since the last look; a silence is told of elsewhere."""
    until = change.until or 0
    return starts[until + 1] + span > before and all(counts[change.since : until])


def _silences(
    ws: Workspace, endpoint: str, rows: tuple[list[int], list[float]], alpha: float, span: int
) -> list[Finding]:
    """The newest silence that is over already, where it ended since it was looked last: a watermark
    that clients tell passes a window only by rows of a later one.
    """
    starts, counts = rows
    before = states.get(ws, _reached(endpoint)) or 0
    for end in range(len(counts) - 1, max(0, len(counts) - _RECENT), -1):
        if starts[end] < before:
            break
        if not counts[end] or counts[end - 1]:
            continue
        change = _traffic(counts[:end], alpha, span)
        if change is None:
            continue
        asked = refusals.asked(ws, endpoint) | failures.asked(ws, endpoint)
        if any(not counts[at] and starts[at] in asked for at in range(change.since, end)):
            continue
        one = volume.finding("traffic change", change, 0.0, "", starts)
        text = f"{one.text.removesuffix('.')}; rows came again from {ids.iso(starts[end])} on."
        return [msgspec.structs.replace(one, text=text, detail={**one.detail, "lasts": 0.0})]
    return []


def _volumes(
    ws: Workspace, config: Config, endpoint: str, moment: int, span: int
) -> tuple[list[int], list[float]]:
    """Rows of every closed window since the first, none where nothing came."""
    late = duration(config.monitor.lateness)
    rows: dict[int, float] = {}
    for start, stop, role, count in operations.volumes(ws, endpoint):
        if role != "shadow" and stop + late <= moment:
            rows[start] = rows.get(start, 0.0) + count
    if not rows:
        return [], []
    # a client whose clock runs ahead brings no later windows about
    heard = (states.get(ws, _name(endpoint)) or {}).get("seen", moment)
    if config.serve.event_time == "client":
        moment = min(moment, heard)
    end = (moment - late) // span * span
    first = max(_begun(sorted(rows), end, span), end - _REMEMBERED * span)
    starts = list(range(first, end, span))
    return starts, [rows.get(start, 0.0) for start in starts]


def _begun(known: Sequence[int], end: int, span: int) -> int:
    """Where traffic began: what lies before a gap longer than all before it and all after it is no
    part of it, such as one row that says it is of 1971.
    """
    first = known[0]
    for last, following in pairwise(known):
        gap = following - last - span
        if gap > max(last + span - first, end - following):
            first = following
    return first


def _others(ws: Workspace, endpoint: str, closed: Sequence[Window], span: int) -> list[Window]:
    """Windows of not long ago in which another version was the champion."""
    if not closed or not closed[-1].features.get(asking.LATENCY):
        return []
    since = closed[-1].start - 2 * volume.REMEMBERED * span
    found = operations.windows(ws, endpoint=endpoint, role="champion", since=since)
    return [one for one in found if one.model != closed[-1].model]


def _label(ws: Workspace, model: str) -> str:
    known = versions.find(ws, "model")
    return next((one.label for one in known if one.digest == model), "another version")


def _candidates(ws: Workspace, endpoint: str) -> list[str]:
    """The label of the model of an open rollout, which answers clients too."""
    open_now = operations.rollouts(ws, endpoint=endpoint, state="open")
    return [versions.get(ws, "model", one.candidate).label for one in open_now]


def _cycles(span: int) -> tuple[int, int]:
    """How many windows make a season, a week of days or a day of hours, and how many a week."""
    week = _WEEK // span if _WEEK % span == 0 else 0
    if span >= _DAY:
        return week, week
    return (_DAY // span if _DAY % span == 0 else 0), week


def _name(endpoint: str) -> str:
    return f"clock:{endpoint}"


def _reached(endpoint: str) -> str:
    return f"silence:{endpoint}"
