"""The outbox: an alert is a row before it is sent, and is sent until it has arrived or is given up.

A pass that dies between row and sending, or between sending and saying so, is repaired by the next:
a message arrives at least once, under one key. A slow far side costs a pass a bounded time.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Final

import msgspec

from trimtab import hashing, ids
from trimtab.alerting import AlertsConfig
from trimtab.config import duration
from trimtab.errors import TrimtabError
from trimtab.loop.alerts import notifiers
from trimtab.loop.alerts.notifiers import Message
from trimtab.loop.project import Project
from trimtab.store import alerts
from trimtab.store.records import Alert, Incident

PASS_SECONDS: Final = 10.0
"""How long the deliveries of one pass may take together."""
MOST_ATTEMPTS: Final = 20
_FIRST_WAIT: Final = 10_000_000
_LONGEST_WAIT: Final = 3_600_000_000
_SECOND: Final = 1_000_000
Outcome = str | BaseException


def tell(project: Project, incident: Incident, event: str) -> list[Alert]:
    """Write down what is to be sent about an incident; the caller's transaction makes it whole.

    An event of an incident is told once to each channel that its severity reaches.
    """
    settings, now = project.config.alerts, ids.now()
    made = []
    for channel in settings.to:
        if incident.severity not in settings.severities_of(channel):
            continue
        if event == "resolved" and not settings.tell_resolved:
            continue
        key = f"{incident.id}-{_stamp(incident, event)}-{channel}"
        alert = Alert(
            id=key,
            incident=incident.id,
            event=event,
            channel=channel,
            body=msgspec.to_builtins(message(project, incident, event, key)),
            next_at=_when(settings, incident, channel, now),
            created_at=now,
        )
        if alerts.put(project.ws, alert):
            made.append(alert)
    return made


def message(project: Project, incident: Incident, event: str, key: str) -> Message:
    """What is told of an incident."""
    config = project.config
    detail = incident.detail
    base = config.alerts.url.rstrip("/")
    return Message(
        key=key,
        event=event,
        incident=incident.id,
        kind=incident.kind,
        title=incident.title,
        severity=incident.severity,
        project=config.project.name,
        endpoint=incident.endpoint,
        owner=str(detail.get("owner") or config.project.owner),
        runbook=str(detail.get("runbook", "")),
        since=ids.iso(incident.since) if incident.since else "",
        opened_at=ids.iso(incident.opened_at),
        features=list(dict.fromkeys(map(_name, detail.get("features", []))))[:10],
        why=str(detail.get("severity", {}).get("why", "")),
        link=f"{base}/monitor#incident-{incident.id}" if base else "",
    )


def deliver(project: Project) -> list[str]:
    """Send what is due; returns a sentence for each delivery that failed.

    Digests of one channel go out as one message. What a channel that `to` names no more was to get
    waits until it does.
    """
    settings, end = project.config.alerts, time.monotonic() + PASS_SECONDS
    said = []
    due = [one for one in alerts.due(project.ws, ids.now()) if one.channel in settings.to]
    for some in _together(due):
        left = end - time.monotonic()
        if left <= 0:
            said.append("alerts wait: the channels were slow, the next pass goes on")
            break
        first = some[0]
        result = _attempt(settings, first.channel, _message_of(some), left)
        after = [_after(alert, result) for alert in some]
        for alert in after:
            alerts.update(project.ws, alert)
        if not isinstance(result, str):
            given_up = " and is given up" if after[0].state == "failed" else ""
            said.append(f"alert by {first.channel} failed{given_up}: {_reason(result)}")
    return said


def _together(due: list[Alert]) -> list[list[Alert]]:
    """Messages to send: a page alone, the digests of a channel at once."""
    found: list[list[Alert]] = []
    digests: dict[str, list[Alert]] = {}
    for alert in due:
        if alert.body.get("severity") != "digest":
            found.append([alert])
        elif alert.channel in digests:
            digests[alert.channel].append(alert)
        else:
            digests[alert.channel] = [alert]
    return [*found, *digests.values()]


def _message_of(some: list[Alert]) -> Message:
    """One message for several alerts; its key is the same as long as they are."""
    told = [msgspec.convert(one.body, Message) for one in some]
    if len(told) == 1:
        return told[0]
    lines = [f"{one.event}: {one.title} ({one.endpoint}, {one.incident[:16]})" for one in told]
    key = hashing.object_digest("key", [one.id for one in some])
    return msgspec.structs.replace(
        told[0],
        key=key.removeprefix(hashing.PREFIX)[:32],
        event="digest",
        title=f"{len(told)} incidents to look at",
        kind=", ".join(dict.fromkeys(one.kind for one in told)),
        endpoint=", ".join(dict.fromkeys(one.endpoint for one in told)),
        features=list(dict.fromkeys(name for one in told for name in one.features))[:10],
        runbook="\n".join(lines),
        why="",
        link=told[0].link.partition("#")[0],
    )


def _attempt(settings: AlertsConfig, channel: str, told: Message, seconds: float) -> Outcome:
    """Deliver a message within so many seconds; what the far side said, or what went wrong."""
    limit = min(seconds, max(2 * duration(settings.timeout) / _SECOND, 1.0))
    outcome: list[Outcome] = []

    def work() -> None:
        try:
            outcome.append(str(notifiers.make(channel, settings).deliver(told)))
        except BaseException as error:
            outcome.append(error)

    # A thread of its own, because a far side that drips bytes can outlast any socket's timeout.
    thread = threading.Thread(target=work, name=f"alert-{channel}", daemon=True)
    thread.start()
    thread.join(limit)
    return outcome[0] if outcome else TimeoutError(f"no answer within {limit:.0f} s")


def _after(alert: Alert, result: Outcome) -> Alert:
    """An alert after an attempt: sent, or to be tried again after a wait that doubles."""
    now, attempts = ids.now(), alert.attempts + 1
    if isinstance(result, str):
        return msgspec.structs.replace(
            alert, state="sent", attempts=attempts, sent_at=now, receipt=result[:200], error=""
        )
    wait = min(_FIRST_WAIT * 2 ** min(alert.attempts, 20), _LONGEST_WAIT)
    return msgspec.structs.replace(
        alert,
        state="failed" if attempts >= MOST_ATTEMPTS else "waiting",
        attempts=attempts,
        next_at=now + wait,
        error=_reason(result)[:300],
    )


def _when(settings: AlertsConfig, incident: Incident, channel: str, now: int) -> int:
    """A page goes out at once, a digest at the next turn; a log waits for nobody."""
    if incident.severity != "digest" or channel == "log":
        return now
    span = max(duration(settings.digest), _SECOND)
    return (now // span + 1) * span


def _reason(error: BaseException) -> str:
    if isinstance(error, TrimtabError):
        return error.message
    return f"{type(error).__name__}: {error}"


def _name(feature: Any) -> str:
    return str(feature.get("feature", "")) if isinstance(feature, dict) else str(feature)


def _stamp(incident: Incident, event: str) -> str:
    """An event's name, numbered or marked where an incident may have several of it."""
    if event == "escalated":
        grown = incident.detail.get("grown", 0)
        return f"escalated-{incident.severity}{f'-{grown}' if grown else ''}"
    number = f"-{incident.reopened}" if incident.reopened else ""
    return f"{event}{number}"
