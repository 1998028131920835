"""What an endpoint makes of the routes that a pass gave it, with its own word written down."""

import os

import msgspec
import pytest

from trimtab import config, ids
from trimtab.deploy import local
from trimtab.errors import RefusedError
from trimtab.loop import notes, tick
from trimtab.loop.alerts import incidents
from trimtab.loop.hand import Hand
from trimtab.loop.project import Project, apply
from trimtab.loop.releases import heard, rollout, steering
from trimtab.loop.views import outlook, overview
from trimtab.serve.folder import State, write_state
from trimtab.serve.process import started
from trimtab.serve.routes import RouteSpec
from trimtab.store import operations, versions
from trimtab.store.records import Endpoint, Rollout
from trimtab.store.workspace import open_workspace

WHY = "model.onnx is not what the manifest says"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An endpoint that runs, of a rollout whose candidate answers 5 % from routes of version 1."""
    ws = open_workspace(tmp_path, "loans")
    raw = {"project": {"name": "loans"}}
    found = Project(path=tmp_path / "trimtab.toml", config=config.parse(raw), ws=ws)
    apply(found)
    for x in "ab":
        versions.add(ws, "model", "loans", "blake3:" + x * 64)
    versions.set_alias(ws, "model", "loans", "champion", "blake3:" + "a" * 64)
    pid = os.getpid()
    row = Endpoint(
        name="loans", target="local", state="ready", pid=pid, pid_started=started(pid), port=8080
    )
    operations.save_endpoint(ws, row)

    def spec(ws, version, role, weight):
        return RouteSpec(role=role, model=version.digest, label=version.label, folder="",
                         weight=weight)  # fmt: skip

    monkeypatch.setattr(local, "spec", spec)
    monkeypatch.setattr(
        rollout, "look", lambda *_: rollout.Step(decision="advance", reason="so", verdicts=[])
    )
    now = ids.now()
    one = Rollout(
        id=ids.new_id(), endpoint="loans", candidate="blake3:" + "b" * 64,
        champion="blake3:" + "a" * 64, stages=["5%", "50%", "100%"], cause={"kind": "retrain"},
        opened_at=now, staged_at=now,
    )  # fmt: skip
    assert operations.open_rollout(ws, one)
    rollout.route(found, one, *(versions.get(ws, "model", f"loans@v{n}") for n in (2, 1)))
    yield found
    ws.close()


def tell(project, version, error=""):
    pid = os.getpid()
    told = State(
        pid=pid, pid_started=started(pid), host="127.0.0.1", port=8080, ready=True,
        routes_version=version, error=f"{error}; copy it anew" if error else "",
    )  # fmt: skip
    write_state(local.folder(project.ws, "loans"), told)


def look(project):
    told = notes.Notes()
    heard.look(project, operations.endpoint(project.ws, "loans"), told)
    return told


def passed(project):
    told = notes.Notes()
    for one in operations.rollouts(project.ws, state="open"):
        tick._rollout(project, one, told, ids.now(), rests=False)
    return told


def test_refused_routes_are_one_incident_that_closes_when_they_are_taken(project):
    tell(project, 0, WHY)
    acted = [look(project).acted for _ in range(3)]
    assert [len(one) for one in acted] == [1, 0, 0]
    (known,) = operations.incidents(project.ws, state="open")
    assert known.kind == heard.KIND
    assert known.title == (
        f"loans refuses its newest routes (loans@v1, loans@v2) and goes on with those before: {WHY}."
    )
    assert heard._first(f"/models/{'0a' * 32} has digest blake3:{'b1' * 32}; do so") == (
        "/models/0a0a0a0a0a0a has digest blake3:b1b1b1b1b1b1"
    )
    assert known.detail["reason"] == f"{WHY}; copy it anew"
    assert "trimtab rollback" in known.detail["runbook"]
    tell(project, 1)
    assert look(project).observed == ["loans answers by its routes again"]
    assert operations.incidents(project.ws, state="open") == []
    assert look(project).observed == []


def test_an_endpoint_that_has_not_seen_its_routes_yet_refuses_and_takes_nothing(project):
    tell(project, 0, WHY)
    look(project)
    tell(project, 0)
    assert look(project).acted == look(project).observed == []
    assert len(operations.incidents(project.ws, state="open")) == 1


def test_an_error_of_a_worker_behind_routes_that_are_served_is_none(project):
    tell(project, 1, WHY)
    assert look(project).acted == []
    assert heard.why(project, "loans") == ""


def test_what_a_person_closed_is_not_opened_again_for_the_same_routes(project):
    tell(project, 0, WHY)
    look(project)
    (known,) = operations.incidents(project.ws, state="open")
    incidents.resolve(project, known.id)
    assert look(project).acted == []
    champion = local.spec(
        project.ws, versions.get(project.ws, "model", "loans@v1"), "champion", 1.0
    )
    local.set_routes(project.ws, "loans", [champion])
    assert len(look(project).acted) == 1


def test_a_rollout_whose_routes_are_refused_goes_no_further_and_goes_back_all_the_same(
    project, monkeypatch
):
    tell(project, 0, WHY)
    told = passed(project)
    (one,) = operations.rollouts(project.ws)
    assert (one.state, one.stage, told.acted) == ("open", 0, [])
    assert "refuses its newest routes" in told.waiting[0]
    with pytest.raises(RefusedError, match="manifest"):
        steering.advance(project, "loans", Hand("maria"))
    tell(project, 1)
    passed(project)
    assert operations.rollouts(project.ws)[0].stage == 1
    tell(project, 1, WHY)
    monkeypatch.setattr(
        rollout, "look", lambda *_: rollout.Step(decision="roll back", reason="so", verdicts=[])
    )
    passed(project)
    assert operations.rollouts(project.ws)[0].state == "rolled_back"


def test_outlook_and_sentence_say_it_before_any_incident_is_open_and_once(project):
    ws = project.ws
    (one,) = operations.rollouts(ws)
    tell(project, 1)
    operations.update_rollout(
        ws, msgspec.structs.replace(one, state="rolled_back", closed_at=ids.now())
    )
    assert "Nothing is off course" in overview.overview(project).sentence
    tell(project, 0, WHY)
    for _ in range(2):
        shown = overview.overview(project)
        assert shown.sentence.count(WHY) == 1
        assert "off course" not in shown.sentence
        assert sum(WHY in said for said in outlook.outlook(project, ids.now()).held) == 1
        look(project)
