"""Every kind of action that the code writes has words, and leads back to what caused it."""

from __future__ import annotations

import ast
from pathlib import Path

import msgspec
import pytest

import trimtab.loop
from trimtab import config, ids
from trimtab.errors import NotFoundError
from trimtab.loop import acts, firings
from trimtab.loop.alerts import incidents
from trimtab.loop.project import Project
from trimtab.loop.views import why
from trimtab.monitor.observe import Alarm, Seen
from trimtab.store import artifacts, evidence, operations, runs, verdicts, versions
from trimtab.store.records import Action, Artifact, Evidence, Rollout, Verdict, Window
from trimtab.store.workspace import open_workspace

DAY = 86_400_000_000
GOOD, NEXT, DATA = ("blake3:" + x * 64 for x in "abc")
RAW = {"project": {"name": "goods"}, "trigger": {"nightly": {"on": ["cron:0 3 * * *"]}}}


@pytest.fixture
def project(tmp_path):
    """A model with its run and data, an incident about it, a retrain and the next one's rollout."""
    ws = open_workspace(tmp_path, "goods")
    for digest in (GOOD, NEXT, DATA):
        artifacts.record(ws, Artifact(digest=digest, kind="model", size=1, created_at=1))
    versions.add(ws, "data", "goods", DATA)
    for digest in (GOOD, NEXT):
        run = runs.start(ws, "flow", f"train-{digest[7]}")
        runs.link(ws, run.id, "in", "goods", DATA)
        runs.link(ws, run.id, "out", "model", digest)
        runs.finish(ws, run.id, "done")
        versions.add(ws, "model", "goods", digest, run=run.id)
    yield Project(path=tmp_path / "trimtab.toml", config=config.parse(RAW), ws=ws)
    ws.close()


@pytest.fixture
def incident(project):
    ws, end = project.ws, 5 * DAY
    operations.save_window(ws, Window(
        endpoint="goods", model=GOOD, role="champion", start=4 * DAY, end=end, rows=9, profile="",
        findings=[{"text": "size moved"}], judged_at=5))  # fmt: skip
    evidence.append(ws, [Evidence(
        id="e", metric="roc_auc", subject=GOOD, window="w", value=0.5, lo=0.4, hi=0.6, n=9,
        level=0.95, method="betting", validity="anytime", run="", measured_at=1)])  # fmt: skip
    verdicts.append(ws, [Verdict(
        id="v", requirement="d", text="roc_auc >= 0.7", metric="roc_auc",
        subject="endpoint:goods", place="monitor", status="fail", reason="it is 0.5",
        decided_at=0)])  # fmt: skip
    name = f"{ids.iso(4 * DAY)}/{ids.iso(end)}"
    alarm = Alarm(
        kind="requirement",
        title="too low",
        severity="page",
        since=1,
        detail={"window": name, "verdict": "v"},
    )
    incidents.compare(
        project, "goods", versions.get(ws, "model", "goods@v1"), Seen(now=end, alarms=[alarm])
    )
    return operations.incidents(ws)[0]


def titles(found):
    return [found.title, *(title for inner in found.because for title in titles(inner))]


def test_a_promotion_leads_back_to_incident_evidence_window_run_and_data(project, incident):
    ws = project.ws
    retrain = acts.planned(
        project, "retrain", "retrain:1", {"incident": incident.id, "kind": "requirement"}
    )
    rollout = Rollout(id=ids.new_id(), endpoint="goods", candidate=NEXT, champion=GOOD,
                      stages=["shadow", "100%"], cause={"action": retrain.id})  # fmt: skip
    operations.open_rollout(ws, rollout)
    for kind in ("advance", "promote", "roll back"):
        action = acts.planned(
            project, kind, f"x:{kind}", {"rollout": rollout.id, "stage": "shadow"}
        )
        found = titles(why.why(project, action.id))
        assert found[0] == f"{why.ACTS[kind]}: planned"
        for said in ("rollout at goods: open", "a retrain: planned", "incident requirement: too low",
                     "monitor: roc_auc >= 0.7: fail", "evidence: roc_auc of w by betting",
                     "window 1970-01-05T00:00:00Z/1970-01-06T00:00:00Z"):  # fmt: skip
            assert said in found, (kind, said)
        assert any(title.startswith("run train-a") for title in found)
        assert any(title.startswith("run train-b") for title in found)
        assert any(title.startswith("data goods@v1") for title in found)
    assert titles(why.why(project, rollout.id))[0] == "rollout at goods: open"


def test_an_incident_is_proved_by_its_verdict_however_many_came_since(project, incident):
    (proof,) = verdicts.find(project.ws, ids=["v"])
    later = [msgspec.structs.replace(proof, id=f"w{number}") for number in range(1_000)]
    verdicts.append(project.ws, later)
    assert "monitor: roc_auc >= 0.7: fail" in titles(why.why(project, incident.id))


def test_a_firing_says_its_trigger_and_who_asked(project):
    action = firings.by_hand(project, "nightly", cause={"by": "Ada"})
    found = why.why(project, action.id)
    assert "trigger nightly starts the flow of the model" in titles(found)
    assert "cause: a person asked for it" in titles(found)
    assert "a trigger fired: planned" in titles(why.why(project, "nightly"))
    assert why.why(project, "trigger:nightly").facts["timeout"] == "6h"
    with pytest.raises(NotFoundError, match="no trigger 'dayly'"):
        why.why(project, "trigger:dayly")


def test_a_restart_and_an_incident_that_was_noted_have_causes(project, incident):
    action = acts.planned(project, "restart", "restart:goods:0", {"endpoint": "goods"})
    assert "cause: the process of goods had ended" in titles(why.why(project, action.id))
    (noted,) = operations.actions(project.ws, kind="incident")
    assert "incident requirement: too low" in titles(why.why(project, noted.id))


def kinds_written():
    """The kinds of every action in the source: what is given to `planned`, `note` and `Action`."""
    found = {"advance", "promote", "roll back"}  # `rollout.Step.decision`
    for path in Path(trimtab.loop.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text())
        named = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.AnnAssign | ast.Assign) and isinstance(node.value, ast.Constant)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        }
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            given = (
                [one.value for one in call.keywords if one.arg == "kind"]
                if name == "Action"
                else []
            )
            if name in ("planned", "act") or (name == "note" and len(call.args) > 3):
                given = call.args[1:2]
            for one in given:
                if isinstance(one, ast.Constant):
                    found.add(one.value)
                elif isinstance(one, ast.Name) and one.id in named:
                    found.add(named[one.id])
    return found


@pytest.mark.slow
def test_every_kind_of_action_has_words(project):
    kinds = kinds_written()
    assert kinds >= {"incident", "retrain", "restart", "advance", "promote", "roll back"}
    assert kinds | {firings.KIND} <= set(why.ACTS)
    for kind in why.ACTS:
        action = Action(
            id=ids.new_id(), kind=kind, key=kind, state="done", cause={"kind": "manual"}
        )
        operations.plan_action(project.ws, action)
        assert why.why(project, action.id).title == f"{why.ACTS[kind]}: done"
