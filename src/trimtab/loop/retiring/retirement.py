"""What is known of an endpoint's end: one record, from its announcement to its free port.

Whoever wants to know whether an endpoint still takes part in the loop asks here; `retire` carries it
on. Every change of phase is chained.
"""

from __future__ import annotations

from typing import Final

import msgspec

from trimtab import ids
from trimtab.loop.project import Project
from trimtab.loop.retiring.ending import Retirement
from trimtab.store import ledger, states
from trimtab.store.workspace import Workspace

KIND: Final = "retire"
IN_FORCE: Final = ("announced", "gone", "retired")
ENDED: Final = ("gone", "retired")


def of(ws: Workspace, endpoint: str) -> Retirement | None:
    """The newest retirement of an endpoint, also one that was taken back; None without any."""
    found = states.get(ws, _name(endpoint))
    return None if found is None else msgspec.convert(found, Retirement)


def in_force(ws: Workspace, endpoint: str) -> Retirement | None:
    """The retirement of an endpoint that is announced, at work or done."""
    found = of(ws, endpoint)
    return found if found is not None and found.phase in IN_FORCE else None


def is_over(ws: Workspace, endpoint: str) -> bool:
    """Whether an endpoint has answered for the last time."""
    found = of(ws, endpoint)
    return found is not None and found.phase in ENDED


def every(ws: Workspace) -> list[Retirement]:
    """Every retirement in force, by the endpoint's name."""
    found = (msgspec.convert(one, Retirement) for one in states.find(ws, _name("")).values())
    return [one for one in found if one.phase in IN_FORCE]


def put(ws: Workspace, one: Retirement) -> None:
    """Keep a new phase, chained; in one transaction."""
    with ws.transaction():
        states.put(ws, _name(one.endpoint), msgspec.to_builtins(one))
        ledger.append(ws, KIND, one)


def brake(project: Project) -> str:
    """Why the project's model is not trained any more, "" where it is."""
    found = in_force(project.ws, project.config.model_name)
    return "" if found is None else f"its endpoint is to retire: {sentence(found)}"


def sentence(one: Retirement, now: int | None = None) -> str:
    """Where it stands, for people."""
    name, why = one.endpoint, f" ({one.reason})" if one.reason else ""
    after = f"; {one.successor} comes after it" if one.successor else ""
    if one.phase == "announced":
        return f"{name} retires on {_moment(one.sunset_at)}{why}{after}"
    if one.phase == "gone":
        return f"{name} answers 410 until {_moment(one.until)}{why}{after}"
    if one.phase == "retired":
        return f"{name} was retired on {_moment(one.gone_at)}{why}{after}"
    return f"the retirement of {name} was taken back on {_moment(one.ended_at)}"


def _moment(micros: int) -> str:
    return ids.iso(micros)[:16].replace("T", " ") + " UTC"


def _name(endpoint: str) -> str:
    return f"retire:{endpoint}"
