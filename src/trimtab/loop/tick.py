"""One idempotent pass of the controller: observe, compare, act.

Level-triggered: it reads what is, compares it with the configuration in force and does what is
lacking; every act is a row before it is done, under a key that makes it happen once. A pass that
dies anywhere is repaired by the next. No user code runs here and no modelling library is loaded:
retraining is a job in a process of its own.
"""

from __future__ import annotations

import fcntl
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from trimtab import ids
from trimtab.deploy import local
from trimtab.loop import acts, compact, firings, freeze, hand, quiet
from trimtab.loop.alerts import incidents, notify, outlived
from trimtab.loop.candidate import retrain
from trimtab.loop.notes import Notes
from trimtab.loop.project import Project
from trimtab.loop.releases import drill, experiment, heard, release, restarts, rollout, steering
from trimtab.loop.reports import Pass
from trimtab.loop.retiring import retire, retirement, watch
from trimtab.monitor import observe
from trimtab.monitor.embed import spool
from trimtab.monitor.outcomes import knowledge
from trimtab.store import leases, operations, states, versions
from trimtab.store.records import Action, Endpoint, Rollout, Version
from trimtab.store.workspace import Workspace
from trimtab.track import process

_LEASE_SECONDS = 120.0


def tick(project: Project, *, now: int | None = None) -> Pass:
    """Make one pass under the configuration in force; raises NotFoundError before the first apply.

    `now` is the present in microseconds; giving it makes time virtual, as replays do. Two passes
    at once are one pass: the second finds the first at work and says so.
    """
    same = quiet.still(project.ws) if now is None else None
    if same is not None:
        return same
    project = project.applied()
    with _alone(project.ws) as alone:
        if not alone:
            return Pass(observed=[], acted=[], waiting=["another pass is at work"], settled=False)
        before = quiet.marks(project.ws, project.config.serve.labels)
        project = project.applied()
        if states.get(project.ws, observe.VIRTUAL) != now:
            states.put(project.ws, observe.VIRTUAL, now)
        done = _pass(project, now)
        if now is None:
            quiet.keep(project, before, done)
        return done


@contextmanager
def _alone(ws: Workspace) -> Iterator[bool]:
    """Whether no other pass is at work: a lock among this machine's processes, which ends with
    whoever holds it, and where machines share a store a lease among them, which is the machine's
    and not the process's. An SQLite file in WAL mode is one machine's (sqlite.org/wal.html).
    """
    holder = f"{socket.gethostname()}:{ws.root}"
    with (ws.root / "tick.lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        if ws.engine.dialect.name == "sqlite":
            yield True
            return
        if not leases.acquire(ws, "tick", holder, _LEASE_SECONDS):
            yield False
            return
        try:
            yield True
        finally:
            leases.release(ws, "tick", holder)


def _pass(project: Project, now: int | None) -> Pass:
    notes = Notes()
    process.reap(project.ws)
    present = ids.now() if now is None else now
    rests = freeze.rests(project, present)
    if not rests:
        for one in retirement.every(project.ws):
            retire.advance(project, one.endpoint, notes, present)
        jobs = retrain.advance(project, notes) + firings.advance(project, notes)
        firings.fire(project, notes, present)
    else:
        jobs = 0
        notes.waiting.append(rests)
    endings = {one.endpoint: one for one in retirement.every(project.ws)}
    for endpoint in local.every(project.ws):
        ending = endings.get(endpoint.name)
        if ending is not None and watch.is_one(endpoint):
            notes.observed += watch.again(project, ending, notes)
            ending = retirement.in_force(project.ws, endpoint.name)
        if ending is None or ending.phase == "announced":
            # What is to go gets no other model.
            idle = bool(rests) or ending is not None
            _endpoint(project, endpoint, notes, now, rests=idle)
    notes.observed += notify.deliver(project)
    return Pass(
        observed=notes.observed,
        acted=notes.acted,
        waiting=notes.waiting,
        settled=not notes.acted and not jobs,
        blind=any(
            knowledge.blind(project.ws, one.name)
            for one in local.every(project.ws)
            if not retirement.is_over(project.ws, one.name)
        ),
    )


def _endpoint(
    project: Project, endpoint: Endpoint, notes: Notes, now: int | None, *, rests: bool
) -> None:
    ws, name = project.ws, endpoint.name
    restarts.look(project, endpoint, notes)
    heard.look(project, endpoint, notes)
    champion = release.champion_of(project, name)
    if champion is None:
        return
    embedded = endpoint.target == spool.TARGET
    if embedded:
        notes.observed += spool.take(ws, name)
    seen = observe.observe(ws, project.config, name, champion, now=now)
    notes.observed += seen.sentences
    for over in outlived.look(project, name, champion, seen.now):
        notes.observed.append(f"{name}: the incident of {over.kind} is over; {over.resolution}")
    notes.acted += incidents.compare(project, name, champion, seen)
    if embedded:  # what another server answers with is not ours to retrain or to roll out
        return
    compact.begin(project, name)
    with hand.moving(ws):
        for one in operations.rollouts(ws, endpoint=name, state="open"):
            if not drill.mended(project, one):
                _rollout(project, one, notes, seen.now, rests=rests)
    if not rests:
        _retrain(project, name, notes)


def _rollout(project: Project, one: Rollout, notes: Notes, now: int, *, rests: bool) -> None:
    """Take the next step of a rollout; a controller that rests takes none but the one back."""
    ws = project.ws
    candidate = versions.get(ws, "model", one.candidate)
    champion = versions.get(ws, "model", one.champion)
    rollout.route(
        project, one, candidate, champion
    )  # repairs routes that a killed pass left behind
    kept = steering.kept(ws, one, ids.now())
    deaf = heard.DEAF if heard.why(project, one.endpoint) else ""
    step = rollout.look(project, steering.patient(one, ids.now()) if kept else one, ids.now())
    stage = one.stages[one.stage]
    said = f"{candidate.label} at {stage}: {step.decision}; {step.reason}"
    if step.decision == "hold" or ((rests or kept or deaf) and step.decision != "roll back"):
        why = kept or deaf
        notes.waiting.append(f"{candidate.label} at {stage}: {why}" if why else said)
        notes.acted += experiment.over(project, one, ids.now())
        return
    # The decision and what follows from it in the store are one; routes that are written before a
    # pass dies, or not yet, are what the rollout's row says again at the next.
    with ws.transaction():
        action = acts.planned(
            project,
            step.decision,
            f"rollout:{one.id}:{one.stage}:{step.decision}",
            {"rollout": one.id, "stage": stage, "verdicts": [v.id for v in step.verdicts]},
            said=said,
        )
        moved = _carry_out(project, one, step, (candidate, champion), now)
        operations.update_action(ws, action.id, "done")
        if moved.state != "open":
            experiment.decided(project, one, step.reason)
    notes.acted.append(action)
    if moved.state == "open":
        rollout.route(project, moved, candidate, champion)


def _carry_out(
    project: Project, one: Rollout, step: rollout.Step, models: tuple[Version, Version], now: int
) -> Rollout:
    """Move a rollout on, to its end or back; its candidate and champion are `models`."""
    ws, moment = project.ws, ids.now()
    candidate, champion = models
    if step.decision == "advance":
        moved = msgspec.structs.replace(
            one, stage=one.stage + 1, staged_at=moment, reason=step.reason
        )
        operations.update_rollout(ws, moved)
        return moved
    state = "promoted" if step.decision == "promote" else "rolled_back"
    moved = msgspec.structs.replace(one, state=state, reason=step.reason, closed_at=moment)
    if step.decision == "promote":
        release.switch(project, one.endpoint, candidate, champion)
        operations.update_rollout(ws, moved)
        cause = str(one.cause.get("incident", ""))
        incidents.resolve_by(project, one.endpoint, candidate, one.id, now, cause=cause)
    else:
        local.set_routes(ws, one.endpoint, [local.spec(ws, champion, "champion", 1.0)])
        operations.update_rollout(ws, moved)
        incidents.refused(project, one.endpoint, candidate.label, step.reason, one.id)
    return moved


def _retrain(project: Project, name: str, notes: Notes) -> None:
    if operations.rollouts(project.ws, endpoint=name, state="open"):
        return
    for incident in operations.incidents(project.ws, state="open", endpoint=name):
        proposed = retrain.propose(project, incident)
        if isinstance(proposed, Action):
            notes.acted.append(proposed)
        elif proposed:
            notes.waiting.append(proposed)
