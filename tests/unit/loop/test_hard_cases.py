"""What may not go round and round: flows that hang or fail, clocks that jump, drift that stays."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import time

import pytest

from trimtab import config, hashing, ids
from trimtab.deploy import local
from trimtab.errors import PipelineError, TrimtabError
from trimtab.loop import acts, brakes, firings, gate, job, jobs, pause
from trimtab.loop.alerts import incidents
from trimtab.loop.candidate import feedback, retrain
from trimtab.loop.notes import Notes
from trimtab.loop.project import Project, apply
from trimtab.loop.releases import restarts, rollout
from trimtab.loop.tick import tick
from trimtab.loop.views import outlook
from trimtab.store import artifacts, evidence, leases, operations, runs, versions
from trimtab.store.records import Artifact, Endpoint, Evidence, Incident, Rollout, Verdict
from trimtab.store.workspace import open_workspace

MINUTE, HOUR, DAY = 60_000_000, 3_600_000_000, 86_400_000_000
RAW = {
    "project": {"name": "goods"},
    "serve": {"price_per_hour": 1.0},
    "retrain": {"on": ["drift", "requirement"], "min_rows": 10},
    "trigger": {"often": {"on": ["cron:0 * * * *"], "timeout": "1s", "overlap": "queue"}},
}


@pytest.fixture
def clock(monkeypatch):
    """A clock to be set."""
    found = [ids.now()]
    monkeypatch.setattr(ids, "now", lambda: found[0])
    return found


@pytest.fixture
def make(tmp_path):
    opened = []

    def made(**more):
        ws = open_workspace(tmp_path, "goods")
        opened.append(ws)
        project = Project(
            path=tmp_path / "trimtab.toml", config=config.parse({**RAW, **more}), ws=ws
        )
        apply(project)
        return project

    yield made
    for one in opened:
        one.close()


@pytest.fixture
def project(make):
    return make()


@pytest.fixture
def begun(monkeypatch):
    """Jobs that are begun, and end when the test says so."""
    found = []

    def launch(project, action):
        tried = operations.action_of(project.ws, action.key).result.get("attempts", 0)
        operations.update_action(project.ws, action.id, "running", attempts=tried + 1)
        found.append(action)
        return action

    monkeypatch.setattr(jobs, "launch", launch)
    monkeypatch.setattr(jobs, "at_work", lambda project, action: False)
    return found


def opened(project, kind=incidents.CONCEPT, **more):
    found = Incident(id=ids.new_id(), kind=kind, key=f"goods:{kind}:{ids.new_id()}", endpoint="goods",
                     title="it drifts", opened_at=ids.now(), since=1, **more)  # fmt: skip
    operations.open_incident(project.ws, found)
    return found


@pytest.mark.slow
def test_a_flow_that_hangs_is_stopped_with_all_it_started_and_a_person_is_asked(project):
    action = firings.by_hand(project, "often")
    lock = jobs._lock_file(project, action)
    lock.parent.mkdir(exist_ok=True)
    script = ["flock", "--no-fork", str(lock), "sh", "-c", "sleep 600 & sleep 600"]
    with subprocess.Popen(script, start_new_session=True) as hung:
        while not jobs.at_work(project, action):
            time.sleep(0.01)
        since = jobs.started(hung.pid)
        operations.update_action(project.ws, action.id, "running", attempts=1, pid=hung.pid,
                                 pid_started=since)  # fmt: skip
        notes = Notes()
        assert firings.advance(project, notes) == 1
        assert notes.waiting[0].startswith("often at work since")
        time.sleep(1.2)
        firings.advance(project, notes)
        assert hung.wait(10) == -signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        while (
            True
        ):  # the group is gone with its last member, which the system may reap a little later
            os.killpg(hung.pid, 0)
            time.sleep(0.01)
    for _ in range(3):
        firings.advance(project, Notes())
    (incident,) = operations.incidents(project.ws)
    assert "at work for longer than 1s (timeout) and was stopped" in incident.title
    assert not jobs.at_work(project, action)


def test_a_flow_that_always_fails_is_tried_three_times_ever_later_then_one_person_is_asked(
    project, begun, clock
):
    jobs.launch(project, firings.by_hand(project, "often", "once"))
    job._failed(project, begun[-1], "step fit failed", "")
    moments = [clock[0]]
    for _ in range(50):
        before = len(begun)
        firings.advance(project, Notes())
        if len(begun) > before:
            moments.append(clock[0])
            job._failed(project, begun[-1], "step fit failed", "")
        clock[0] += MINUTE // 2
    assert len(begun) == jobs.MAX_ATTEMPTS
    waits = [after - first for first, after in itertools.pairwise(moments)]
    assert waits == [MINUTE, 2 * MINUTE]
    (incident,) = operations.incidents(project.ws)
    assert "it failed 3 times: step fit failed" in incident.title


def test_a_flow_fails_by_its_own_error_and_what_refuses_it_is_final(project, begun, monkeypatch):
    action = firings.by_hand(project, "often")
    jobs.launch(project, action)
    monkeypatch.setattr(job, "open_project", lambda _: project)
    for error, state in ((PipelineError("broken"), "running"), (ValueError("x"), "running"),
                         (TrimtabError("refused"), "failed")):  # fmt: skip

        def fail(*_, error=error):
            raise error

        monkeypatch.setattr(job, "fired", fail)
        assert job.main([str(project.path), action.id]) == 1
        assert operations.action_of(project.ws, action.key).state == state


@pytest.mark.slow
def test_a_clock_that_jumps_back_an_hour_fires_nothing_twice_and_nothing_sticks(make, begun, clock):
    project = make(trigger={"often": {"on": ["cron:0 * * * *", "data"], "overlap": "queue"}})
    ws, start = project.ws, ids.parse_time("2026-05-05T10:30:00Z")
    clock[0] = start

    def look():
        firings.fire(project, Notes(), clock[0])
        for one in operations.actions(ws, kind="fire", state="running"):
            operations.update_action(ws, one.id, "done", handled=True)

    look()
    clock[0] = start + HOUR
    look()
    assert [one.cause["slot"] for one in begun] == ["2026-05-05T11:00:00Z"]
    clock[0] = start - HOUR // 2
    look()
    clock[0] += MINUTE
    versions.add(ws, "data", "goods", "blake3:" + "d" * 64)
    for _ in range(30):
        clock[0] += 5 * MINUTE
        look()
    slots = [one.cause.get("slot", one.cause["kind"]) for one in begun]
    assert slots == ["2026-05-05T11:00:00Z", "data", "2026-05-05T12:00:00Z"]


def test_a_wait_of_a_failed_job_and_the_lease_of_a_pass_survive_a_clock_set_back(
    project, begun, clock
):
    action = firings.by_hand(project, "often")
    jobs.launch(project, action)
    job._failed(project, action, "no", "")
    clock[0] -= HOUR
    firings.advance(project, Notes())
    assert len(begun) == 2
    assert leases.acquire(project.ws, "tick", "me", 120)
    clock[0] -= HOUR
    assert leases.acquire(project.ws, "tick", "me", 120)


def test_a_cooldown_holds_on_both_sides_of_a_jump(make, begun, clock):
    project = make(retrain={"on": ["drift"], "cooldown": "10m", "at_most": ""})
    trigger = firings.named(project, "retrain")
    last = acts.planned(project, "retrain", "retrain:x", {})
    for shift, held in ((-HOUR, False), (-MINUTE, True), (MINUTE, True), (HOUR, False)):
        assert bool(brakes.brake(project, trigger, [last], last.created_at + shift)) is held


@pytest.mark.slow
def test_drift_that_stays_for_200_looks_starts_no_storm(project, begun, clock, monkeypatch):
    monkeypatch.setattr(feedback, "count", lambda *_: 500)
    monkeypatch.setattr(feedback, "obstacle", lambda *_: "")
    for _ in range(200):
        incident = opened(project)
        found = retrain.propose(project, incident)
        if isinstance(found, str):
            assert found == "no new retrain: 1 in the last day (at_most = 1/day)"
        else:
            operations.update_action(project.ws, found.id, "done", handled=True)
        incidents.resolve(project, incident.id)
        clock[0] += HOUR
    assert len(begun) == 200 // 24 + 1


def test_a_refused_retrain_is_not_repeated_until_a_person_has_decided(project, begun, monkeypatch):
    monkeypatch.setattr(feedback, "count", lambda *_: 500)
    monkeypatch.setattr(feedback, "obstacle", lambda *_: "")
    action = retrain.propose(project, opened(project))
    operations.update_action(project.ws, action.id, "failed", reason="roc_auc >= 0.7: fail")
    for _ in range(50):
        retrain.advance(project, Notes())
    (asked,) = [one for one in operations.incidents(project.ws) if one.kind == incidents.REFUSED]
    for option in ("correct the data or the flow", "change the requirement", "Resolve this"):
        assert option in asked.detail["runbook"]
    another = opened(project)
    assert "no new retrain: the retrained model was refused" in retrain.propose(project, another)
    incidents.resolve(project, asked.id)
    assert "at_most" in retrain.propose(project, another)


def test_a_budget_that_is_spent_stops_an_incidents_retrain_and_says_so(make, begun, monkeypatch):
    monkeypatch.setattr(feedback, "count", lambda *_: 500)
    monkeypatch.setattr(feedback, "obstacle", lambda *_: "")
    project = make(retrain={**RAW["retrain"], "at_most": "", "cost_per_day": 0.5})
    run = runs.start(project.ws, "flow", "train")
    runs.update(project.ws, run.id, started_at=run.started_at - HOUR)
    runs.finish(project.ws, run.id, "done")
    first = retrain.propose(project, opened(project))
    operations.update_action(project.ws, first.id, "done", run=run.id, handled=True)
    said = retrain.propose(project, opened(project))
    assert said.startswith("no new retrain: 1 were spent in the last day (cost_per_day = 0.5)")
    assert len(begun) == 1


def verdict(status):
    return Verdict(id="v", requirement="d", text="selection_rate", metric="selection_rate",
                   subject="b", place="rollout", status=status, reason="so", decided_at=0)  # fmt: skip


@pytest.mark.parametrize(("status", "decided"), [("fail", "roll back"), ("undecided", "hold")])
def test_fairness_stops_a_promotion_in_the_rollout(project, status, decided):
    one = Rollout(id="r", endpoint="goods", candidate="b", champion="a", stages=["shadow", "100%"],
                  stage=1, opened_at=0, staged_at=0)  # fmt: skip
    judged = [verdict(status)]
    assert rollout.decide(project.config, one, judged, 1000, HOUR)[0] == decided


@pytest.mark.parametrize(("lo", "value", "hi"), [(0.3, 0.4, 0.5), (0.7, 0.9, 1.0)])
def test_fairness_that_fails_or_is_not_known_stops_a_promotion_at_the_gate(make, lo, value, hi):
    project = make(
        data={"goods": {"source": "x.csv", "target": "good", "protected": ["group"]}},
        require={"selection_rate": {"ratio": 0.8, "across": "group"}},
    )
    ws, subject = project.ws, hashing.digest("blob", b"model")
    artifacts.record(ws, Artifact(digest=subject, kind="model", size=1, created_at=1))
    evidence.append(ws, [Evidence(
        id="e", metric="selection_rate", statistic="ratio", subject=subject, slice="group",
        window="withheld", value=value, lo=lo, hi=hi, n=900, level=0.95, method="delta", run="",
        measured_at=1)])  # fmt: skip
    decision = gate.gate(project, subject)
    assert not decision.allowed
    assert versions.find(ws, "model") == []


@pytest.mark.slow
def test_an_endpoint_that_does_not_start_keeps_nothing_else_waiting(project, monkeypatch):
    ws, tried = project.ws, []

    def start(*_, **__):
        tried.append(1)
        raise TrimtabError("port 8000 is in use")

    monkeypatch.setattr(local, "start", start)
    routes = {"routes": [], "shadow": [], "version": 1}
    operations.save_endpoint(
        ws, Endpoint(name="goods", target="local", state="lost", routes=routes)
    )
    for _ in range(20):
        tick(project, now=ids.parse_time("2026-05-05T10:30:00Z"))
    assert len(tried) == jobs.MAX_ATTEMPTS
    (incident,) = operations.incidents(ws)
    assert (incident.kind, incident.state) == (incidents.DOWN, "open")
    assert "port 8000 is in use" in incident.title
    incidents.resolve(project, incident.id)
    restarts.look(project, operations.endpoint(ws, "goods"), Notes())
    assert len(tried) == jobs.MAX_ATTEMPTS + 1


def test_the_outlook_says_what_comes_next_and_why_not_more(project, begun, monkeypatch):
    now = ids.parse_time("2026-05-05T10:30:00Z")
    seen = outlook.outlook(project, now)
    assert seen.next == ["fire often at 2026-05-05T11:00:00Z"]
    assert "no model has passed the gate" in seen.text
    action = firings.by_hand(project, "often")
    assert "start often" in outlook.outlook(project, now).next
    jobs.launch(project, action)
    job._failed(project, action, "step fit failed", "")
    said = "start often again (attempt 1 of 3 failed: step fit failed)"
    assert said in outlook.outlook(project, now).next
    pause.pause(project.ws, "audit")
    seen = outlook.outlook(project, now)
    assert seen.text.startswith("It has nothing to do. Not more, because")
    assert "it is paused: audit" in seen.text
    assert operations.action_of(project.ws, action.key).state == "running"


def test_the_outlook_changes_nothing(project, begun):
    opened(project)
    firings.by_hand(project, "often")
    before = [operations.actions(project.ws), operations.incidents(project.ws)]
    for _ in range(3):
        outlook.outlook(project, ids.now())
    assert [operations.actions(project.ws), operations.incidents(project.ws)] == before
    assert begun == []
