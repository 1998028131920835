"""An endpoint's way out: announced, gone, retired; and back.

Each step is a row before the act and may be done again: `begin` writes down what a person wants,
`advance` (of `tick`, or of the command itself) does what is lacking. A pass that is killed anywhere
is repaired by the next. docs/loop.md explains it to people.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final

import msgspec

from trimtab import ids
from trimtab.config import duration
from trimtab.deploy import local, tomb
from trimtab.errors import ConflictError, TrimtabError
from trimtab.loop.alerts import incidents
from trimtab.loop.gate import CHAMPION
from trimtab.loop.notes import Notes
from trimtab.loop.project import Project
from trimtab.loop.retiring import erase, retire_plan, retirement, shelf, watch
from trimtab.loop.retiring.ending import Phase, Plan, Retirement, Wish
from trimtab.loop.retiring.retirement import KIND
from trimtab.loop.turn import turn
from trimtab.monitor import observe
from trimtab.serve import notice
from trimtab.serve.notice import Notice
from trimtab.store import operations, refs, versions
from trimtab.store.records import Action, Version

RETIRED: Final = "retired"
PREVIOUS: Final = "previous"
_RETRAINS: Final = ("retrain", "fire")


def begin(project: Project, wish: Wish) -> Plan:
    """Announce an endpoint's end and do at once what is due.

    Raises RefusedError where somebody called lately and is not told beforehand, ConflictError where it
    is to retire already, NotFoundError and UsageError for what cannot be.
    """
    now, ws = ids.now(), project.ws
    name = wish.endpoint or project.config.model_name
    with turn(ws, f"retire:{name}"):
        plan = retire_plan.plan(project, wish, now)
        retire_plan.check(plan)
        if watch.is_one(plan.endpoint):
            watch.end(project, wish, plan, now)
            return _done_plan(project, name)
        grace = duration(project.config.retire.grace)
        wanted = Retirement(
            id=ids.new_id(),
            endpoint=name,
            phase="announced",
            reason=wish.reason,
            by=wish.by or "a person",
            successor=wish.successor,
            link=plan.link,
            announced_at=now,
            sunset_at=plan.sunset_at,
            until=plan.sunset_at + grace,
            callers=len(plan.consumers),
            models=tuple(plan.models),
            erase={one.what: one.at for one in plan.erases},
            price_per_month=plan.price_per_month,
        )
        retirement.put(ws, wanted)
    advance(project, wanted.endpoint, Notes(), ids.now())
    return _done_plan(project, name)


def advance(project: Project, name: str, notes: Notes, now: int) -> None:
    """Do what an endpoint's retirement lacks at this moment; nothing where there is none."""
    with turn(project.ws, f"retire:{name}"):
        one = retirement.in_force(project.ws, name)
        if one is None:
            return
        if one.phase == "announced":
            _announce(project, one, notes)
            tomb.announce(project.ws, _notice(project, one, "announced"))
            if now < one.sunset_at:
                notes.waiting.append(retirement.sentence(one))
                return
            one = _end(project, one, notes, now)
        _after(project, one, notes, now)


def cancel(project: Project, name: str) -> Retirement:
    """Take an announcement back; raises ConflictError where there is none, or it is too late."""
    ws = project.ws
    with turn(ws, f"retire:{name}"):
        one = retirement.in_force(ws, name)
        if one is None:
            raise ConflictError(f"{name!r} is not to retire: there is nothing to take back")
        if watch.is_one(operations.endpoint(ws, name)):
            return watch.resume(project, one, "cancelled")
        if one.phase != "announced":
            raise ConflictError(
                f"{retirement.sentence(one)}: too late to take back",
                hint="`trimtab deploy --revive` brings the endpoint back",
            )
        return _take_back(project, one, "cancelled")


def revive(project: Project, name: str) -> Retirement | None:
    """Make a retired endpoint one that may be deployed again; None where it is not retired.

    What was erased stays erased: whoever had a key needs another one.
    """
    ws = project.ws
    with turn(ws, f"retire:{name}"):
        one = retirement.in_force(ws, name)
        if one is None:
            return None
        if one.phase != "announced":
            tomb.stop(ws, name)
        return _take_back(project, one, "revived")


def refuse(project: Project, name: str) -> None:
    """Raises ConflictError where an endpoint is to retire, or has."""
    one = retirement.in_force(project.ws, name)
    if one is None:
        return
    if one.phase == "announced":
        raise ConflictError(
            retirement.sentence(one), hint=f"`trimtab retire {name} --cancel` takes that back"
        )
    raise ConflictError(retirement.sentence(one), hint="`--revive` brings the endpoint back")


def _done_plan(project: Project, name: str) -> Plan:
    found = retire_plan.plan(project, Wish(endpoint=name), ids.now())
    return msgspec.structs.replace(found, refusal="", done=True)


def _end(project: Project, one: Retirement, notes: Notes, now: int) -> Retirement:
    """From the last answer on: what the store knows of it changes in one transaction."""
    ws = project.ws
    gone = msgspec.structs.replace(
        one, phase="gone", gone_at=now,
        until=max(one.until, now + duration(project.config.retire.grace)),
    )  # fmt: skip
    called = retire_plan.callers(project, one.endpoint, now)
    still = [retire_plan.shown(x) for x in retire_plan.within_quiet(project, called, now)]

    def change() -> None:
        nonlocal gone
        _close_rollouts(project, one)
        _settle_jobs(project, one)
        gone = msgspec.structs.replace(gone, aliases=_take_aliases(project, one))
        retirement.put(ws, gone)
        incidents.ended_with(project, one.endpoint, "the endpoint was retired")

    said = f"{one.endpoint} answers nobody any more"
    _step(project, one, "end", notes, lambda: {"said": said, "still_called_by": still}, change)
    return gone


def _after(project: Project, one: Retirement, notes: Notes, now: int) -> None:
    """What follows the last answer: 410, a last look, erasures, and in the end a free port."""
    ws, name = project.ws, one.endpoint
    if one.phase == "gone":
        _step(project, one, "refuse", notes, lambda: _bury(project, one))
        if now < one.until and not tomb.is_refusing(ws, name):  # it died since
            _bury(project, one)
        _step(project, one, "look", notes, lambda: _look(project, one))
    if one.phase == "gone" and now < one.until:
        notes.waiting.append(retirement.sentence(one))
    elif one.phase == "gone":
        done = msgspec.structs.replace(one, phase="retired", retired_at=now)
        _step(project, one, "stop", notes, lambda: _stop(project, one),
              lambda: retirement.put(ws, done))  # fmt: skip
    for what, at in one.erase.items():
        if now >= at:
            _erase(project, one, what, notes)


def _stop(project: Project, one: Retirement) -> dict[str, Any]:
    tomb.stop(project.ws, one.endpoint)
    refused = tomb.refused(project.ws, one.endpoint)
    said = f"{one.endpoint} is over and its port free; {refused:,} requests were refused"
    return {"said": said, "refused": refused}


def _look(project: Project, one: Retirement) -> dict[str, Any]:
    """Count what it answered last, before anything of it is erased."""
    champion = _champion(project, one.endpoint)
    if champion is None:
        return {"said": "it answered with no model that is known"}
    try:
        seen = observe.observe(project.ws, project.config, one.endpoint, champion)
    except TrimtabError as error:
        return {"said": f"its last answers were not counted: {error.message}"}
    return {"said": "its last answers are counted", "seen": seen.sentences}


def _bury(project: Project, one: Retirement) -> dict[str, Any]:
    """Have requests refused; a port that is somebody else's is said and stops nothing."""
    ws, name = project.ws, one.endpoint
    before = tomb.memory(operations.endpoint(ws, name).pid)
    try:
        row = tomb.bury(ws, _notice(project, one, "gone"))
    except TrimtabError as error:
        return {"said": error.message}
    after = tomb.memory(row.pid)
    return {"said": f"{name} answers 410", "memory_before": before, "memory_after": after}


def _announce(project: Project, one: Retirement, notes: Notes) -> None:
    """Tell clients, and end what is on trial: a model that goes gets no successor by rollout."""

    def act() -> dict[str, Any]:
        closed = _close_rollouts(project, one)
        tomb.announce(project.ws, _notice(project, one, "announced"))
        return {"said": retirement.sentence(one), "closed_rollouts": closed}

    _step(project, one, "announce", notes, act)


def _close_rollouts(project: Project, one: Retirement) -> int:
    ws, is_open = project.ws, operations.rollouts(project.ws, endpoint=one.endpoint, state="open")
    for rollout in is_open:
        with contextlib.suppress(TrimtabError):  # a damaged package keeps nobody from leaving
            champion = versions.get(ws, "model", rollout.champion)
            local.set_routes(ws, one.endpoint, [local.spec(ws, champion, "champion", 1.0)])
        closed = msgspec.structs.replace(
            rollout, state="rolled_back", reason="the endpoint is to retire", closed_at=ids.now()
        )
        operations.update_rollout(ws, closed)
    return len(is_open)


def _take_aliases(project: Project, one: Retirement) -> dict[str, str]:
    """Its model is champion no more, unless another endpoint answers with it; it is marked."""
    ws, taken = project.ws, dict(one.aliases)
    served = _champion(project, one.endpoint)
    if served is None:
        return taken
    for other in operations.endpoints(ws):
        answers = any(x.startswith(f"{served.name}@") for x in retire_plan.models_of(other))
        if answers and other.name != one.endpoint and not retirement.is_over(ws, other.name):
            return taken
    known = versions.aliases(ws, "model", served.name)
    for alias in (CHAMPION, PREVIOUS):
        if known.get(alias):
            taken[f"{served.name}@{alias}"] = known[alias]
            versions.set_alias(ws, "model", served.name, alias, refs.ABSENT)
    versions.set_alias(ws, "model", served.name, RETIRED, served.digest)
    return taken


def _champion(project: Project, endpoint: str) -> Version | None:
    for route in operations.endpoint(project.ws, endpoint).routes.get("routes", []):
        if route["role"] == "champion":
            return versions.get(project.ws, "model", route["model"])
    return None


def _settle_jobs(project: Project, one: Retirement) -> None:
    """What was trained for it and waits is taken note of and goes nowhere."""
    for kind in _RETRAINS:
        for action in operations.unhandled(project.ws, kind):
            if action.cause.get("endpoint", "") == one.endpoint and action.state == "done":
                operations.update_action(
                    project.ws, action.id, "done", handled=True, reason="the endpoint was retired"
                )


def _erase(project: Project, one: Retirement, what: str, notes: Notes) -> None:
    """Measure, write down, erase, chain: in this order, and once."""
    ws, name = project.ws, one.endpoint
    key = _key(one, f"erase:{what}")
    action = operations.action_of(ws, key)
    if action is not None and action.state == "done":
        return
    version = what.removeprefix(erase.DATA)
    holders = (
        shelf.shared_with(project, name, versions.get(ws, "data", version))
        if what.startswith(erase.DATA)
        else []
    )
    if holders:
        notes.waiting.append(f"{erase.about(what)} stay: {', '.join(holders)} answers by them too")
        return
    if action is None:
        found = erase.survey(project, name, what, digested=True)
        action = _planned(one, f"erase:{what}", {"found": msgspec.to_builtins(found)})
        operations.plan_action(ws, action)
    found = msgspec.convert(action.result["found"], erase.Found)
    erase.erase(project, name, what)
    said = f"erased {erase.about(what)}: {found.files} files, {found.rows} rows"
    with ws.transaction():
        erase.chain(ws, name, one.id, found)
        operations.update_action(ws, action.id, "done", said=said)
    notes.acted.append(_done(action, {"said": said}))


def _take_back(project: Project, one: Retirement, phase: Phase) -> Retirement:
    ws = project.ws
    notice.remove(local.folder(ws, one.endpoint))
    back = msgspec.structs.replace(one, phase=phase, ended_at=ids.now())
    with ws.transaction():
        for name, digest in one.aliases.items():
            model, _, alias = name.rpartition("@")
            if not versions.aliases(ws, "model", model).get(alias):
                versions.set_alias(ws, "model", model, alias, digest)
            versions.set_alias(ws, "model", model, RETIRED, refs.ABSENT)
        retirement.put(ws, back)
    return back


def _step(
    project: Project,
    one: Retirement,
    word: str,
    notes: Notes,
    act: Callable[[], dict[str, Any]],
    then: Callable[[], None] | None = None,
) -> None:
    """A row, the act, and the row's end; what is done already is not done again.

    `then` changes the store in the transaction that ends the row.
    """
    ws, key = project.ws, _key(one, word)
    action = operations.action_of(ws, key)
    if action is not None and action.state == "done":
        return
    if action is None:
        action = _planned(one, word, {})
        operations.plan_action(ws, action)
    result = act()
    with ws.transaction():
        if then is not None:
            then()
        operations.update_action(ws, action.id, "done", **result)
    notes.acted.append(_done(action, result))


def _done(action: Action, result: dict[str, Any]) -> Action:
    return msgspec.structs.replace(action, state="done", result={**action.result, **result})


def _planned(one: Retirement, word: str, result: dict[str, Any]) -> Action:
    now = ids.now()
    cause = {"endpoint": one.endpoint, "retirement": one.id, "reason": one.reason, "by": one.by}
    return Action(
        id=ids.new_id(), kind=KIND, key=_key(one, word), state="planned", cause=cause,
        result=result, created_at=now, updated_at=now,
    )  # fmt: skip


def _notice(project: Project, one: Retirement, phase: Any) -> Notice:
    """What the endpoint's folder says; a successor that moved is followed."""
    link = one.link
    if one.successor and "://" not in one.successor:
        row = local.find(project.ws, one.successor)
        link = f"{local.url(row)}/predict" if row is not None and row.port else link
    return Notice(
        name=one.endpoint,
        phase=phase,
        announced_at=one.announced_at,
        sunset_at=one.sunset_at,
        until=one.until if phase == "gone" else 0,
        successor=one.successor,
        link=link,
        reason=one.reason,
    )


def _key(one: Retirement, word: str) -> str:
    return f"{KIND}:{one.id}:{word}"
