"""What became of each alert of the open incidents: who was told and when, and who was not and why."""

from __future__ import annotations

from collections.abc import Collection

from trimtab import ids
from trimtab.alerting import AlertsConfig
from trimtab.loop.project import Project
from trimtab.loop.reports import Delivery
from trimtab.server import words
from trimtab.store import alerts
from trimtab.store.records import Alert, Incident


def of_open(project: Project, incidents: Collection[Incident]) -> dict[str, list[Delivery]]:
    """By incident: every alert that is not there yet, and of each channel the newest that arrived.

    An incident of which nobody is told has one without a channel, which says so.
    """
    settings, sent = project.config.alerts, alerts.of_open(project.ws)
    found = {}
    for one in incidents:
        if one.state != "open":
            continue
        mine = sent.get(one.id, [])
        newest = {alert.channel: alert.id for alert in mine if alert.state == "sent"}
        shown = [x for x in mine if x.state != "sent" or newest[x.channel] == x.id]
        found[one.id] = [_delivery(alert, settings.to) for alert in shown] or [
            Delivery(text=f"Nobody was told: {_why(settings, one)}.")
        ]
    return found


def when(alert: Alert) -> str:
    """When an alert arrived or is tried next; that it is given up."""
    if alert.state == "failed":
        return "given up"
    return words.moment(alert.sent_at or alert.next_at)


def _delivery(alert: Alert, named: Collection[str]) -> Delivery:
    return Delivery(
        channel=alert.channel,
        event=alert.event,
        state=alert.state,
        attempts=alert.attempts,
        at=alert.sent_at or alert.next_at,
        failing=alert.state != "sent" and alert.attempts > 0,
        text=_text(alert, named),
    )


def _text(alert: Alert, named: Collection[str]) -> str:
    tries = "1 try" if alert.attempts == 1 else f"{alert.attempts:,} tries"
    what = f"{alert.channel} ({alert.event})"
    if alert.state == "sent":
        many = f", after {tries}" if alert.attempts > 1 else ""
        return f"Told {what} at {words.moment(alert.sent_at)} UTC{many}."
    failed = f"did not take it, {tries}: {alert.error}" if alert.attempts else ""
    if alert.state == "failed":
        return f"{what} {failed}; given up."
    if alert.channel not in named:
        return f"{what} {failed or 'is not told'}; [alerts] to names it no more."
    if alert.next_at <= ids.now():
        return f"{what} {failed + '; tried again' if failed else 'is told'} by the next pass."
    if failed:
        return f"{what} {failed}; tried again from {words.moment(alert.next_at)} UTC on."
    return f"{what} is told from {words.moment(alert.next_at)} UTC on, with others in one message."


def _why(settings: AlertsConfig, incident: Incident) -> str:
    if not settings.to:
        return "[alerts] to names no channel"
    if any(incident.severity in settings.severities_of(one) for one in settings.to):
        return "when it opened no channel of [alerts] to heard of it"
    return f"no channel of [alerts] to hears of a {incident.severity}"
