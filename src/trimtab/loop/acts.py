"""An act is a row before it is done, under a key that makes it happen once."""

from __future__ import annotations

from typing import Any

from trimtab import ids
from trimtab.loop.project import Project
from trimtab.store import operations
from trimtab.store.records import Action


def planned(
    project: Project, kind: str, key: str, cause: dict[str, Any], *, said: str = ""
) -> Action:
    """Write an action down; one whose key is known already is the same action, taken up again."""
    now = ids.now()
    action = Action(
        id=ids.new_id(),
        kind=kind,
        key=key,
        state="planned",
        cause=cause,
        result={"said": said} if said else {},
        created_at=now,
        updated_at=now,
    )
    if operations.plan_action(project.ws, action):
        return action
    return next(one for one in operations.actions(project.ws, kind=kind) if one.key == key)
