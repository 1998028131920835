"""What an endpoint's traffic shows: closed windows judged, late labels joined, causes named.

Reads the prediction log once, from a cursor that moves in the same transaction as the windows it
fed, so a pass that dies repeats nothing and loses nothing. It opens no incident: that is the
controller's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from trimtab import ids
from trimtab.config import Config, duration
from trimtab.model import registry, signature
from trimtab.model.signature import Signature
from trimtab.monitor import basis as bases
from trimtab.monitor import judge, quality, traffic
from trimtab.monitor.basis import Basis
from trimtab.monitor.budget import Budget
from trimtab.monitor.findings import Finding
from trimtab.profile import profile as profiles
from trimtab.profile import reference as references
from trimtab.profile.profile import Profile
from trimtab.serve.frame import Frame
from trimtab.store import operations, states, trees
from trimtab.store.records import Version, Window
from trimtab.store.workspace import Workspace

PROFILE: Final = "reference.profile"
_MONTH: Final = 30 * 86_400_000_000
_REMEMBERED: Final = 64


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """A cause that asks for an incident; `since` in microseconds of event time."""

    kind: str
    title: str
    severity: str
    since: int
    detail: dict[str, Any] = {}


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at an endpoint found; `now` is the event time up to which it looked."""

    now: int
    sentences: list[str] = []
    alarms: list[Alarm] = []


class Monitored(msgspec.Struct, frozen=True):
    """A model as the monitor needs it."""

    version: Version
    signature: Signature
    reference: Any
    basis: Basis


def observe(
    ws: Workspace, config: Config, endpoint: str, champion: Version, *, now: int | None = None
) -> Seen:
    """Take in new traffic and labels of an endpoint and judge what closed since the last look."""
    _ingest(ws, config, endpoint)
    refused = quality.take_labels(ws, config)
    moment = _moment(ws, config, endpoint, now)
    model = monitored(ws, champion)
    if model is None:
        return Seen(
            now=moment, sentences=[f"{champion.label} has no reference profile to watch by"]
        )
    closed = _closed(ws, config, endpoint, champion, moment)
    findings = _judge_inputs(ws, config, model, closed)
    seen = quality.look(ws, config, endpoint, model.version, model.signature, model.basis,
                        model.reference, closed, findings)  # fmt: skip
    alarms = [_alarm(one, closed) for one in findings if one.severity == "alarm"]
    alarms += [Alarm(**one) for one in seen.alarms]
    sentences = [*refused, _sentence(endpoint, champion, closed, findings), *seen.sentences]
    return Seen(now=moment, sentences=sentences, alarms=alarms)


def monitored(ws: Workspace, version: Version) -> Monitored | None:
    """The signature, reference and basis of a packaged model; None where it has none."""
    names = trees.walk(ws.blobs, version.digest)
    if PROFILE not in names or bases.FILE not in names:
        return None
    return Monitored(
        version,
        signature.decode(ws.blobs.read(names[signature.FILE].digest)),
        references.decode(ws.blobs.read(names[PROFILE].digest)),
        bases.decode(ws.blobs.read(names[bases.FILE].digest)),
    )


def _ingest(ws: Workspace, config: Config, endpoint: str) -> None:
    """Count new answers into the windows of their model and role."""
    name = f"log:{endpoint}"
    folder = ws.root / "endpoints" / endpoint / "log"
    frames, cursor = traffic.read_all(folder, states.get(ws, name))
    if not frames:
        return
    span = duration(config.monitor.window)
    with ws.transaction():
        for (model, role), some in traffic.by_model(frames).items():
            _count(ws, endpoint, model, role, some, span)
        newest = (
            max(max(frame.times()) for frame in frames if frame.ids)
            if any(frame.ids for frame in frames)
            else 0
        )
        states.put(ws, f"newest:{endpoint}", max(newest, states.get(ws, f"newest:{endpoint}") or 0))
        states.put(ws, name, cursor)


def _count(
    ws: Workspace, endpoint: str, model: str, role: str, frames: Sequence[Frame], span: int
) -> None:
    signed = registry.signature_of(ws, model)
    version = Version(kind="model", name="", number=0, digest=model)
    known = monitored(ws, version)
    rows = traffic.answers(frames, signed)
    starts = (rows.times // span) * span
    have = {
        one.start: one for one in operations.windows(ws, endpoint=endpoint, model=model, role=role)
    }
    for start in np.unique(starts).tolist():
        part = rows.take(np.flatnonzero(starts == start).tolist())
        old = have.get(start)
        digest = ""
        if known is not None:
            counted = profiles.count(known.reference.bins, traffic.profiled(part, signed))
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
            ),
        )


def _moment(ws: Workspace, config: Config, endpoint: str, now: int | None) -> int:
    """The event time that has been reached: the clock's, or the newest a client has told."""
    newest = states.get(ws, f"newest:{endpoint}") or 0
    if config.serve.event_time == "server":
        return ids.now() if now is None else now
    return max(newest, now or 0)


def _closed(
    ws: Workspace, config: Config, endpoint: str, champion: Version, moment: int
) -> list[Window]:
    late = duration(config.monitor.lateness)
    windows = operations.windows(ws, endpoint=endpoint, model=champion.digest)
    answered = [one for one in windows if one.role != "shadow" and one.end + late <= moment]
    return _joined(ws, answered)[-_REMEMBERED:]


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


def _judge_inputs(
    ws: Workspace, config: Config, model: Monitored, closed: list[Window]
) -> list[Finding]:
    """The findings on the newest closed window, judged with those before it; kept with it."""
    usable = [one for one in closed if one.profile]
    if not usable:
        return []
    newest = usable[-1]
    if newest.judged_at:
        return msgspec.convert(newest.findings, list[Finding])
    found = judge.judge(
        model.reference,
        [_profile(ws, one) for one in usable],
        budget=budget(config),
        least_rows=config.monitor.min_rows,
    )
    findings = list(found.findings)
    measures = [msgspec.to_builtins(one) for one in found.measures]
    operations.save_window(
        ws,
        msgspec.structs.replace(
            newest,
            role="champion",
            findings=[msgspec.to_builtins(one) for one in findings],
            features={**newest.features, "measures": measures, "reason": found.reason},
            judged_at=ids.now(),
        ),
    )
    return findings


def budget(config: Config) -> Budget:
    """The alarm budget of a configuration."""
    return Budget(
        pages_per_month=config.monitor.false_pages_per_month,
        windows_per_month=max(_MONTH / duration(config.monitor.window), 1.0),
    )


def _alarm(finding: Finding, closed: list[Window]) -> Alarm:
    first = closed[finding.since] if finding.since is not None else closed[-1]
    return Alarm(
        kind=finding.kind,
        title=finding.text,
        severity="page" if finding.kind != "data drift" else "notice",
        since=first.start,
        detail={
            "features": [msgspec.to_builtins(one) for one in finding.features],
            "window": f"{ids.iso(closed[-1].start)}/{ids.iso(closed[-1].end)}",
        },
    )


def _sentence(
    endpoint: str, champion: Version, closed: list[Window], findings: list[Finding]
) -> str:
    if not closed:
        return f"{endpoint}: no window of {champion.label} has closed yet"
    last = closed[-1]
    what = ", ".join(one.kind for one in findings) or "inputs as in training"
    return (
        f"{endpoint}: {champion.label} answered {last.rows:,} rows in the window from "
        f"{ids.iso(last.start)}: {what}"
    )


def _profile(ws: Workspace, window: Window) -> Profile:
    return profiles.decode(ws.blobs.read(window.profile))
