"""What was to be told and did not arrive, so that nobody takes silence for calm."""

from __future__ import annotations

from trimtab import ids
from trimtab.loop.project import Project
from trimtab.store import alerts


def sentences(project: Project) -> list[str]:
    """Which of the channels that `[alerts] to` names did not take their alerts, why, and what comes next."""
    named, found = project.config.alerts.to, []
    waiting = [one for one in alerts.undelivered(project.ws) if one.channel in named]
    for channel in dict.fromkeys(one.channel for one in waiting):
        mine = [one for one in waiting if one.channel == channel]
        count = "An alert was" if len(mine) == 1 else f"{len(mine):,} alerts were"
        again = [one.next_at for one in mine if one.state == "waiting"]
        then = "given up"
        if again:
            late = f"from {ids.iso(min(again))[:19]}Z on"
            then = f"tried again {'by the next pass' if min(again) <= ids.now() else late}"
        found.append(f"{count} not delivered by {channel}: {mine[-1].error}, {then}.")
    return found
