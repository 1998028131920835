"""The end of an open incident's cause and its return: what is written down, counted and told."""

from __future__ import annotations

import pytest

from trimtab import config as project_file
from trimtab import ids
from trimtab.loop.alerts import incidents
from trimtab.loop.project import Project
from trimtab.monitor.observe import Alarm, Seen
from trimtab.store import alerts, ledger, operations
from trimtab.store.records import Version
from trimtab.store.workspace import open_workspace

DAY = 86_400_000_000
BEGIN = 20_000
MODEL = Version(kind="model", name="goods", number=1, digest="blake3:" + "1" * 64)
NULLS = {"features": [{"feature": "x"}], "severity": {}}


@pytest.fixture
def clock(monkeypatch):
    found = [BEGIN * DAY]
    monkeypatch.setattr(ids, "now", lambda: found[0])
    return found


@pytest.fixture
def project(tmp_path, clock) -> Project:
    path = tmp_path / "trimtab.toml"
    path.write_text('[project]\nname = "goods"\n[alerts]\nto = ["log"]\n')
    return Project(path=path, config=project_file.load(path), ws=open_workspace(tmp_path, "goods"))


def alarm(day, *, lasts=True, since=3, kind="broken input", title="it is broken.") -> Alarm:
    return Alarm(
        kind=kind, title=title, severity="page", since=(BEGIN + since) * DAY,
        detail={**NULLS, "lasts": lasts}, seen=int((BEGIN + day) * DAY),
    )  # fmt: skip


def passed(project, clock, day, *alarms, over=None):
    """A pass on a day, two days after which its window ended by the endpoint's clock."""
    clock[0] = int((BEGIN + day + 2) * DAY)
    seen = Seen(now=int((BEGIN + day) * DAY), alarms=list(alarms), judged=clock[0], over=over or {})
    return [one.result["said"] for one in incidents.compare(project, "goods", MODEL, seen)]


def only(project):
    (found,) = operations.incidents(project.ws)
    return found


def told(project):
    return [one.event for one in alerts.of_incident(project.ws, only(project).id)]


def seen(project):
    one = alerts.sightings(project.ws)[only(project).id]
    return one.occurrences, one.seen_at // DAY - BEGIN


def test_what_is_seen_is_counted_by_the_windows_that_show_it_and_their_clock(project, clock):
    for day in (5, 6, 6):
        passed(project, clock, day, alarm(day))
    assert seen(project) == (2, 6)
    for day in (7, 8):
        passed(project, clock, day, alarm(day, lasts=False))
    assert seen(project) == (2, 6)


def test_an_open_incident_says_that_its_cause_is_gone_and_nobody_is_told(project, clock):
    passed(project, clock, 5, alarm(5))
    for day in (6, 7):
        assert not passed(project, clock, day, alarm(day, lasts=False, title="it is over."))
    found = only(project)
    assert (found.state, found.title, found.detail["lasts"]) == ("open", "it is over.", False)
    assert found.detail["over_at"] == (BEGIN + 6) * DAY
    assert told(project) == ["opened"]
    ledger.verify(project.ws)


def test_a_cause_that_comes_back_while_its_incident_is_open_is_told_again(project, clock):
    passed(project, clock, 5, alarm(5))
    incidents.acknowledge(project, only(project).id, "maria")
    passed(project, clock, 6, alarm(6, lasts=False))
    for day in (8, 9):
        back = passed(project, clock, day, alarm(day, since=7, title="it is broken again."))
        assert back == (["opened again: it is broken again."] if day == 8 else [])
    found = only(project)
    assert (found.reopened, found.title) == (1, "it is broken again.")
    assert found.acknowledged_by == "maria"
    assert (found.opened_at, found.since) == ((BEGIN + 5) * DAY, (BEGIN + 3) * DAY)
    assert found.detail["lasts"] and "over_at" not in found.detail
    assert told(project) == ["opened", "reopened"]
    assert seen(project) == (3, 9)


def test_what_comes_and_goes_within_the_cooldown_is_told_once(project, clock):
    passed(project, clock, 5, alarm(5))
    for day in (5.2, 5.6):
        passed(project, clock, day, alarm(day, lasts=False))
        passed(project, clock, day + 0.2, alarm(day + 0.2))
    assert only(project).reopened == 2
    assert told(project) == ["opened"]


def test_a_cause_of_which_another_part_lasts_is_not_gone(project, clock):
    for day in (5, 6, 7):
        refused = alarm(day, title="requests are refused.")
        passed(project, clock, day, alarm(day, lasts=day == 5), refused)
    found = only(project)
    assert (found.reopened, found.detail["lasts"]) == (0, True)
    assert told(project) == ["opened"]


def test_a_concept_drift_that_is_over_says_since_when_and_its_return_is_told(project, clock):
    first = alarm(5, kind="concept drift", title="errors rose.")
    passed(project, clock, 5, first)
    for day in (7, 8):
        passed(project, clock, day, over={"concept drift": (BEGIN + 6) * DAY})
    until = ids.iso((BEGIN + 6) * DAY)
    assert only(project).title == f"errors rose; it was over by {until}."
    back = alarm(9, since=9, kind="concept drift", title="errors rose again.")
    passed(project, clock, 9, back)
    assert (only(project).title, told(project)) == ("errors rose again.", ["opened", "reopened"])
