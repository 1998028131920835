from __future__ import annotations

import dataclasses

import msgspec
import pytest

from trimtab import config as project_file
from trimtab import ids
from trimtab.loop import tick
from trimtab.loop.alerts import incidents
from trimtab.loop.candidate import retrain
from trimtab.loop.project import Project, apply
from trimtab.monitor.observe import Alarm, Seen
from trimtab.schedule import RetrainConfig
from trimtab.store import ledger, operations, states
from trimtab.store.records import Version, Window
from trimtab.store.workspace import open_workspace

DAY = 86_400_000_000
V1 = Version(kind="model", name="goods", number=1, digest="blake3:" + "1" * 64)
V2 = Version(kind="model", name="goods", number=2, digest="blake3:" + "2" * 64)


@pytest.fixture
def project(tmp_path) -> Project:
    path = tmp_path / "trimtab.toml"
    path.write_text('[project]\nname = "goods"\nowner = "somebody@example.org"\n')
    return Project(path=path, config=project_file.load(path), ws=open_workspace(tmp_path, "goods"))


def alarm(kind="data drift", since=3, **detail) -> Alarm:
    return Alarm(
        kind=kind, title=f"{kind} it is", severity="page", since=since * DAY, detail=detail
    )


def seen(*alarms, now=5, judged=0) -> Seen:
    return Seen(now=now * DAY, alarms=list(alarms), judged=judged)


def close(project, incident, at) -> None:
    import msgspec

    done = msgspec.structs.replace(incident, state="resolved", resolved_at=at * DAY)
    operations.update_incident(project.ws, done)


def kinds(project, state="open") -> list[str]:
    return sorted(one.kind for one in operations.incidents(project.ws, state=state))


def test_an_incident_says_who_what_and_what_to_do(project):
    (action,) = incidents.compare(project, "goods", V1, seen(alarm(features=[{"feature": "x"}])))
    (found,) = operations.incidents(project.ws)
    assert action.cause == {"incident": found.id}
    assert (found.kind, found.opened_at, found.since) == ("data drift", 5 * DAY, 3 * DAY)
    assert found.detail["owner"] == "somebody@example.org"
    assert found.detail["version"] == "goods@v1"
    assert found.detail["features"] == [{"feature": "x"}]
    assert found.detail["runbook"].startswith("Inputs moved.")


def test_a_cause_that_is_seen_again_opens_nothing(project):
    for now in range(5, 9):
        incidents.compare(project, "goods", V1, seen(alarm(), now=now))
    assert kinds(project) == ["data drift"]
    assert len(operations.actions(project.ws, kind="incident")) == 1
    ledger.verify(project.ws)


def test_each_cause_and_each_endpoint_has_its_own(project):
    both = seen(alarm(), alarm("concept drift"))
    incidents.compare(project, "goods", V1, both)
    incidents.compare(project, "other", V1, both)
    assert kinds(project) == ["concept drift", "concept drift", "data drift", "data drift"]


def test_concept_drift_explains_a_failed_requirement(project):
    incidents.compare(project, "goods", V1, seen(alarm("concept drift"), alarm("requirement")))
    incidents.compare(project, "goods", V1, seen(alarm("requirement", since=4)))
    assert kinds(project) == ["concept drift"]


def test_data_drift_does_not_explain_a_failed_requirement(project):
    incidents.compare(project, "goods", V1, seen(alarm(), alarm("requirement")))
    assert kinds(project) == ["data drift", "requirement"]


def test_a_requirement_gets_its_causes_name_once_that_is_known(project):
    incidents.compare(project, "goods", V1, seen(alarm("requirement")))
    (before,) = operations.incidents(project.ws)
    for _ in range(2):
        both = seen(alarm("concept drift"), alarm("requirement"), now=6)
        incidents.compare(project, "goods", V1, both)
    (after,) = operations.incidents(project.ws)
    assert (after.id, after.kind, after.opened_at) == (before.id, "concept drift", 5 * DAY)
    assert after.key == "goods:concept drift"
    assert after.detail["seen_first_as"] == before.title


def test_a_closed_cause_stays_closed_for_the_same_change_of_the_same_model(project):
    """Where the change began is estimated anew at every look."""
    incidents.compare(project, "goods", V1, seen(alarm(since=3)))
    close(project, operations.incidents(project.ws)[0], at=6)
    for since in (2, 3, 4):
        incidents.compare(project, "goods", V1, seen(alarm(since=since), now=7))
    assert kinds(project) == []
    incidents.compare(project, "goods", V1, seen(alarm(since=6), now=8))
    assert kinds(project) == ["data drift"]


def test_a_new_model_with_the_same_trouble_is_a_new_incident(project):
    incidents.compare(project, "goods", V1, seen(alarm()))
    close(project, operations.incidents(project.ws)[0], at=6)
    incidents.compare(project, "goods", V2, seen(alarm(), now=7))
    assert kinds(project) == ["data drift"]


def test_a_promotion_closes_what_a_new_model_answers(project):
    incidents.compare(project, "goods", V1, seen(alarm("concept drift"), alarm("broken input")))
    rollout = ids.new_id()
    incidents.compare(project, "goods", V1, seen(alarm("data drift"), now=6))
    closed = incidents.resolve_by(project, "goods", V2, rollout, 7 * DAY)
    assert [one.kind for one in closed] == ["concept drift"]
    assert closed[0].resolution == "goods@v2 was promoted"
    assert kinds(project) == ["broken input", "data drift"]


def test_a_refusal_asks_a_person_once(project):
    first = incidents.refused(project, "goods", "goods@v2", "it is worse", "blake3:x")
    again = incidents.refused(project, "goods", "goods@v3", "it is worse", "blake3:y")
    assert (len(first), again) == (1, [])
    (found,) = operations.incidents(project.ws)
    assert found.title == "goods@v2 was refused: it is worse"
    assert "trimtab run" in found.detail["runbook"]
    assert found.detail["owner"] == "somebody@example.org", "the page said nobody"


def test_a_pass_that_dies_while_opening_is_repaired_by_the_next(project, monkeypatch):
    def dies(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(operations, "plan_action", dies)
    with pytest.raises(KeyboardInterrupt):
        incidents.compare(project, "goods", V1, seen(alarm(), judged=4))
    monkeypatch.undo()
    assert operations.incidents(project.ws) == []
    assert len(incidents.compare(project, "goods", V1, seen(alarm(), judged=4))) == 1


@pytest.mark.parametrize("kind", ["broken input", "broken join"])
def test_a_broken_input_explains_a_failed_requirement_and_keeps_its_rows_from_teaching(
    project, kind
):
    """Labels come later than the defect: the window itself remembers it."""
    for day, lasts in ((3, 1.0), (4, 0.0)):
        found = {"kind": kind, "severity": "alarm", "features": [], "detail": {"lasts": lasts}}
        operations.save_window(project.ws, Window(
            endpoint="goods", model=V1.digest, role="champion", start=day * DAY, rows=9, profile="",
            end=(day + 1) * DAY, findings=[found],
        ))  # fmt: skip
    incidents.compare(project, "goods", V1, seen(alarm(kind)))
    incidents.compare(project, "goods", V1, seen(alarm("requirement"), now=6))
    assert kinds(project) == [kind]
    incidents.compare(project, "goods", V1, seen(alarm("concept drift"), now=7))
    drift = next(one for one in operations.incidents(project.ws) if one.kind == "concept drift")
    on = dataclasses.replace(
        project,
        config=msgspec.structs.replace(project.config, retrain=RetrainConfig(on=("drift",))),
    )
    said = retrain.propose(on, drift)
    assert said == f"no retrain on rows like these, until it is resolved: {kind} it is"
    later = msgspec.structs.replace(drift, since=4 * DAY)
    assert "rows like these" not in retrain.propose(on, later)
    incidents.compare(project, "goods", V2, seen(alarm("requirement", since=4), now=7))
    assert "requirement" not in kinds(project)  # the concept drift explains it


def test_answers_that_have_less_to_do_with_inputs_are_a_broken_inputs_symptom(project):
    joined = alarm("broken join", features=[{"feature": "__score__"}])
    incidents.compare(project, "goods", V1, seen(joined, alarm("broken input")))
    assert kinds(project) == ["broken input"]
    incidents.compare(project, "other", V1, seen(joined))
    assert kinds(project) == ["broken input", "broken join"]


def told_by(project, clock):
    """The project where windows go by clients' times, of which the newest is known."""
    states.put(project.ws, "newest:goods", clock)
    settings = msgspec.structs.replace(project.config.serve, event_time="client")
    return dataclasses.replace(
        project, config=msgspec.structs.replace(project.config, serve=settings)
    )


def test_a_hands_act_is_stamped_by_the_clock_that_opened_the_incident(project):
    project = told_by(project, 6 * DAY)
    incidents.compare(project, "goods", V1, seen(alarm(), now=5))
    (found,) = operations.incidents(project.ws)
    assert incidents.acknowledge(project, found.id).acknowledged_at == 6 * DAY
    assert incidents.resolve(project, found.id).resolved_at == 6 * DAY
    later = 6 * DAY + 10_000_000
    incidents.compare(project, "goods", V1, seen(alarm(since=6), now=later / DAY))
    (again,) = operations.incidents(project.ws, state="open")
    assert (again.id, again.reopened) == (found.id, 1), "within the cooldown of event time"
    assert incidents.resolve(project, found.id).resolved_at == later, "never before it was opened"
    states.put(project.ws, "newest:goods", 9 * DAY)
    incidents.compare(project, "goods", V1, seen(alarm(since=8), now=9))
    (other,) = operations.incidents(project.ws, state="open")
    assert other.id != found.id, "a cooldown of event time is over"


def test_what_no_traffic_showed_is_stamped_by_the_machines_clock(project):
    project = told_by(project, 6 * DAY)
    before = ids.now()
    incidents.refused(project, "goods", "goods@v2", "it is worse", "blake3:x")
    (found,) = operations.incidents(project.ws)
    assert before <= incidents.resolve(project, found.id).resolved_at <= ids.now()


@pytest.mark.parametrize("virtual", [5 * DAY, 9 * DAY, None])
def test_a_hand_acts_at_the_time_that_the_last_pass_was_given(project, virtual):
    apply(project)
    tick.tick(project, now=5 * DAY)
    incidents.compare(project, "goods", V1, seen(alarm(), now=5))
    if virtual != 5 * DAY:
        tick.tick(project, now=virtual)
    before = ids.now()
    done = incidents.resolve(project, operations.incidents(project.ws)[0].id).resolved_at
    assert done == virtual if virtual else before <= done <= ids.now()
