"""Rows of the running system: what is unique, what replaces what, what is chained."""

from __future__ import annotations

import math

import msgspec
import pytest

from trimtab.errors import IntegrityError, NotFoundError
from trimtab.store import leases, ledger, operations, states
from trimtab.store.records import Action, Endpoint, Incident, Label, Rollout, Window
from trimtab.store.workspace import Workspace


def rollout(name: str, **fields: object) -> Rollout:
    return Rollout(
        id=name, endpoint="e", candidate="c", champion="d", stages=["1 %", "50 %"], **fields
    )


def incident(name: str, **fields: object) -> Incident:
    return Incident(id=name, kind="drift", key="drift:age", endpoint="e", title="age", **fields)


def test_an_endpoint_is_replaced_by_name(ws: Workspace, other: Workspace) -> None:
    operations.save_endpoint(ws, Endpoint(name="b", target="local", state="starting"))
    operations.save_endpoint(ws, Endpoint(name="a", target="local", state="ready", pid=3))
    operations.save_endpoint(ws, Endpoint(name="b", target="local", state="ready", routes={"x": 1}))
    assert [one.name for one in operations.endpoints(ws)] == ["a", "b"]
    found = operations.endpoint(ws, "b")
    assert (found.state, found.routes) == ("ready", {"x": 1})
    assert found.updated_at > 0
    with pytest.raises(NotFoundError) as caught:
        operations.endpoint(ws, "c")
    assert "a, b" in caught.value.hint
    assert operations.endpoints(other) == []


def test_one_rollout_is_open_per_endpoint(ws: Workspace, other: Workspace) -> None:
    assert operations.open_rollout(ws, rollout("r1"))
    assert not operations.open_rollout(ws, rollout("r2"))
    assert operations.open_rollout(other, rollout("r3"))
    operations.update_rollout(ws, rollout("r1", state="promoted", stage=1, closed_at=9))
    assert operations.open_rollout(ws, rollout("r2"))
    assert [one.id for one in operations.rollouts(ws)] == ["r2", "r1"]
    assert [one.id for one in operations.rollouts(ws, state="promoted", endpoint="e")] == ["r1"]
    assert len(ledger.find(ws, kind="rollout")) == 3
    assert ledger.verify(ws) == 3


def test_a_rollout_that_is_not_there_is_not_chained(ws: Workspace, other: Workspace) -> None:
    operations.open_rollout(other, rollout("r1"))
    operations.open_incident(other, incident("i1"))
    with pytest.raises(NotFoundError):
        operations.update_rollout(ws, rollout("r1", stage=1))
    with pytest.raises(NotFoundError):
        operations.update_incident(ws, incident("i1", state="resolved"))
    assert ledger.verify(ws) == 0
    assert ledger.verify(other) == 2


def test_one_incident_is_open_per_key(ws: Workspace, other: Workspace) -> None:
    assert operations.open_incident(ws, incident("i1"))
    assert not operations.open_incident(ws, incident("i2"))
    assert operations.open_incident(other, incident("i3"))
    operations.update_incident(ws, incident("i1", state="resolved", resolution="seasonal"))
    assert operations.open_incident(ws, incident("i2"))
    assert [one.id for one in operations.incidents(ws, state="open")] == ["i2"]
    assert [one.resolution for one in operations.incidents(ws, state="resolved")] == ["seasonal"]
    assert operations.incidents(ws, endpoint="other") == []
    assert ledger.verify(ws) == 3


def test_an_action_is_planned_once_per_key(ws: Workspace, other: Workspace) -> None:
    action = Action(id="a1", kind="retrain", key="retrain:i1", state="planned")
    assert operations.plan_action(ws, action)
    assert not operations.plan_action(ws, msgspec.structs.replace(action, id="a2"))
    assert operations.plan_action(other, msgspec.structs.replace(action, id="a3"))
    operations.update_action(ws, "a1", "running", pid=4)
    operations.update_action(ws, "a1", "failed", why="no data")
    assert not operations.plan_action(ws, msgspec.structs.replace(action, id="a2"))
    (found,) = operations.actions(ws, kind="retrain", state="failed")
    assert found.result == {"pid": 4, "why": "no data"}
    assert found.updated_at > 0
    assert operations.actions(ws, state="planned") == []


def window(start: int, **fields: object) -> Window:
    return Window(endpoint="e", model="m", role="champion", start=start, end=start + 10, **fields)


def test_a_window_is_made_anew(ws: Workspace, other: Workspace) -> None:
    operations.save_window(ws, window(20, rows=1, profile="p"))
    operations.save_window(ws, window(10, rows=2, profile="p", findings=[{"column": "age"}]))
    operations.save_window(ws, window(20, rows=3, profile="q"))
    found = operations.windows(ws, endpoint="e", model="m", role="champion")
    assert [(one.start, one.rows, one.profile) for one in found] == [(10, 2, "p"), (20, 3, "q")]
    assert found[0].findings == [{"column": "age"}]
    assert operations.windows(ws, role="canary") == operations.windows(other) == []


def label(prediction: str, value: object, at: int) -> Label:
    return Label(prediction=prediction, value=value, labelled_at=at, received_at=at)


def test_the_latest_label_stays(ws: Workspace, other: Workspace) -> None:
    assert operations.add_labels(ws, [label("p1", 1, 5), label("p2", 0, 5)]) == 2
    assert operations.add_labels(ws, [label("p1", 0, 4)]) == 0
    assert operations.labels_of(ws, ["p1"])["p1"].value == 1
    assert operations.add_labels(ws, [label("p1", 0, 5), label("p3", "yes", 1)]) == 1
    found = operations.labels_of(ws, ["p1", "p2", "p3", "p4"])
    assert {name: one.value for name, one in found.items()} == {"p1": 0, "p2": 0, "p3": "yes"}
    assert operations.labels_of(other, ["p1"]) == {}
    assert operations.add_labels(ws, []) == 0


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)])
def test_labels_of_one_batch_do_not_depend_on_their_order(
    ws: Workspace, order: tuple[int, ...], known: bool
) -> None:
    if known:
        operations.add_labels(ws, [label("p", "old", 0)])
    batch = [label("p", "a", 1), label("p", "b", 2), label("p", "c", 3)]
    operations.add_labels(ws, [batch[place] for place in order])
    assert operations.labels_of(ws, ["p"])["p"].value == "c"


def test_many_labels_are_asked_for_at_once(ws: Workspace) -> None:
    made = [label(f"p{number}", None if number % 2 else [number], number) for number in range(1203)]
    assert operations.add_labels(ws, made) == 1203
    found = operations.labels_of(ws, (f"p{number}" for number in range(1300)))
    assert len(found) == 1203
    assert found["p1"].value is None
    assert found["p1202"].value == [1202]


def test_a_state_is_replaced_whole(ws: Workspace, other: Workspace) -> None:
    assert states.get(ws, "monitor") is None
    states.put(ws, "monitor", {"seen": 1, "mean": 0.5})
    states.put(ws, "monitor", {"seen": 2, "none": None, "nan": math.nan})
    assert states.get(ws, "monitor") == {"seen": 2, "none": None, "nan": "NaN"}
    states.put(ws, "monitor", None)
    assert states.get(ws, "monitor") is None
    assert states.get(other, "monitor") is None


def test_a_value_that_is_no_json_any_more_is_damage(ws: Workspace) -> None:
    states.put(ws, "monitor", {"seen": 1})
    with ws.transaction() as tx:
        tx.exec_driver_sql("UPDATE states SET body = '{\"seen\": '")
    with pytest.raises(IntegrityError, match="JSON"):
        states.get(ws, "monitor")


def test_a_lease_has_one_holder(ws: Workspace, other: Workspace) -> None:
    assert leases.acquire(ws, "tick", "a", 60)
    assert leases.acquire(ws, "tick", "a", 60)
    assert not leases.acquire(ws, "tick", "b", 60)
    assert leases.acquire(other, "tick", "b", 60)
    assert leases.acquire(ws, "other", "b", 60)
    leases.release(ws, "tick", "b")
    assert not leases.acquire(ws, "tick", "b", 60)
    leases.release(ws, "tick", "a")
    assert leases.acquire(ws, "tick", "b", 60)
    assert not leases.acquire(ws, "tick", "a", 60)


def test_a_lease_ends_with_its_time(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1_000_000]
    monkeypatch.setattr("trimtab.ids.now", lambda: clock[0])
    assert leases.acquire(ws, "tick", "a", 5)
    clock[0] += 5_000_000
    assert not leases.acquire(ws, "tick", "b", 5)
    clock[0] += 1
    assert leases.acquire(ws, "tick", "b", 5)
    assert not leases.acquire(ws, "tick", "a", 5)
