"""Poisoned and selected labels, from the label file to the gate: no model comes of them."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import polars as pl
import pytest

from trimtab import ids
from trimtab.data import quarantine, snapshot, tables
from trimtab.deploy import local
from trimtab.errors import RefusedError, UsageError
from trimtab.loop import job
from trimtab.loop.alerts import incidents
from trimtab.loop.candidate import accept, admission, feedback, retrain
from trimtab.loop.candidate.train import train
from trimtab.loop.notes import Notes
from trimtab.loop.project import apply, open_project
from trimtab.loop.releases import rollout
from trimtab.loop.tick import tick
from trimtab.loop.views import why
from trimtab.monitor.log import catalogue
from trimtab.monitor.log.progress import Progress
from trimtab.serve.engine import Engine
from trimtab.serve.folder import Settings
from trimtab.serve.logged.log import Log
from trimtab.serve.router import Router
from trimtab.store import evidence, ledger, operations, verdicts, versions
from trimtab.store.records import Action, Incident, Rollout

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
PROJECT = """
[project]
name = "goods"
[data.goods]
source = "data/goods/*.parquet"
key = "id"
time = "at"
target = "good"
[model]
decide = "P(yes) >= 0.5"
[require]
roc_auc = { min = 0.6 }
[serve]
labels = "data/outcomes/*.parquet"
event_time = "client"
POLICY
[retrain]
on = ["drift"]
"""
PIPELINE = """
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from trimtab import Candidate, Dataset, flow, search

def estimator():
    words = (OneHotEncoder(handle_unknown="ignore"), ["kind"])
    return make_pipeline(make_column_transformer(words, ("passthrough", ["x", "z"])),
                         LogisticRegression())

@flow
def train(goods: Dataset) -> Candidate:
    return search(estimator, goods, cv=3)
"""


def rows(n, seed, days, start=BEGIN):
    draw = np.random.default_rng(seed)
    x, z = draw.normal(size=n), draw.normal(size=n)
    kind = draw.choice(["a", "b", "c"], n)
    good = np.where(draw.random(n) < 1 / (1 + np.exp(-(3 * x + z + (kind == "b")))), "yes", "no")
    at = [start + timedelta(days=days * i / n) for i in range(n)]
    table = {"id": [f"{seed}-{i}" for i in range(n)], "at": at, "x": x, "z": z, "kind": kind}
    return pl.DataFrame({**table, "good": good})


@pytest.fixture(autouse=True)
def own_code():
    """Every project has a module called pipeline, and a process takes one."""
    sys.modules.pop("pipeline", None)
    yield
    sys.modules.pop("pipeline", None)


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """A champion that has answered 1,200 rows; their outcomes are not known yet."""
    sys.modules.pop("pipeline", None)  # it is made before `own_code`
    folder = tmp_path_factory.mktemp("goods")
    (folder / "trimtab.toml").write_text(PROJECT.replace("POLICY", ""))
    (folder / "pipeline.py").write_text(PIPELINE)
    (folder / "data" / "goods").mkdir(parents=True)
    rows(3000, 0, 30).write_parquet(folder / "data" / "goods" / "history.parquet")
    project = open_project(folder)
    decision = train(project).decision
    assert decision.version is not None
    live = rows(1200, 1, 2, BEGIN + timedelta(days=30))
    ws = project.ws
    local.set_routes(ws, "goods", [local.spec(ws, decision.version, "champion", 1.0)])
    log = Log(local.log_folder(ws, "goods"), "goods")
    engine = Engine(name="goods", router=Router(local.folder(ws, "goods")), log=log,
                    settings=Settings(name="goods", event_time="client"))  # fmt: skip
    assert engine.router.reload()
    answers = []
    for some in live.iter_slices(200):
        times = some["at"].dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_list()
        body = {"rows": some.select("x", "z", "kind").to_dicts(), "event_time": times}
        said = engine.handle("POST", "/predict", {}, json.dumps(body).encode())
        assert said.status == 200, said.body
        answers += [one["id"] for one in json.loads(said.body)["predictions"]]
    log.close()
    ws.close()
    return folder, live.with_columns(prediction_id=pl.Series(answers))


@pytest.fixture
def given(lived, tmp_path):
    """`given(labels)`: the project after these outcomes came, with a drift that asks for a retrain."""
    opened = []

    def make(outcomes, policy=""):
        folder = tmp_path / "goods"
        shutil.copytree(lived[0], folder)
        (folder / "trimtab.toml").write_text(PROJECT.replace("POLICY", policy))
        project = open_project(folder)
        apply(project)
        opened.append(project)
        (folder / "data" / "outcomes").mkdir()
        told = outcomes.select("prediction_id", "good", "id").with_columns(
            labelled_at=pl.lit(BEGIN + timedelta(days=33))
        )
        told.write_parquet(folder / "data" / "outcomes" / "a.parquet")
        tick(project, now=ids.from_datetime(BEGIN + timedelta(days=34)))
        return project, asked(project)

    yield make
    for project in opened:
        project.ws.close()


def asked(project):
    """The drift's incident, and the retrain that it asks for, as the controller plans them."""
    since = ids.from_datetime(BEGIN + timedelta(days=30))
    incident = Incident(id=ids.new_id(), kind=incidents.CONCEPT, key="goods:concept drift",
                        endpoint="goods", title="outcomes moved", opened_at=since, since=since)  # fmt: skip
    assert operations.open_incident(project.ws, incident)
    action = Action(id=ids.new_id(), kind=retrain.KIND, key=f"retrain:{incident.id}",
                    state="running", created_at=ids.now(), updated_at=ids.now(),
                    cause={"incident": incident.id, "kind": incident.kind, "since": since,
                           "endpoint": "goods"})  # fmt: skip
    operations.plan_action(project.ws, action)
    return action


def done(project, action):
    """The job, in this process; the action's row as it left it."""
    job.main([str(project.path), action.id])
    return next(one for one in operations.actions(project.ws) if one.id == action.id)


def under(project, **settings):
    """The project with other settings of `[accept]`."""
    changed = msgspec.structs.replace(project.config.accept, **settings)
    return replace(project, config=msgspec.structs.replace(project.config, accept=changed))


def flipped(live, share=0.08):
    other = pl.when(pl.col("good") == "yes").then(pl.lit("no")).otherwise(pl.lit("yes"))
    hit = pl.Series(np.random.default_rng(3).random(live.height) < share)
    return live.with_columns(pl.when(hit).then(other).otherwise("good").alias("good"))


def models(project):
    return [one.label for one in versions.find(project.ws, "model")]


def test_flipped_labels_make_no_model_and_ask_a_person_once(lived, given):
    project, action = given(flipped(lived[1]))
    ended = done(project, action)
    assert ended.state == "failed"
    assert "goods@v2 is not trained on" in ended.result["reason"]
    assert "labels are wrong" in ended.result["reason"]
    assert "trimtab data accept goods@v2" in ended.result["hint"]
    assert models(project) == ["goods@v1"]

    for _ in range(3):
        retrain.advance(project, Notes())
    (incident,) = [one for one in operations.incidents(project.ws) if one.kind == incidents.REFUSED]
    assert "labels are wrong" in incident.title
    (drift,) = [one for one in operations.incidents(project.ws) if one.kind == incidents.CONCEPT]
    assert "no new retrain" in str(retrain.propose(project, drift))

    version = versions.get(project.ws, "data", "goods@v2")
    (effect,) = evidence.find(project.ws, subject=version.digest, metric=admission.METRIC)
    assert effect.details["status"] == "refuse"
    assert effect.lo <= effect.value <= effect.hi
    assert effect.n > 100
    assert not any("seen" in probe for probe in effect.details["probes"])
    (kept,) = quarantine.find(project.ws.root, "goods")
    assert kept.version == "goods@v2"
    assert kept.effect["n"] == effect.n
    told = tables.read(project.ws, version).with_row_index()
    truth = dict(zip(lived[1]["id"], lived[1]["good"], strict=True))
    wrong = {one["index"] for one in told.to_dicts() if one["good"] != truth[one["id"]]}
    assert len(wrong & set(kept.rows)) / len(kept.rows) > 0.3
    assert (project.ws.root / "quarantine" / "goods").exists()
    said = why.why(project, "goods@v2")
    assert [one.title for one in said.because] == ["acceptance by effect: refuse"]

    # Asked again, as by a job that was killed: the same answer, measured once.
    again = accept.judged(project, version)
    assert again.status == "refuse"
    assert len(evidence.find(project.ws, subject=version.digest, metric=admission.METRIC)) == 1


def test_a_person_may_overrule_with_a_reason(lived, given):
    project, action = given(flipped(lived[1]))
    done(project, action)
    warned = under(project, mode="warn")
    spoilt = versions.get(project.ws, "data", "goods@v2")
    assert accept.admit(warned, spoilt, action).status == "warn"
    assert admission.insist(project, "goods@v2").label == "goods@v2"
    accept.judged(under(project, level=0.02), spoilt)
    with pytest.raises(RefusedError, match="was refused") as refused:
        admission.insist(project, "goods@v2")
    assert "data accept goods@v2" in refused.value.hint
    with pytest.raises(UsageError, match="why"):
        admission.accept(project, "goods@v2", "  ")
    word = admission.accept(project, "goods@v2", "the flips are real", by="ann")
    again = admission.accept(project, "goods@v2", "another reason")
    assert (word.status, word.word["reason"]) == ("refuse", "the flips are real")
    assert again.word == word.word, "the first word stands"
    assert len(ledger.find(project.ws, kind="accept")) == 1
    assert admission.insist(project, "goods@v2").label == "goods@v2"
    version = versions.get(project.ws, "data", "goods@v2")
    assert accept.judged(project, version).status == "accept"
    trained = train(project, data={"goods": "goods@v2"})
    assert trained.run.id


def test_right_labels_make_a_model(lived, given):
    project, action = given(lived[1])
    ended = done(project, action)
    assert ended.state == "done", ended.result
    assert ended.result["batch"].startswith("accept: ")
    assert models(project) == ["goods@v2", "goods@v1"]
    assert quarantine.find(project.ws.root, "goods") == []


def test_outcomes_of_selected_cases_pass_neither_gate_nor_rollout(lived, given):
    project, action = given(lived[1], 'label_policy = "selected"')
    ended = done(project, action)
    assert ended.state == "failed"
    assert "lacks labels of a fair sample" in ended.result["reason"]
    assert "a random share" in ended.result["reason"]
    assert models(project) == ["goods@v1"]
    (verdict,) = [one for one in verdicts.find(project.ws, subject=ended.result["subject"])
                  if one.metric == "roc_auc"]  # fmt: skip
    assert (verdict.place, verdict.status, verdict.allows) == ("gate", "missing", False)


def test_labels_of_selected_cases_do_not_advance_a_rollout(lived, given):
    """A candidate whose every answer has a label: they are there and count for nothing."""
    project, _ = given(lived[1], 'label_policy = "selected"')
    digest = versions.get(project.ws, "model", "goods@v1").digest
    since = ids.from_datetime(BEGIN)
    one = Rollout(id=ids.new_id(), endpoint="goods", candidate=digest, champion=digest,
                  stages=["100%"], opened_at=since, staged_at=since)  # fmt: skip
    answered = Progress(answered=1200, latencies=np.array([900]), counts=np.array([1200]))
    with catalogue.open_catalogue(local.folder(project.ws, "goods")) as index:
        judged = rollout._judge(project, one, answered, index)
    (verdict,) = [
        found for found in judged if found.metric == "roc_auc" and not rollout.guarding(found)
    ]
    assert (verdict.status, verdict.place) == ("missing", "rollout")
    now = rollout.decide(project.config, one, judged, 1200, since)
    assert now[0] == "hold"
    assert "a random share" in now[1], "it says what to do"
    week = since + 8 * 86_400_000_000
    assert rollout.decide(project.config, one, judged, 1200, week)[0] == "roll back"


def test_a_fired_flow_does_not_train_on_what_was_delivered_spoilt(lived, given):
    project, _ = given(lived[1])
    folder = project.folder / "data" / "goods"
    action = Action(id=ids.new_id(), kind="fire", key="fire:retrain:data:1", state="running",
                    created_at=ids.now(), updated_at=ids.now(),
                    cause={"trigger": "retrain", "flow": ""})  # fmt: skip
    operations.plan_action(project.ws, action)
    row = rows(1, 9, 1).with_columns(good=pl.lit("no"), x=pl.lit(3.0))
    copies = pl.concat([row.with_columns(id=pl.lit(f"copy-{i}")) for i in range(400)])
    pl.concat([rows(600, 5, 1), copies]).write_parquet(folder / "later.parquet")
    ended = done(project, action)
    assert ended.state == "failed"
    assert "rows repeat another one" in ended.result["reason"]
    version = versions.get(project.ws, "data", "goods@latest")
    (kept,) = quarantine.find(project.ws.root, "goods")
    assert set(kept.files) == {"history.parquet", "later.parquet"}
    assert admission.of(project, version).rows == 1000, "the rows of the history are trusted"
    assert models(project) == ["goods@v1"]


def test_what_cannot_be_measured_is_left_to_the_gate(lived, given):
    project, _ = given(lived[1].head(60))
    known = snapshot.add(project.ws, project.config, "goods").version
    assert "nothing is new" in accept.judged(project, known).reason
    version = feedback.publish(project, "goods", ids.from_datetime(BEGIN))
    few = accept.judged(project, version)
    assert (few.status, few.value) == ("missing", None)
    assert "60 labelled rows" in few.reason
    assert "is off" in accept.judged(under(project, mode="off"), version).reason
