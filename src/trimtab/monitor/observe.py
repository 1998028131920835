"""What an endpoint's traffic shows: closed windows judged, late labels joined, causes named.

Reads the prediction log once, from a cursor that moves in the same transaction as the windows it
fed, so a pass that dies repeats nothing and loses nothing, and a pass costs what is new. It opens
no incident: that is the controller's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache, partial
from typing import Any, Final

import msgspec
import numpy as np

from trimtab import ids
from trimtab.config import Config, duration
from trimtab.model import registry
from trimtab.monitor import judge, saying
from trimtab.monitor.budget import Budget, per_month
from trimtab.monitor.drift import episodes
from trimtab.monitor.embed import spool, untold
from trimtab.monitor.findings import DEFECTS, Finding, Findings
from trimtab.monitor.log import altered, arms, catalogue, history, progress, traffic
from trimtab.monitor.log.catalogue import Catalogue
from trimtab.monitor.outcomes import completion, joined, knowing, quality, unlabelled
from trimtab.monitor.requests import asking, pulse
from trimtab.monitor.watched import Watched, watched
from trimtab.profile import profile as profiles
from trimtab.profile.profile import Profile
from trimtab.serve.logged import log
from trimtab.serve.logged.frame import Frame
from trimtab.store import operations, states
from trimtab.store.records import Version, Window
from trimtab.store.workspace import Workspace

VIRTUAL: Final = "virtual now"
"""The name of the state that holds the time that the last pass was given, while it was given one."""


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """A cause that asks for an incident; `since` and `seen`, the end of the newest window that shows
    it, in microseconds of event time.
    """

    kind: str
    title: str
    severity: str
    since: int
    detail: dict[str, Any] = {}
    seen: int = 0


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at an endpoint found.

    `now` is the event time up to which it looked, `judged` when it judged a window last, `reached`
    the end of the last window that it looked at, with rows or without; `over` are kinds of causes that
    were there and are gone, with since when.
    """

    now: int
    sentences: list[str] = []
    alarms: list[Alarm] = []
    judged: int = 0
    reached: int = 0
    over: dict[str, int] = {}


def observe(
    ws: Workspace, config: Config, endpoint: str, champion: Version, *, now: int | None = None
) -> Seen:
    """Take in new traffic and labels of an endpoint and judge what closed since the last look."""
    with catalogue.open_catalogue(ws.root / "endpoints" / endpoint) as index:
        ingest(ws, config, endpoint, index)
        refused = quality.take_labels(ws, config)
        joined.settle(index, ws, endpoint, config, cache(partial(registry.signature_of, ws)))
        return _observe(ws, config, endpoint, champion, index, refused, now)


def _observe(
    ws: Workspace,
    config: Config,
    endpoint: str,
    champion: Version,
    index: Catalogue,
    refused: list[str],
    now: int | None,
) -> Seen:
    moment = present(ws, config, endpoint, now)
    model = watched(ws, champion)
    if model is None:
        return Seen(
            now=moment, sentences=[f"{champion.label} has no reference profile to watch by"]
        )
    closed = _judged(ws, config, model, _closed(ws, config, endpoint, champion, moment))
    beat = pulse.look(ws, config, endpoint, closed, moment, budget(config), champion.label)
    closed = unlabelled.look(ws, config, endpoint, model, closed, index)
    seen = quality.look(ws, config, endpoint, model, closed, index, moment)
    shown = completion.look(ws, config, endpoint, model, closed, index, moment)
    known = knowing.look(ws, config, endpoint, model, closed, index, moment, seen)
    before = states.get(ws, _told(endpoint)) or 0
    alarms = [
        _alarm(finding, window)
        for window in closed
        if window.judged_at > before or window is closed[-1]
        for finding in _findings(window)
        if finding.severity == "alarm"
    ]
    alarms += [
        _alarm(one, closed[-1] if closed else None, beat.reached)
        for one in beat.findings
        if one.severity == "alarm"
    ]
    last = closed[-1].end if closed else 0
    alarms += [Alarm(**one, seen=last) for one in seen.alarms]
    named = {one.kind for one in alarms}
    alarms += [Alarm(**one, seen=last) for one in known.alarms if one["kind"] not in named]
    first = saying.window(endpoint, champion, closed)
    sentences = [*refused, first, *(f"{endpoint}: {one.text}" for one in beat.findings)]
    sentences += [*beat.sentences, *shown, *known.sentences]
    return Seen(
        now=moment,
        sentences=sentences,
        alarms=alarms,
        judged=max((one.judged_at for one in closed), default=0),
        reached=beat.reached,
        over=known.over,
    )


def told(ws: Workspace, endpoint: str, seen: Seen) -> None:
    """Remember that what was seen has been acted on; till then every look repeats its alarms."""
    if seen.judged > (states.get(ws, _told(endpoint)) or 0):
        states.put(ws, _told(endpoint), seen.judged)
    pulse.told(ws, endpoint, seen.reached)


def ingest(ws: Workspace, config: Config, endpoint: str, index: Catalogue) -> None:
    """Take in what was logged since the last time, each frame once.

    The catalogue and the windows each move a cursor of their own in the transaction that they fill,
    so whichever a killed pass left behind catches up alone.
    """
    name = passed(endpoint)
    counted: dict[str, int] = states.get(ws, name) or {}
    known = history.ends(index)
    names = [path.name for path in log.segments(index.log)]
    if any(known.get(one, 0) != counted.get(one, 0) for one in names):
        for group in history.fresh(index, known):
            joined.take(index, ws, group)
        for group in history.fresh(index, counted):
            _count_in(ws, config, endpoint, group, counted)
        return
    for group in history.fresh(index, counted):
        joined.take(index, ws, group)
        _count_in(ws, config, endpoint, group, counted)


def passed(endpoint: str) -> str:
    """The name of the state that says how far the windows have counted each segment."""
    return f"log:{endpoint}"


def _count_in(
    ws: Workspace,
    config: Config,
    endpoint: str,
    pieces: Iterable[history.Piece],
    cursor: dict[str, int],
) -> None:
    frames = [frame for piece in pieces for frame in piece.frames]
    span = duration(config.monitor.window)
    newest = pulse.reached(frames)
    kept_back = sorted(config.serve.pii)
    with ws.transaction():
        for (model, role), some in traffic.by_model(frames).items():
            _count(ws, endpoint, model, role, some, span, kept_back)
        progress.add(ws, endpoint, frames, joined.columns(config))
        arms.add(ws, endpoint, frames, config.serve.sticky)
        pulse.arrive(ws, config, endpoint, frames)
        states.put(ws, f"newest:{endpoint}", max(newest, states.get(ws, f"newest:{endpoint}") or 0))
        states.put(ws, passed(endpoint), cursor)


def _count(
    ws: Workspace,
    endpoint: str,
    model: str,
    role: str,
    frames: Sequence[Frame],
    span: int,
    kept_back: Sequence[str],
) -> None:
    signed = registry.signature_of(ws, model)
    version = Version(kind="model", name="", number=0, digest=model)
    known = watched(ws, version)
    rows = traffic.answers(frames, signed)
    names, request, spent = asking.requests_of(frames)
    starts = (rows.times // span) * span
    have = {
        one.start: one for one in operations.windows(ws, endpoint=endpoint, model=model, role=role)
    }
    for start in np.unique(starts).tolist():
        place = np.flatnonzero(starts == start)
        part = rows.take(place.tolist())
        old = have.get(start)
        digest, asked = "", {}
        if known is not None:
            counted = profiles.count(known.reference.bins, traffic.profiled(part, signed))
            asked = asking.added(
                old.features if old else {},
                asking.counted(known, part, counted, names, request[place], spent),
            )
            if old is not None and old.profile:
                counted = profiles.merge(_profile(ws, old), counted)
            digest = ws.blobs.put(profiles.encode(counted))
        operations.save_window(
            ws,
            Window(
                endpoint=endpoint,
                model=model,
                role=role,
                start=start,
                end=start + span,
                rows=part.rows + (old.rows if old else 0),
                profile=digest,
                findings=old.findings if old else [],
                features={
                    **(old.features if old else {}),
                    **altered.noted(old, kept_back),
                    **asked,
                },
                judged_at=old.judged_at if old else 0,
            ),
        )


def present(ws: Workspace, config: Config, endpoint: str, now: int | None = None) -> int:
    """The event time that has been reached: the newest that clients have told where they do, or the clock's.

    `now` is a pass's own where it was given one; whoever acts after such a pass acts at its time.
    """
    now = states.get(ws, VIRTUAL) if now is None else now
    if config.serve.event_time == "client" and not spool.is_embedded(ws, endpoint):
        return max(states.get(ws, f"newest:{endpoint}") or 0, now or 0)
    return ids.now() if now is None else now


def _closed(
    ws: Workspace, config: Config, endpoint: str, champion: Version, moment: int
) -> list[Window]:
    late = duration(config.monitor.lateness)
    windows = operations.windows(ws, endpoint=endpoint, model=champion.digest)
    answered = [one for one in windows if one.role != "shadow" and one.end + late <= moment]
    return _joined(ws, answered)[-joined.REMEMBERED :]


def _joined(ws: Workspace, windows: list[Window]) -> list[Window]:
    """One window per span: what a model answered as canary and as champion on a day is one."""
    found: dict[int, Window] = {}
    for one in windows:
        old = found.get(one.start)
        if old is None:
            found[one.start] = one
        elif old.profile and one.profile:
            merged = profiles.merge(_profile(ws, old), _profile(ws, one))
            found[one.start] = msgspec.structs.replace(
                one if one.role == "champion" else old,
                rows=old.rows + one.rows,
                profile=ws.blobs.put(profiles.encode(merged)),
            )
    return [found[start] for start in sorted(found)]


def _judged(ws: Workspace, config: Config, model: Watched, closed: list[Window]) -> list[Window]:
    """The windows with the findings on their inputs, each judged with those before it and kept.

    A window that has grown since it was judged is judged again.
    """
    found: list[Window] = []
    usable: list[Window] = []
    counted: dict[str, Profile] = {}
    for window in closed:
        if window.profile:
            usable.append(window)
            if not window.judged_at or window.features.get("judged_rows") != window.rows:
                for one in usable:
                    if one.profile not in counted:
                        counted[one.profile] = _profile(ws, one)
                profiles_so_far = [counted[one.profile] for one in usable]
                window = _judge(ws, config, model, usable, profiles_so_far)
        found.append(window)
    return found


def _judge(
    ws: Workspace, config: Config, model: Watched, windows: list[Window], counted: list[Profile]
) -> Window:
    """The newest of these windows, judged and kept; its findings tell moments, not positions."""
    newest = windows[-1]
    if newest.features.get("inside"):
        first = untold.alike(model.reference, counted)
        windows = windows[first:]
        counted = [untold.heard(model.reference, one) for one in counted[first:]]
    found = _look_at(config, model, windows, counted)
    alone = {one.kind for one in found.findings}
    if alone.intersection(DEFECTS) and newest.rows >= config.monitor.min_rows:
        alone = {one.kind for one in _look_at(config, model, windows[-1:], counted[-1:]).findings}
    features = {
        "measures": [msgspec.to_builtins(one) for one in found.measures],
        "reason": found.reason,
        "judged_rows": newest.rows,
        "drifted": list(found.drifted),
        "slices": [msgspec.to_builtins(one) for one in found.slices],
    }
    past, keys = episodes.known(ws, newest), episodes.seasons(model.reference, windows)
    named = episodes.told(found.findings, model.reference, windows, counted, alone,
                          config.monitor.min_rows, past, altered.of(windows), keys)  # fmt: skip
    findings = [msgspec.to_builtins(one) for one in named]
    moment = ids.now()
    with ws.transaction():
        episodes.note(ws, newest, named)
        for one in operations.windows(
            ws, endpoint=newest.endpoint, model=newest.model, role=newest.role
        ):
            if one.start == newest.start:
                kept = msgspec.structs.replace(
                    one,
                    findings=findings,
                    features={**one.features, **features},
                    judged_at=moment,
                )
                operations.save_window(ws, kept)
    return msgspec.structs.replace(
        newest,
        findings=findings,
        features={**newest.features, **features},
        judged_at=moment,
    )


def _look_at(
    config: Config, model: Watched, windows: list[Window], counted: list[Profile]
) -> Findings:
    level, left, newest = budget(config), frozenset[str](), windows[-1]
    if newest.features.get("inside"):  # whoever watches there may cut windows of another length
        left = untold.untold(model.reference, counted[-1])
        each = per_month(newest.end - newest.start)
        level = msgspec.structs.replace(level, windows_per_month=each)
    return judge.judge(
        model.reference,
        counted,
        budget=level,
        least_rows=config.monitor.min_rows,
        altered=altered.of(windows) | left,
        seasons=episodes.seasons(model.reference, windows),
    )


def budget(config: Config) -> Budget:
    """The alarm budget of a configuration."""
    return Budget(
        pages_per_month=config.monitor.false_pages_per_month,
        windows_per_month=per_month(duration(config.monitor.window)),
    )


def _alarm(finding: Finding, window: Window | None, seen: int = 0) -> Alarm:
    quiet = finding.kind == "data drift" or finding.severity == "notice"
    begun = window.start if window is not None and finding.since is None else finding.since
    return Alarm(
        kind=finding.kind,
        title=finding.text,
        severity="notice" if quiet else "page",
        since=begun or 0,
        detail={
            "features": [msgspec.to_builtins(one) for one in finding.features],
            "window": saying.span(window) if window and window.end > (begun or 0) else "",
            "form": finding.form,
            "share": finding.share,
            "lasts": episodes.lasts(finding),
        },
        seen=seen or (window.end if window else 0),
    )


def _findings(window: Window) -> list[Finding]:
    return msgspec.convert(window.findings, list[Finding])


def _told(endpoint: str) -> str:
    return f"told:{endpoint}"


def _profile(ws: Workspace, window: Window) -> Profile:
    return profiles.decode(ws.blobs.read(window.profile))
