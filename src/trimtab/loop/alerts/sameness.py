"""Whether what the monitor saw is a change that somebody dealt with already, or one more.

A column that breaks is a cause of its own: it is not handled because another one was, and an incident
that is open already takes it in and tells of it. It opens and closes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from trimtab import ids
from trimtab.loop.alerts import outlived
from trimtab.loop.project import Project
from trimtab.monitor.findings import EACH_A_CAUSE, OUTPUTS, called
from trimtab.store import operations
from trimtab.store.records import Incident, Version

_LISTED: Final = 3


def handled(project: Project, incident: Incident, champion: Version) -> bool:
    """Whether a person or a promotion closed the same cause for this same model already, for each of
    the features that show it.

    The estimated beginning of one and the same change moves as evidence comes in, so what began
    before an incident of its kind was opened is that incident, and so is what every window has shown
    since. One that ended with its version alone was handled by nobody.
    """
    closed = [
        one
        for one in operations.incidents(project.ws, state="resolved", endpoint=incident.endpoint)
        if one.kind == incident.kind
        and one.detail.get("model") == champion.digest
        and not outlived.returned(one)
    ]
    entries = features(incident) or {"": {}}
    return all(
        any(_same(project, one, incident, name, entry) for one in closed)
        for name, entry in entries.items()
    )


def features(incident: Incident) -> dict[str, Mapping[str, Any]]:
    """What an incident's detail holds of each input; of the model's outputs where they are all."""
    found = [one for one in incident.detail.get("features", []) if isinstance(one, Mapping)]
    inputs = [one for one in found if one.get("feature") not in OUTPUTS] or found
    return {str(one.get("feature", "")): one for one in reversed(inputs)}


def grown(known: Incident, incident: Incident) -> Incident | None:
    """The open incident with the features that it does not name yet; None where there are none. What
    moved later is in the newest title, what broke later is added to the one that was told.
    """
    before, now = features(known), features(incident)
    fresh = {name: one for name, one in now.items() if name not in before}
    if not fresh or not before or not incident.detail.get("lasts", True):
        return None
    title = _more(known, incident, fresh) if known.kind in EACH_A_CAUSE else incident.title
    detail = {
        **known.detail,
        "features": [*known.detail["features"], *fresh.values()],
        "grown": known.detail.get("grown", 0) + 1,
        "grown_at": incident.opened_at,
    }
    return msgspec.structs.replace(known, title=title, detail=detail)


def _more(known: Incident, incident: Incident, fresh: Mapping[str, Mapping[str, Any]]) -> str:
    said = [f"{called(name)} {one.get('note', '')}".strip() for name, one in fresh.items()]
    more = f"; and {len(said) - _LISTED} more" if len(said) > _LISTED else ""
    began = ids.iso(min(_since(incident, one) for one in fresh.values()))
    return f"{known.title.removesuffix('.')}; since {began} also {'; '.join(said[:_LISTED])}{more}."


def _same(
    project: Project, closed: Incident, incident: Incident, name: str, entry: Mapping[str, Any]
) -> bool:
    since = _since(incident, entry)
    if since <= _known_at(closed):
        return True
    if not incident.detail.get("lasts", True):  # over before anybody closed it
        return since <= closed.resolved_at
    return (not name or name in features(closed)) and _goes_on(project, closed, name)


def _known_at(closed: Incident) -> int:
    later = (int(closed.detail.get(name, 0)) for name in ("reopened_at", "grown_at"))
    return max(closed.opened_at, *later)


def _since(incident: Incident, entry: Mapping[str, Any]) -> int:
    found = entry.get("since")
    return incident.since if found is None else int(found)


def _goes_on(project: Project, closed: Incident, name: str) -> bool:
    """Whether every window that was judged since an incident was told of shows its cause still."""
    windows = operations.windows(project.ws, endpoint=closed.endpoint, model=closed.detail["model"])
    since = [
        one
        for one in windows
        if one.role != "shadow"
        and one.judged_at
        and not one.features.get("reason")
        and one.end > _known_at(closed)
    ]
    return bool(since) and all(
        any(_shows(found, closed.kind, name) for found in one.findings) for one in since
    )


def _shows(finding: Mapping[str, Any], kind: str, name: str) -> bool:
    if finding["kind"] != kind or finding.get("detail", {}).get("lasts", 1.0) <= 0:
        return False
    return kind not in EACH_A_CAUSE or any(one["feature"] == name for one in finding["features"])
