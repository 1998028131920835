"""A person's hand on a rollout: advance it, keep it where it is, let it go on, end it.

Each is a row among the actions and an entry in the ledger, with who and why. What fails keeps a
person from advancing as it keeps the controller, unless a reason is given that is kept; nothing
keeps one from going back.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from trimtab import ids
from trimtab.deploy import local
from trimtab.errors import ConflictError, NotFoundError, RefusedError, TrimtabError
from trimtab.loop import freeze, hand
from trimtab.loop.alerts import incidents
from trimtab.loop.hand import NOBODY, Hand
from trimtab.loop.project import Project
from trimtab.loop.releases import experiment, heard, release, rollout
from trimtab.loop.releases.shown import Hold, RolloutShown, Steered
from trimtab.loop.reports import Deployed
from trimtab.monitor import observe
from trimtab.monitor.log import progress
from trimtab.store import evidence, operations, states, versions
from trimtab.store.records import Rollout, Verdict, Version
from trimtab.store.workspace import Workspace

DRILL: Final = "drill"
_SHOWN_DRILLS: Final = 3


def find(project: Project, what: str) -> Rollout:
    """A rollout by its id, a beginning of it, or its endpoint: the open one there, or the newest.

    Raises NotFoundError.
    """
    known = operations.rollouts(project.ws)
    mine = [one for one in known if one.endpoint == what and one.cause.get("kind") != DRILL]
    if mine:
        return next((one for one in mine if one.state == "open"), mine[0])
    found = [one for one in known if what and one.id.startswith(what)]
    if len(found) != 1:
        raise NotFoundError(
            f"there is no single rollout {what!r}",
            hint="say its id or its endpoint; see `trimtab rollouts ls`",
        )
    return found[0]


def shown(project: Project, one: Rollout) -> RolloutShown:
    """A rollout with what it waits for, as the last pass of the controller saw it."""
    ws = project.ws
    kept = states.get(ws, f"rollout:{one.id}") or {}
    drills = evidence.find(ws, metric="rollback_seconds", window=f"drill:{one.endpoint}", limit=20)
    judged = msgspec.convert(kept.get("verdicts", []), list[Verdict])
    return RolloutShown(
        rollout=one,
        candidate=versions.get(ws, "model", one.candidate).label,
        champion=versions.get(ws, "model", one.champion).label,
        stage=one.stages[one.stage],
        share=rollout.share_of(one.stages[one.stage]) if one.state == "open" else 0.0,
        waits=_waits(project, one, judged),
        verdicts=judged,
        hold=held(ws, one),
        ab=experiment.terms(one),
        drills=drills[:_SHOWN_DRILLS],
    )


def kept(ws: Workspace, one: Rollout, now: int) -> str:
    """Why the controller leaves an open rollout where it is, though it would pass; "" if it may
    go on. What fails goes back all the same.
    """
    found = held(ws, one)
    if found is not None:
        why = f": {found.reason}" if found.reason else ""
        return f"held by {found.by} since {_moment(found.since)}{why}; `trimtab rollouts release`"
    return experiment.waits(one, now)


def patient(one: Rollout, now: int) -> Rollout:
    """The rollout as if its stage began now: one that a person keeps is not undecided too long."""
    return msgspec.structs.replace(one, staged_at=now)


def held(ws: Workspace, one: Rollout) -> Hold | None:
    """Who keeps an open rollout where it is, or None."""
    found = states.get(ws, _hold(one)) if one.state == "open" else None
    return None if found is None else msgspec.convert(found, Hold)


def advance(project: Project, what: str, who: Hand = NOBODY, *, at: str = "") -> Steered:
    """Move an open rollout one stage on, from the last one to the champion's place.

    With `at`, only where it is at that stage: asked again, it has moved and stays. Raises
    RefusedError where something fails or a freeze is on, unless `force` is given with a reason.
    """
    project, ws = project.applied(), project.ws
    who.check()
    with hand.moving(ws):
        one = find(project, what)
        if at and at in one.stages[: one.stage] + (one.stages if one.state == "promoted" else []):
            return Steered(rollout=one, message=f"it has left {at} already", changed=False)
        _check_open(one)
        if at and at != one.stages[one.stage]:
            raise ConflictError(f"it is at {one.stages[one.stage]}, not at {at}")
        against = _objections(project, one)
        if against and not who.force:
            raise RefusedError(
                against[0], hint='overrule it with --force --reason "...", kept in the ledger'
            )
        return _advance(project, one, who, overruled=against)


def hold(project: Project, what: str, who: Hand = NOBODY) -> Steered:
    """Keep an open rollout at its stage until it is released; a second time changes nothing."""
    ws = project.ws
    with hand.moving(ws):
        one = find(project, what)
        _check_open(one)
        before = held(ws, one)
        if before is not None:
            said = f"{before.by} holds it since {_moment(before.since)} already"
            return Steered(rollout=one, message=said, changed=False)
        found = Hold(by=who.by or "a person", reason=who.reason, since=ids.now())
        stage = one.stages[one.stage]
        said = f"rollout at {one.endpoint} held at {stage}"
        with ws.transaction():
            states.put(ws, _hold(one), msgspec.to_builtins(found))
            action = hand.note(
                ws, "hold", f"{one.id}:hold:{found.since}", said,
                who, rollout=one.id, stage=stage,
            )  # fmt: skip
    return Steered(rollout=one, message=said, action=action)


def let_go(project: Project, what: str, who: Hand = NOBODY) -> Steered:
    """Release a rollout that was held; its stage's time begins anew."""
    ws = project.ws
    with hand.moving(ws):
        one = find(project, what)
        _check_open(one)
        before = held(ws, one)
        if before is None:
            return Steered(rollout=one, message="nobody holds it", changed=False)
        said = f"rollout at {one.endpoint} released at {one.stages[one.stage]}"
        moved = msgspec.structs.replace(one, staged_at=ids.now())
        with ws.transaction():
            states.put(ws, _hold(one), None)
            operations.update_rollout(ws, moved)
            action = hand.note(
                ws, "release", f"{one.id}:release:{before.since}", said,
                who, rollout=one.id, stage=one.stages[one.stage],
            )  # fmt: skip
    return Steered(rollout=moved, message=said, action=action)


def rollback(project: Project, what: str, who: Hand = NOBODY) -> Steered:
    """End an open rollout: the champion answers alone again. Asked again, it is so already."""
    with hand.moving(project.ws):
        one = find(project, what)
        if one.state == "rolled_back":
            return Steered(rollout=one, message="it is rolled back already", changed=False)
        _check_open(one)
        return back(project, one, who)


def go_back(project: Project, name: str = "", who: Hand = NOBODY) -> Deployed:
    """End the open rollout of an endpoint, or go back to the model before its champion."""
    ws = project.ws
    name = name or project.config.model_name
    if local.find(ws, name) is None:
        raise NotFoundError(f"there is no endpoint {name!r}", hint="see `trimtab endpoints ls`")
    if not operations.rollouts(ws, endpoint=name, state="open"):
        return release.rollback(project, name, who)
    done = rollback(project, name, who)
    champion = versions.get(ws, "model", done.rollout.champion)
    endpoint = operations.endpoint(ws, name)
    return Deployed(
        endpoint=endpoint, url=local.url(endpoint), version=champion.label,
        message=f"the rollout is over; {champion.label} answers",
    )  # fmt: skip


def back(project: Project, one: Rollout, who: Hand) -> Steered:
    """`rollback` of an open rollout for who is alone at it already."""
    ws = project.ws
    champion = versions.get(ws, "model", one.champion)
    stage = one.stages[one.stage]
    said = f"at {stage} {_by(who)}"
    moved = msgspec.structs.replace(one, state="rolled_back", reason=said, closed_at=ids.now())
    with ws.transaction():
        # The routes first: a death in between leaves a rollout that is open and is routed again.
        local.set_routes(ws, one.endpoint, [local.spec(ws, champion, "champion", 1.0)])
        operations.update_rollout(ws, moved)
        experiment.decided(project, one, said)
        action = hand.note(
            ws, "roll back", f"{one.id}:rollback", f"{champion.label} answers alone again",
            who, rollout=one.id, stage=stage,
        )  # fmt: skip
    return Steered(rollout=moved, message=f"{champion.label} answers alone again", action=action)


def _advance(project: Project, one: Rollout, who: Hand, *, overruled: list[str]) -> Steered:
    ws, now = project.ws, ids.now()
    candidate, champion = (versions.get(ws, "model", x) for x in (one.candidate, one.champion))
    is_last = one.stage + 1 >= len(one.stages)
    stage = one.stages[one.stage]
    why = _by(who)
    if is_last:
        moved = msgspec.structs.replace(one, state="promoted", reason=why, closed_at=now)
        said = f"{candidate.label} is champion"
    else:
        moved = msgspec.structs.replace(one, stage=one.stage + 1, staged_at=now, reason=why)
        said = f"{candidate.label} from {stage} to {moved.stages[moved.stage]}"
    about: dict[str, Any] = {"rollout": one.id, "stage": stage}
    if overruled:
        about["overruled"] = overruled
        said += f", though {'; '.join(overruled)}"
    kind = "promote" if is_last else "advance"
    with ws.transaction():
        action = hand.note(ws, kind, f"{one.id}:{one.stage}:advance", said, who, **about)
        if is_last:
            _promote(project, one, candidate, champion)
        operations.update_rollout(ws, moved)
    if not is_last:
        rollout.route(project, moved, candidate, champion)
    return Steered(rollout=moved, message=said, action=action)


def _promote(project: Project, one: Rollout, candidate: Version, champion: Version) -> None:
    release.switch(project, one.endpoint, candidate, champion)
    cause = str(one.cause.get("incident", ""))
    now = observe.present(project.ws, project.config, one.endpoint)
    incidents.resolve_by(project, one.endpoint, candidate, one.id, now, cause=cause)
    experiment.decided(project, one, f"{candidate.label} was promoted")


def _objections(project: Project, one: Rollout) -> list[str]:
    """What speaks against advancing by hand; what is undecided does not."""
    frozen = freeze.frozen(project.config, ids.now())
    found = [f"advancing waits: {frozen.sentence}"] if frozen else []
    deaf = heard.why(project, one.endpoint)
    found += [deaf] if deaf else []
    try:
        step = rollout.look(project, patient(one, ids.now()), ids.now())
        failed = [v for v in step.verdicts if v.status == "fail"]
        found += [f"{v.text} failed: {v.reason}" for v in failed]
        if one.stage + 1 >= len(one.stages):
            decision, reason = rollout.last_look(project, one, "")
            found += [reason] if decision != "promote" else []
        elif step.decision == "roll back" and not failed:
            found.append(step.reason)
    except TrimtabError as error:
        found.append(f"it cannot be judged: {error.message}")
    return found


def _waits(project: Project, one: Rollout, judged: list[Verdict]) -> str:
    if one.state != "open":
        return f"{one.state.replace('_', ' ')} at {_moment(one.closed_at)}: {one.reason}"
    now = ids.now()
    said = kept(project.ws, one, now)
    if said:
        return said
    seen = progress.of(project.ws, one)
    is_shadow = one.stages[one.stage] == "shadow"
    answered = int(seen.counts.sum()) if is_shadow else seen.answered
    decision, reason = rollout.decide(project.config, one, judged, answered, now)
    rests = freeze.rests(project, now)
    return f"{decision}: {reason}" + (f"; {rests}" if rests else "")


def _check_open(one: Rollout) -> None:
    if one.state != "open":
        raise ConflictError(
            f"the rollout at {one.endpoint!r} is {one.state.replace('_', ' ')} already",
            hint="`trimtab deploy MODEL@vN` opens another",
        )


def _moment(micros: int) -> str:
    return ids.iso(micros // 1_000_000 * 1_000_000)


def _by(who: Hand) -> str:
    return f"by {who.by or 'a person'}" + (f": {who.reason}" if who.reason else "")


def _hold(one: Rollout) -> str:
    return f"hold:{one.id}"
