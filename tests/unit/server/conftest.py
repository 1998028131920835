"""A project whose store holds a whole life of a model, written down by hand."""

from __future__ import annotations

import asyncio
import os

import httpx
import msgspec
import pytest

from trimtab import ids
from trimtab.loop.project import apply, open_project
from trimtab.serve.process import started
from trimtab.server.app import build
from trimtab.server.opened import Opened
from trimtab.store import artifacts, metrics, operations, runs, states, verdicts, versions
from trimtab.store.records import (
    Action,
    Artifact,
    Endpoint,
    Incident,
    Point,
    Rollout,
    Verdict,
    Window,
)

FILE = """\
[project]
name = "loans"
purpose = "Approve applications; a refusal goes to a person"
[data.applications]
source = "data/*.csv"
key = "application_id"
target = "repaid"
protected = ["group"]
[require]
roc_auc = { min = 0.76 }
selection_rate = { ratio = 0.80, across = "group" }
latency_ms = { p99 = 20 }
"""
SECOND = 1_000_000
HOUR = 3600 * SECOND


@pytest.fixture
def empty(tmp_path):
    """A project in which nothing has happened."""
    (tmp_path / "trimtab.toml").write_text(FILE, encoding="utf-8")
    project = open_project(tmp_path)
    yield project
    project.ws.close()


@pytest.fixture
def project(empty):
    """The project after a model was trained, gated, deployed and went off course."""
    fill(empty)
    return empty


class Client:
    """Requests to an app without a network."""

    def __init__(self, app):
        self.app = app

    def __call__(self, method, path, **given):
        return asyncio.run(self._ask(method, path, **given))

    def get(self, path, **given):
        return self("GET", path, **given)

    def post(self, path, **given):
        return self("POST", path, **given)

    async def _ask(self, method, path, **given):
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:8746", timeout=60
        ) as client:
            return await client.request(method, path, **given)


@pytest.fixture
def client(project):
    return Client(build(Opened.of(project)))


@pytest.fixture
def client_of():
    """A client of any project."""
    return lambda project: Client(build(Opened.of(project)))


def fill(project):
    """Write the life of a model into a project's store."""
    ws, now = project.ws, ids.now()
    apply(project)
    data = ws.blobs.put(b"applications")
    artifacts.record(ws, Artifact(digest=data, kind="data", size=12, created_at=now))
    versions.add(ws, "data", "applications", data, meta={"rows": 12_000})
    flow = runs.start(ws, "flow", "train", params={"seed": 0, "trials": 20}, code=data)
    runs.link(ws, flow.id, "in", "applications", data)
    for number in range(2):
        trial = runs.start(ws, "trial", f"trial {number}", parent=flow.id, params={"depth": number})
        points = [
            Point(key="cv_roc_auc", step=step, time=now + step, value=0.7 + 0.02 * (step * 7 % 5))
            for step in range(5)
        ]
        metrics.append(ws, trial.id, points)
        runs.finish(ws, trial.id, "done", peak_bytes=180_000_000)
    points = [
        Point(key=key, step=step, time=now + step, value=start * (1 + shape / (step + 2)))
        for key, start, shape in (("loss", 0.4, 1.5), ("roc_auc", 0.79, -0.4))
        for step in range(60)
    ]
    metrics.append(ws, flow.id, points)
    model = ws.blobs.put(b"model")
    meta = {"engine": "onnx"}
    artifacts.record(
        ws, Artifact(digest=model, kind="model", size=5, meta=meta, run=flow.id, created_at=now)
    )
    runs.link(ws, flow.id, "out", "model", model)
    runs.finish(ws, flow.id, "done", peak_bytes=412_000_000)
    failed = runs.start(ws, "flow", "train", cause={"kind": "retrain", "incident": "drift"})
    error = {
        "type": "PipelineError",
        "message": "step 'clean' failed: no column 'income' <b>",
        "traceback": "Traceback (most recent call last):\n  File pipeline.py, line 12",
    }
    runs.finish(ws, failed.id, "failed", error=error)
    runs.start(ws, "flow", "train", cause={"kind": "manual"})
    judge(project, model, flow.id)
    versions.add(ws, "model", "loans", model, run=flow.id, meta=meta)
    versions.set_alias(ws, "model", "loans", "champion", model)
    steer(project, model, now)


def judge(project, model, run):
    """Verdicts at the three places."""
    found = [
        ("gate", "pass", (0.789, 0.772, 0.806), (0.86, 0.82, 0.90), (8.1, 7.4, 9.0)),
        ("rollout", "pass", (0.781, 0.764, 0.798), (0.84, 0.79, 0.89), (9.2, 8.8, 9.9)),
        ("monitor", "fail", (0.712, 0.69, 0.741), (0.88, 0.83, 0.93), (11.0, 9.8, 12.4)),
    ]
    batch = []
    for place, status, *measured in found:
        for requirement, (value, lo, hi) in zip(project.config.require, measured, strict=True):
            is_first = requirement.metric == "roc_auc"
            low, high = requirement.bounds
            certain = low <= lo and hi <= high
            batch.append(
                Verdict(
                    id=ids.new_id(),
                    requirement=requirement.digest,
                    text=requirement.text,
                    metric=requirement.metric,
                    subject=model,
                    place=place,
                    status=status if is_first else "pass" if certain else "undecided",
                    reason=f"{requirement.text}: {value}",
                    statistic=requirement.statistic,
                    value=value,
                    lo=lo,
                    hi=hi,
                    n=2400,
                    config=project.config.digest,
                    run=run,
                    decided_at=ids.now(),
                )
            )
    verdicts.append(project.ws, batch)


def steer(project, model, now):
    """An endpoint with a rollout, an open incident and what the controller did about it."""
    ws = project.ws
    route = {"role": "champion", "model": model, "label": "loans@v1", "folder": "", "weight": 95.0}
    canary = {"role": "canary", "model": model, "label": "loans@v2", "folder": "", "weight": 5.0}
    operations.save_endpoint(
        ws,
        Endpoint(
            name="loans",
            target="local",
            state="ready",
            pid=os.getpid(),  # alive, and so "ready"; whoever stops this endpoint stops the tests
            pid_started=started(os.getpid()),
            port=40000,
            routes={"routes": [route, canary], "shadow": []},
            created_at=now,
        ),
    )
    rollout = Rollout(
        id=ids.new_id(),
        endpoint="loans",
        candidate=model,
        champion=model,
        stages=["shadow", "5%", "50%", "100%"],
        stage=1,
        reason="roc_auc is undecided: about 400 more rows would decide",
        opened_at=now,
        staged_at=now,
    )
    operations.open_rollout(ws, rollout)
    guard = Verdict(
        id=ids.new_id(),
        requirement="blake3:" + "0" * 64,
        text="error_rate <= the champion's + 0.01",
        metric="error_rate",
        statistic="over:champion",
        subject=model,
        place="rollout",
        status="undecided",
        reason="it failed to answer 2 of 120 requests and the champion 11 of 2,280",
        value=0.012,
        lo=-0.004,
        hi=0.06,
        n=2400,
        details={"guard": True, "bound": {"max": 0.01}},
        decided_at=now,
    )
    told = {"key": [], "verdicts": [msgspec.to_builtins(guard)]}
    states.put(ws, f"rollout:{rollout.id}", told)
    detail = {"effect": 0.31, "features": ["years", "debt"], "windows": 3}
    operations.open_incident(
        ws,
        Incident(
            id=ids.new_id(),
            kind="concept drift",
            key="concept:loans",
            endpoint="loans",
            title="The same inputs now have other outcomes: roc_auc fell from 0.79 to 0.71",
            detail=detail,
            opened_at=now,
            since=now - 30 * HOUR,
        ),
    )
    resolved = Incident(
        id=ids.new_id(),
        kind="data drift",
        key="drift:loans",
        endpoint="loans",
        title="income moved",
        state="resolved",
        opened_at=now,
        resolved_at=now,
    )
    operations.open_incident(ws, resolved)
    for kind, state in (("retrain", "done"), ("open_rollout", "done"), ("advance", "running")):
        action = Action(
            id=ids.new_id(),
            kind=kind,
            key=f"{kind}:1",
            state=state,
            result={"said": f"{kind} because roc_auc was below its bound"},
            created_at=now,
            updated_at=now,
        )
        operations.plan_action(ws, action)
    operations.save_window(
        ws,
        Window(
            endpoint="loans",
            model=model,
            role="champion",
            start=now - 24 * HOUR,
            end=now,
            rows=600,
            profile="",
            judged_at=now,
        ),
    )
