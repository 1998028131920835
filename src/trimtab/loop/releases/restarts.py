"""An endpoint whose process died is started again; one that does not come up is handed to a person."""

from __future__ import annotations

from typing import Final

from trimtab.deploy import local
from trimtab.errors import TrimtabError
from trimtab.loop import acts, jobs
from trimtab.loop.alerts import incidents
from trimtab.loop.notes import Notes
from trimtab.loop.project import Project
from trimtab.store import operations
from trimtab.store.records import Action, Endpoint

KIND: Final = "restart"


def look(project: Project, endpoint: Endpoint, notes: Notes) -> None:
    """Start a lost endpoint, or end what a pass that died while it did so has left."""
    ws, name = project.ws, endpoint.name
    known = operations.actions_under(ws, f"{KIND}:{name}:", 0)
    begun = next((one for one in known if one.state == "planned"), None)
    if begun is not None and endpoint.state == "ready":
        operations.update_action(ws, begun.id, "done")
        notes.acted.append(begun)
        return
    if endpoint.target != local.TARGET or endpoint.state not in _DOWN[begun is not None]:
        return
    if not endpoint.routes:
        return
    down = f"{name}:{incidents.DOWN}"
    if any(one.key == down for one in operations.incidents(ws, state="open", endpoint=name)):
        notes.waiting.append(f"{name} does not start; a person must decide")
        return
    action = begun or acts.planned(project, KIND, f"{KIND}:{name}:{len(known)}", {"endpoint": name})
    _start(project, endpoint, action, notes)


_DOWN: Final = {False: ("lost",), True: ("lost", "stopped", "starting")}
"""In which states an endpoint is to be started: where a start was begun, it left other ones."""


def _start(project: Project, endpoint: Endpoint, action: Action, notes: Notes) -> None:
    ws, config, name = project.ws, project.config, endpoint.name
    attempts = int(action.result.get("attempts", 0)) + 1
    operations.update_action(ws, action.id, "planned", attempts=attempts)
    try:
        local.start(ws, name, config.serve, verify_key=config.model.verify_key)
    except TrimtabError as error:
        # Whatever keeps it down keeps nothing else from being looked after.
        if attempts < jobs.MAX_ATTEMPTS:
            notes.waiting.append(f"{name} did not start (attempt {attempts}): {error.message}")
            return
        with ws.transaction():
            operations.update_action(ws, action.id, "failed", reason=error.message)
            notes.acted += incidents.down(project, name, error.message)
        return
    operations.update_action(ws, action.id, "done")
    notes.acted.append(action)
