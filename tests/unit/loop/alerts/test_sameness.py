from __future__ import annotations

import pytest
from tests.unit.loop.alerts.test_incidents import DAY, V1, alarm, close, kinds, project, seen

from trimtab.loop.alerts import incidents
from trimtab.store import alerts, operations
from trimtab.store.records import Window

__all__ = ["project"]


def broken(kind="broken input", since=3, *, lasts=True, **columns):
    """An alarm on columns, each broken since a day."""
    features = [{"feature": name, "since": day * DAY, "note": "40 % missing, was 0 %"}
                for name, day in columns.items()]  # fmt: skip
    return alarm(kind, since=since, features=features, lasts=lasts)


def shown(project, days, kind="broken input", lasts=1.0, names=("a",)):
    """Windows of these days that were judged and show it."""
    for day in days:
        found = {"kind": kind, "severity": "alarm", "detail": {"lasts": lasts},
                 "features": [{"feature": name} for name in names]}  # fmt: skip
        operations.save_window(project.ws, Window(
            endpoint="goods", model=V1.digest, role="champion", start=day * DAY, rows=99,
            profile="", end=(day + 1) * DAY, findings=[found], judged_at=1,
        ))  # fmt: skip


def test_one_more_column_that_breaks_is_told_of_once_in_the_open_incident(project):
    incidents.compare(project, "goods", V1, seen(broken(a=3)))
    (first,) = operations.incidents(project.ws)
    incidents.acknowledge(project, first.id)
    both = broken(a=3, b=7)
    (action,) = incidents.compare(project, "goods", V1, seen(both, now=8, judged=8))
    assert incidents.compare(project, "goods", V1, seen(both, now=9, judged=9)) == []
    (found,) = operations.incidents(project.ws)
    assert found.id == first.id
    assert found.title == (
        "broken input it is; since 1970-01-08T00:00:00Z also b 40 % missing, was 0 %."
    )
    assert found.title in action.result["said"]
    told = alerts.of_incident(project.ws, found.id)
    assert [(one.event, one.body["features"]) for one in told] == [
        ("opened", ["a"]),
        ("escalated", ["a", "b"]),
    ]


def test_one_more_feature_that_drifts_is_named_and_not_told_of(project):
    incidents.compare(project, "goods", V1, seen(broken("data drift", a=3)))
    incidents.compare(project, "goods", V1, seen(broken("data drift", a=3, b=7), now=8))
    (found,) = operations.incidents(project.ws)
    assert [one["feature"] for one in found.detail["features"]] == ["a", "b"]
    assert found.title == "data drift it is"
    assert len(alerts.of_incident(project.ws, found.id)) == 1


@pytest.mark.parametrize("kind", ["broken input", "data drift"])
def test_a_cause_that_was_handled_hides_no_other_one(project, kind):
    incidents.compare(project, "goods", V1, seen(broken(kind, a=3)))
    close(project, operations.incidents(project.ws)[0], at=6)
    incidents.compare(project, "goods", V1, seen(broken(kind, a=3), now=7))
    assert kinds(project) == []
    incidents.compare(project, "goods", V1, seen(broken(kind, a=3, b=9), now=10))
    assert kinds(project) == [kind]


@pytest.mark.parametrize("kind", ["broken input", "data drift"])
def test_what_every_window_has_shown_since_is_the_same_change_whatever_its_estimated_beginning(
    project, kind
):
    incidents.compare(project, "goods", V1, seen(broken(kind, a=3)))
    close(project, operations.incidents(project.ws)[0], at=6)
    shown(project, range(3, 40), kind)
    late = broken(kind, since=30, a=30)
    incidents.compare(project, "goods", V1, seen(late, now=40))
    assert kinds(project) == []
    shown(project, [20], kind, lasts=0.0)
    incidents.compare(project, "goods", V1, seen(late, now=40))
    assert kinds(project) == [kind], "it was away for a day"


def test_what_was_over_before_it_was_closed_opens_nothing(project):
    incidents.compare(project, "goods", V1, seen(broken(a=3)))
    incidents.compare(project, "goods", V1, seen(broken(a=3, b=5), now=6))
    close(project, operations.incidents(project.ws)[0], at=9)
    over = broken(since=7, lasts=False, b=7)
    incidents.compare(project, "goods", V1, seen(over, now=10))
    assert kinds(project) == []
    incidents.compare(project, "goods", V1, seen(broken(since=10, b=10), now=11))
    assert kinds(project) == ["broken input"]
