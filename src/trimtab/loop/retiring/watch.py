"""The end of a watch: a model inside another server is watched no more under a monitor's name.

Nothing answers here and nobody has to be told, so it ends at once. What was seen stays; whoever logs
a newer row under the name is watched again. Models keep their aliases: a watch never steers.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from trimtab import ids
from trimtab.deploy import tomb
from trimtab.errors import ConflictError, UsageError
from trimtab.loop.alerts import incidents
from trimtab.loop.notes import Notes
from trimtab.loop.project import Project
from trimtab.loop.retiring import retirement
from trimtab.loop.retiring.ending import Kept, Phase, Plan, Retirement, Wish
from trimtab.loop.turn import turn
from trimtab.monitor.embed import spool
from trimtab.store import operations, states
from trimtab.store.records import Action, Endpoint

_ENDED: Final = "watching ended"
_KEPT: Final = (
    Kept(what="windows and incidents", why="`trimtab monitor` and the page go on showing them"),
    Kept(what="ledger, evidence", why="an audit reads them; they hold digests and measurements"),
    Kept(what="the model", why="it answers in another server, if anywhere; its aliases stay"),
)


def is_one(row: Endpoint) -> bool:
    """Whether a row is a watch of another server's model and no endpoint."""
    return row.target == spool.TARGET


def plan(project: Project, wish: Wish, row: Endpoint, models: list[str], now: int) -> Plan:
    """What ending a watch would do; raises UsageError for what only callers could be told."""
    if wish.successor or wish.within:
        raise UsageError(
            f"{row.name!r} is a monitor inside another server: nobody who calls could be told beforehand",
            hint="leave --in and --successor out: watching ends at once",
        )
    known = retirement.in_force(project.ws, row.name)
    at = known.gone_at if known else now
    return Plan(
        endpoint=row, url="", models=models, retirement=known, consumers=[], recent=[],
        refusal=retirement.sentence(known) if known else "", sunset_at=at, until=at, successor="",
        link="", open_rollouts=[], erases=[], keeps=list(_KEPT), memory=0, disk=0,
        price_per_month=0.0, newest_row=_newest(project, row.name),
    )  # fmt: skip


def check(found: Plan) -> None:
    """Raises ConflictError where a watch has ended already."""
    if found.refusal:
        raise ConflictError(
            found.refusal, hint="`--cancel` takes that back, and so does the next row that it logs"
        )


def end(project: Project, wish: Wish, found: Plan, now: int) -> None:
    """Watch no more, in one transaction: the watch's incidents are resolved with it."""
    ws, name = project.ws, found.endpoint.name
    one = Retirement(
        id=ids.new_id(), endpoint=name, phase="retired", reason=wish.reason,
        by=wish.by or "a person", announced_at=now, sunset_at=now, gone_at=now, until=now,
        retired_at=now, models=tuple(found.models),
    )  # fmt: skip
    with ws.transaction():
        retirement.put(ws, one)
        operations.save_endpoint(
            ws, msgspec.structs.replace(found.endpoint, state=tomb.RETIRED, updated_at=now)
        )
        why = f": {wish.reason}" if wish.reason else ""
        incidents.ended_with(project, name, f"{_ENDED}{why}")
        operations.plan_action(ws, _done(one, "end", f"{name} is watched no more"))


def again(project: Project, one: Retirement, notes: Notes) -> list[str]:
    """Take in what a monitor has left since its watch ended, and watch it again where rows are newer
    than that; returns sentences on what a person should know.

    What was logged before and came late is counted and brings nothing back.
    """
    ws, name = project.ws, one.endpoint
    said = spool.take(ws, name)
    with turn(ws, f"retire:{name}"):
        known = retirement.in_force(ws, name)
        if known is None:
            return said
        if _newest(project, name) <= known.gone_at:
            # a pass at work meanwhile may have opened one
            incidents.ended_with(project, name, _ENDED)
            return said
        action = _done(known, "again", f"{name} logs again and is watched again")
        with ws.transaction():
            resume(project, known, "revived")
            operations.plan_action(ws, action)
    notes.acted.append(action)
    return said


def resume(project: Project, one: Retirement, phase: Phase) -> Retirement:
    """Watch on, by the rows of a monitor or by a person's word."""
    ws = project.ws
    back = msgspec.structs.replace(one, phase=phase, ended_at=ids.now())
    row = operations.endpoint(ws, one.endpoint)
    with ws.transaction():
        operations.save_endpoint(
            ws, msgspec.structs.replace(row, state=spool.STATE, updated_at=back.ended_at)
        )
        retirement.put(ws, back)
    return back


def _newest(project: Project, name: str) -> int:
    return int(states.get(project.ws, f"newest:{name}") or 0)


def _done(one: Retirement, word: str, said: str) -> Action:
    now = ids.now()
    cause: dict[str, Any] = {"endpoint": one.endpoint, "retirement": one.id}
    return Action(
        id=ids.new_id(), kind=retirement.KIND, key=f"{retirement.KIND}:{one.id}:{word}",
        state="done", cause=cause | {"reason": one.reason, "by": one.by}, result={"said": said},
        created_at=now, updated_at=now,
    )  # fmt: skip
