"""What happened is told in order, from the store alone."""

from __future__ import annotations

import msgspec
import pytest

from trimtab import ids
from trimtab.errors import UsageError
from trimtab.loop import hand, pause
from trimtab.loop.project import open_project
from trimtab.loop.views import timeline
from trimtab.store import label_requests, ledger, operations, runs
from trimtab.store.records import Action, Incident, LabelRequest, Rollout

FILE = '[project]\nname = "houses"\n[data.houses]\nsource = "houses.csv"\ntarget = "price"\n'
HOUR = 3_600_000_000


@pytest.fixture
def project(tmp_path):
    (tmp_path / "trimtab.toml").write_text(FILE, "utf-8")
    found = open_project(tmp_path)
    yield found
    found.ws.close()


@pytest.fixture
def clock(monkeypatch):
    """The time, an hour later at every step that a test makes."""
    moment = [ids.parse_time("2026-03-02T00:00:00Z")]
    monkeypatch.setattr(ids, "now_ns", lambda: moment[0] * 1_000)

    def later(hours=1):
        moment[0] += hours * HOUR
        return moment[0]

    return later


def incident(**fields):
    known = {
        "id": "i" * 32, "kind": "concept drift", "key": "houses:concept drift", "endpoint": "houses",
        "title": "Concept drift: wrong decisions rose.", "opened_at": ids.now(),
        "detail": {"severity": {"why": "quality is lost or in doubt"}},
    }  # fmt: skip
    return Incident(**(known | fields))


def test_an_incident_is_told_from_its_opening_to_its_end(project, clock):
    ws = project.ws
    first = incident(severity="digest")
    operations.open_incident(ws, first)
    steps = [
        {"severity": "page"},
        {"acknowledged_at": clock(), "acknowledged_by": "maria"},
        {"state": "resolved", "resolved_at": 1, "resolution": "houses@v2 was promoted"},
        {"state": "open", "reopened": 1},
    ]
    for step in steps:
        clock()
        first = msgspec.structs.replace(first, **step)
        operations.update_incident(ws, first)
    told = timeline.timeline(project).events
    assert [one.said.partition(":")[0] for one in told] == [
        "digest", "now a page", "in the hands of maria", "resolved", "opened again, page",
    ]  # fmt: skip
    assert [one.ends for one in told] == [False, False, False, True, False]
    assert told[3].cause == "houses@v2 was promoted"
    assert {one.id for one in told} == {first.id}
    assert [one.time for one in told] == sorted(one.time for one in told)


def test_a_rollout_is_told_stage_by_stage(project, clock):
    ws = project.ws
    one = Rollout(
        id="r" * 32, endpoint="houses", candidate="new", champion="old",
        stages=["shadow", "20%", "100%"], cause={"kind": "concept drift"}, opened_at=clock(),
    )  # fmt: skip
    operations.open_rollout(ws, one)
    for step in (
        {"stage": 1, "reason": "roc_auc is 0.83"},
        {"state": "rolled_back", "reason": "roc_auc failed", "closed_at": 1},
    ):
        clock()
        one = msgspec.structs.replace(one, **step)
        operations.update_rollout(ws, one)
    told = timeline.timeline(project).events
    assert [event.said for event in told] == [
        "new goes on trial at houses, at shadow",
        "new goes on to 20% at houses",
        "new is rolled back at houses",
    ]
    assert [event.cause for event in told] == ["concept drift", "roc_auc is 0.83", "roc_auc failed"]
    assert told[-1].tone == "bad"


def test_jobs_restarts_pauses_and_runs_of_people_are_told(project, clock):
    ws = project.ws
    begun = clock()
    operations.plan_action(ws, Action(
        id="a" * 32, kind="retrain", key="k", state="planned", created_at=begun, updated_at=begun,
        cause={"kind": "concept drift", "incident": "i" * 32}, result={"said": "retrain on 9 rows"},
    ))  # fmt: skip
    clock()
    operations.update_action(ws, "a" * 32, "failed", reason="roc_auc: undecided")
    at = clock()
    operations.plan_action(ws, Action(
        id="b" * 32, kind="restart", key="restart:houses:7", state="done", created_at=at,
        updated_at=at, cause={"endpoint": "houses"},
    ))  # fmt: skip
    clock()
    pause.pause(ws, "holidays")
    clock()
    pause.resume(ws)
    clock()
    mine = runs.start(ws, "flow", "train", cause={"kind": "manual"})
    runs.finish(ws, mine.id, "done")
    its = runs.start(ws, "flow", "train", cause={"kind": "retrain", "action": "a" * 32})
    runs.finish(ws, its.id, "done")
    told = [(one.said, one.cause) for one in timeline.timeline(project).events]
    assert told == [
        ("retrain on 9 rows", f"concept drift, incident {'i' * 16}"),
        ("the retrain failed", "roc_auc: undecided"),
        ("endpoint houses had died and was started again", ""),
        ("the controller rests", "holidays"),
        ("the controller acts again", ""),
        ("train was run: done", "by hand"),
    ]


def test_what_it_does_not_know_is_told_all_the_same(project, clock):
    clock()
    ledger.append(project.ws, "quarantine", {"data": "houses@v3", "effect": "-0.04"})
    ledger.append(project.ws, "evidence", [])
    (one,) = timeline.timeline(project).events
    assert one.said == "quarantine: data houses@v3, effect -0.04"


def test_what_people_do_is_told_once(project, clock):
    clock()
    with project.ws.transaction():
        hand.note(
            project.ws,
            "rollout",
            "r:0:hold",
            "houses@v2 is held",
            hand.Hand(by="maria", reason="Friday"),
        )
    clock()
    ledger.append(project.ws, "accept", {"data": "houses@v3", "by": "maria", "reason": "checked"})
    told = [(one.said, one.cause) for one in timeline.timeline(project).events]
    assert told == [
        ("houses@v2 is held, by maria", "Friday"),
        ("data houses@v3 may be trained on, by maria", "checked"),
    ]


def test_labels_that_are_asked_for(project, clock):
    ws = project.ws
    asked = LabelRequest(
        id="l" * 32, endpoint="houses", model="m", reason="none came", since=0, until=1, wanted=1200,
        opened_at=clock(),
    )  # fmt: skip
    label_requests.open_request(ws, asked, [])
    label_requests.update(ws, msgspec.structs.replace(asked, answered=50))
    clock()
    done = msgspec.structs.replace(asked, answered=1100, state="closed", resolution="rmse is 3")
    label_requests.update(ws, done)
    told = timeline.timeline(project).events
    assert [one.said for one in told] == [
        "1,200 labels are asked for at houses",
        "the request for labels is closed: 1,100 of 1,200 came",
    ]


def test_a_span_of_time_is_asked_for_in_words_or_by_date(project, clock):
    for day in range(30):
        ledger.append(project.ws, "note", {"day": str(day)})
        clock(24)
    said = [one.said for one in timeline.timeline(project, since="2w").events]
    assert said == [f"note: day {day}" for day in range(16, 30)]
    said = [one.said for one in timeline.timeline(project, "2026-03-05", "2026-03-07").events]
    assert said == ["note: day 3", "note: day 4", "note: day 5"]
    assert timeline.timeline(project, "2027-01-01", "2027-01-02").events == []


@pytest.mark.parametrize(
    ("since", "until", "word"),
    [
        ("yesterday", "", "no moment"),
        ("-2w", "", "no moment"),
        ("2026-03-02", "2026-03-01", "before"),
    ],
)
def test_what_is_no_span_is_refused(project, since, until, word):
    with pytest.raises(UsageError, match=word):
        timeline.timeline(project, since, until)
