"""Rows of the running system: endpoints, rollouts, incidents, actions, windows and labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from trimtab import ids
from trimtab.errors import NotFoundError
from trimtab.store import ledger, tables
from trimtab.store.database import from_row, insert_new, to_row
from trimtab.store.records import (
    Action,
    Endpoint,
    Incident,
    Label,
    LabelChange,
    Record,
    Rollout,
    Window,
)
from trimtab.store.statements import in_parts
from trimtab.store.workspace import Workspace

R = TypeVar("R", bound=Record)


def save_endpoint(ws: Workspace, endpoint: Endpoint) -> None:
    """Insert or replace an endpoint's row."""
    table = tables.endpoints
    row = to_row(endpoint, project=ws.project) | {"updated_at": ids.now()}
    with ws.transaction() as tx:
        if not insert_new(ws.engine, table, row):
            tx.execute(
                table.update()
                .where(table.c.project == ws.project, table.c.name == endpoint.name)
                .values(**row)
            )


def endpoints(ws: Workspace) -> list[Endpoint]:
    """Every endpoint by name."""
    return _find(ws, Endpoint, tables.endpoints, order=tables.endpoints.c.name)


def endpoint(ws: Workspace, name: str) -> Endpoint:
    """An endpoint; raises NotFoundError."""
    known = endpoints(ws)
    for one in known:
        if one.name == name:
            return one
    names = ", ".join(one.name for one in known)
    raise NotFoundError(f"there is no endpoint {name!r}", hint=f"there is: {names or 'none yet'}")


def open_rollout(ws: Workspace, rollout: Rollout) -> bool:
    """Open a rollout; False where the endpoint has an open one."""
    with ws.transaction():
        opened = insert_new(ws.engine, tables.rollouts, to_row(rollout, project=ws.project))
        if opened:
            ledger.append(ws, "rollout", rollout)
    return opened


def update_rollout(ws: Workspace, rollout: Rollout) -> None:
    """Store a rollout's new stage or state, chained."""
    table = tables.rollouts
    with ws.transaction() as tx:
        moved = tx.execute(
            table.update()
            .where(table.c.project == ws.project, table.c.id == rollout.id)
            .values(**to_row(rollout))
        )
        if moved.rowcount != 1:
            raise NotFoundError(f"there is no rollout {rollout.id}")
        ledger.append(ws, "rollout", rollout)


def rollouts(
    ws: Workspace, *, endpoint: str | None = None, state: str | None = None
) -> list[Rollout]:
    """Rollouts, newest first."""
    table = tables.rollouts
    return _find(ws, Rollout, table, order=table.c.id.desc(), endpoint=endpoint, state=state)


def open_incident(ws: Workspace, incident: Incident) -> bool:
    """Open an incident; False where one with its key is open."""
    with ws.transaction():
        opened = insert_new(ws.engine, tables.incidents, to_row(incident, project=ws.project))
        if opened:
            ledger.append(ws, "incident", incident)
    return opened


def update_incident(ws: Workspace, incident: Incident) -> None:
    """Store an incident's new state, chained."""
    table = tables.incidents
    with ws.transaction() as tx:
        moved = tx.execute(
            table.update()
            .where(table.c.project == ws.project, table.c.id == incident.id)
            .values(**to_row(incident))
        )
        if moved.rowcount != 1:
            raise NotFoundError(f"there is no incident {incident.id}")
        ledger.append(ws, "incident", incident)


def incidents(
    ws: Workspace, *, state: str | None = None, endpoint: str | None = None
) -> list[Incident]:
    """Incidents, newest first."""
    table = tables.incidents
    return _find(ws, Incident, table, order=table.c.id.desc(), state=state, endpoint=endpoint)


def plan_action(ws: Workspace, action: Action) -> bool:
    """Write an action down before it is done; False where its key was planned before."""
    return insert_new(ws.engine, tables.actions, to_row(action, project=ws.project))


def update_action(ws: Workspace, action: str, state: str, **result: Any) -> None:
    """Move an action on; `result` is merged into what it has."""
    table = tables.actions
    with ws.transaction() as tx:
        old = tx.execute(sa.select(table.c.result).where(table.c.id == action)).scalar() or {}
        tx.execute(
            table.update()
            .where(table.c.id == action)
            .values(state=state, result={**old, **result}, updated_at=ids.now())
        )


def actions(ws: Workspace, *, kind: str | None = None, state: str | None = None) -> list[Action]:
    """Actions, newest first."""
    table = tables.actions
    return _find(ws, Action, table, order=table.c.id.desc(), kind=kind, state=state)


def actions_under(ws: Workspace, prefix: str, since: int) -> list[Action]:
    """Actions whose key begins with `prefix`, oldest first: open ones, and those since a moment."""
    table = tables.actions
    query = (
        sa.select(table)
        .where(
            table.c.project == ws.project,
            table.c.key >= prefix,
            table.c.key < prefix + "\U0010ffff",
            (table.c.created_at >= since) | table.c.state.in_(("planned", "running")),
        )
        .order_by(table.c.id)
    )
    with ws.reading() as db:
        return [from_row(Action, row) for row in db.execute(query)]


def unhandled(ws: Workspace, kind: str) -> list[Action]:
    """Actions that are planned, at work, or whose end nobody has `handled` yet; oldest first."""
    table = tables.actions
    told = sa.type_coerce(table.c.result, sa.Text)
    query = (
        sa.select(table)
        .where(
            table.c.project == ws.project,
            table.c.kind == kind,
            table.c.state != "skipped",
            table.c.state.in_(("planned", "running")) | ~told.contains('"handled":true'),
        )
        .order_by(table.c.id)
    )
    with ws.reading() as db:
        return [from_row(Action, row) for row in db.execute(query)]


def action_of(ws: Workspace, key: str) -> Action | None:
    """The action of a key, or None."""
    found = _find(ws, Action, tables.actions, order=tables.actions.c.id, key=key)
    return found[0] if found else None


def keys_of(ws: Workspace, keys: Iterable[str]) -> set[str]:
    """Which of these keys an action has."""
    table, wanted, found = tables.actions, list(keys), set[str]()
    with ws.reading() as db:
        for some in in_parts(wanted):
            query = sa.select(table.c.key).where(
                table.c.project == ws.project, table.c.key.in_(some)
            )
            found.update(db.execute(query).scalars())
    return found


def save_window(ws: Workspace, window: Window) -> None:
    """Insert or replace a window: rows that come late make it anew."""
    table = tables.windows
    same = (
        (table.c.project == ws.project)
        & (table.c.endpoint == window.endpoint)
        & (table.c.model == window.model)
        & (table.c.role == window.role)
        & (table.c.start == window.start)
    )
    with ws.transaction() as tx:
        tx.execute(table.delete().where(same))
        tx.execute(table.insert().values(**to_row(window, project=ws.project)))


def windows(
    ws: Workspace,
    *,
    endpoint: str | None = None,
    model: str | None = None,
    role: str | None = None,
    since: int | None = None,
) -> list[Window]:
    """Windows in order of time, those that begin at `since` or later."""
    table = tables.windows
    wanted = {"endpoint": endpoint, "model": model, "role": role}
    return _find(ws, Window, table, order=table.c.start, since=since, **wanted)


def window(ws: Workspace, like: Window) -> Window | None:
    """The row of a window as it is stored now; None where there is none."""
    table = tables.windows
    query = sa.select(table).where(
        table.c.project == ws.project,
        table.c.endpoint == like.endpoint,
        table.c.model == like.model,
        table.c.role == like.role,
        table.c.start == like.start,
    )
    with ws.reading() as db:
        row = db.execute(query).first()
    return None if row is None else from_row(Window, row)


def volumes(ws: Workspace, endpoint: str) -> list[tuple[int, int, str, int]]:
    """Start, end, role and rows of every window of an endpoint, whichever model answered."""
    table = tables.windows
    query = sa.select(table.c.start, table.c.end, table.c.role, table.c.rows).where(
        table.c.project == ws.project, table.c.endpoint == endpoint
    )
    with ws.reading() as db:
        return [(start, end, role, rows) for start, end, role, rows in db.execute(query)]


def add_labels(ws: Workspace, labels: Sequence[Label]) -> int:
    """Store labels and return how many predictions had none before.

    Of several labels for a prediction, the one of the latest `labelled_at` stays; of those, the one
    that came last. A label that says otherwise than the one before is written down either way.
    """
    table = tables.labels
    batch: dict[str, Label] = {}
    changes: list[LabelChange] = []
    for label in labels:
        before = batch.get(label.prediction)
        stands = before is None or before.labelled_at <= label.labelled_at
        if before is not None and before.value != label.value:
            changes.append(_change(before, label, stands))
        if stands:
            batch[label.prediction] = label
    with ws.transaction() as tx:
        known = labels_of(ws, batch)
        new = [label for label in batch.values() if label.prediction not in known]
        if new:
            tx.execute(table.insert(), [to_row(label, project=ws.project) for label in new])
        for old in known.values():
            label = batch[old.prediction]
            if old.value == label.value:
                continue
            if (old.value, label.value) not in _told(tx, ws, old.prediction):
                changes.append(_change(old, label, old.labelled_at <= label.labelled_at))
            if old.labelled_at <= label.labelled_at:
                tx.execute(
                    table.update()
                    .where(table.c.project == ws.project, table.c.prediction == label.prediction)
                    .values(**to_row(label))
                )
        if changes:
            tx.execute(
                tables.label_changes.insert(), [to_row(one, project=ws.project) for one in changes]
            )
    return len(new)


def label_changes(ws: Workspace) -> list[LabelChange]:
    """Labels that said otherwise than the one before them, newest first."""
    table = tables.label_changes
    return _find(ws, LabelChange, table, order=table.c.id.desc())


def count_label_changes(ws: Workspace) -> int:
    """How many labels said otherwise than the one before them."""
    table = tables.label_changes
    query = sa.select(sa.func.count()).select_from(table).where(table.c.project == ws.project)
    with ws.reading() as db:
        return int(db.execute(query).scalar() or 0)


def _change(before: Label, after: Label, stands: bool) -> LabelChange:
    return LabelChange(
        id=ids.new_id(),
        prediction=after.prediction,
        before=before.value,
        value=after.value,
        labelled_at=after.labelled_at,
        received_at=after.received_at,
        kept=stands,
    )


def _told(tx: sa.Connection, ws: Workspace, prediction: str) -> list[tuple[Any, Any]]:
    """The changes of a label that are written down: a file read again tells nothing new."""
    table = tables.label_changes
    query = sa.select(table.c.before, table.c.value).where(
        table.c.project == ws.project, table.c.prediction == prediction
    )
    return [(before, value) for before, value in tx.execute(query)]


def labels_of(ws: Workspace, predictions: Iterable[str]) -> dict[str, Label]:
    """The labels of those predictions that have one."""
    table = tables.labels
    wanted = list(predictions)
    found: dict[str, Label] = {}
    with ws.reading() as db:
        for some in in_parts(wanted):
            query = sa.select(table).where(
                table.c.project == ws.project, table.c.prediction.in_(some)
            )
            found.update((row.prediction, from_row(Label, row)) for row in db.execute(query))
    return found


def _find(
    ws: Workspace,
    record: type[R],
    table: sa.Table,
    *,
    order: Any,
    since: int | None = None,
    **wanted: str | None,
) -> list[R]:
    query = sa.select(table).where(table.c.project == ws.project)
    if since is not None:
        query = query.where(table.c.start >= since)
    for column, value in wanted.items():
        if value is not None:
            query = query.where(table.c[column] == value)
    with ws.reading() as db:
        return [from_row(record, row) for row in db.execute(query.order_by(order))]
