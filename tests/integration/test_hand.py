"""A person's hand on a live endpoint: an A/B test to its decision, and rollback drills."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time

import numpy as np
import pytest

from trimtab.deploy import local
from trimtab.errors import ConflictError
from trimtab.loop.project import open_project
from trimtab.loop.releases import drill, release
from trimtab.loop.tick import tick
from trimtab.store import evidence, ledger, operations, versions

FILE = """\
[project]
name = "goods"
[data.goods]
source = "goods.csv"
target = "good"
[require]
log_loss = { better_than = "baseline" }
[serve]
rollout = ["shadow", "50%"]
labels = "outcomes/*.csv"
"""
PIPELINE = """\
import polars as pl
from sklearn.linear_model import LogisticRegression
from trimtab import Candidate, Dataset, flow, search, step

@step
def clean(raw: pl.DataFrame) -> pl.DataFrame:
    return raw.drop_nulls()

def estimator(C: float = 1.0) -> LogisticRegression:
    return LogisticRegression(C=C)

@flow
def train(goods: Dataset, C: float = 1.0) -> Candidate:
    return search(estimator, clean(goods), space={"C": (C, C * 1.01)}, trials=1, cv=2, seed=0)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Two versions, the first and worse one deployed."""
    folder = tmp_path_factory.mktemp("goods")
    (folder / "trimtab.toml").write_text(FILE)
    (folder / "pipeline.py").write_text(PIPELINE)
    (folder / "outcomes").mkdir()
    rng = np.random.default_rng(0)
    size, price = rng.normal(size=(2, 800))
    good = size + 0.7 * rng.normal(size=800) > 0
    rows = zip(size, price, good, strict=True)
    lines = [f"{s:.5f},{p:.5f},{'yes' if g else 'no'}" for s, p, g in rows]
    (folder / "goods.csv").write_text("\n".join(["size,price,good", *lines]))
    opened = open_project(folder)
    command(opened, "run", "-p", "C=0.001")
    command(opened, "run")
    command(opened, "deploy", "goods@v1")
    yield opened
    release.stop(opened)
    opened.ws.close()


def command(project, *arguments, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "trimtab", "-C", project.folder, *arguments, "--json"],
        capture_output=True, text=True, check=False, cwd=project.folder, timeout=180,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def live(project, requests, seed):
    """Requests, and the file of what became of them."""
    endpoint = operations.endpoint(project.ws, "goods")
    rng = np.random.default_rng(seed)
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port)
    lines = ["prediction_id,good"]
    for size, price in rng.normal(size=(requests, 2)).tolist():
        body = json.dumps({"row": {"size": size, "price": price}})
        connection.request("POST", "/predict", body, {"content-type": "application/json"})
        said = json.loads(connection.getresponse().read())
        good = size + 0.7 * rng.normal() > 0
        lines.append(f"{said['predictions'][0]['id']},{'yes' if good else 'no'}")
    connection.close()
    (project.folder / "outcomes" / f"{seed}.csv").write_text("\n".join(lines))


def test_a_test_is_begun_compared_and_decided(project):
    said = command(project, "deploy", "goods@v2", "--ab", "50%", "--for", "2w", "--by", "maria")
    assert said["rollout"]["stages"] == ["50%"]
    again = command(project, "deploy", "goods@v2", "--ab", "50%", code=5)
    assert "open" in again["error"]["message"]
    live(project, 600, 1)
    done = tick(project)
    assert any("nothing is promoted by itself" in one for one in done.waiting)
    told = command(project, "rollouts", "report", "goods")
    assert sum(one["requests"] for one in told["arms"]) == 600
    assert sum(one["labelled"] for one in told["arms"]) == 600
    assert not told["mismatch"]["fired"]
    assert told["sentence"].startswith("B is better in log_loss by")  # A hardly learned
    assert all(one["latency"][0]["value"] > 0 for one in told["arms"])
    with pytest.raises(ConflictError, match="a rollout is open"):
        drill.drill(project, "goods")
    ended = command(project, "rollouts", "advance", "goods", "--reason", "a whim", "--by", "maria")
    assert ended["rollout"]["state"] == "promoted"
    assert versions.get(project.ws, "model", "goods@champion").label == "goods@v2"
    assert command(project, "rollouts", "show", "goods")["waits"].endswith("by maria: a whim")
    ledger.verify(project.ws)


def test_a_drill_loses_nothing_and_is_kept(project):
    done = command(project, "rollouts", "drill", "--rounds", "3")
    assert done["lost"] == 0
    assert done["sent"] > 10
    assert len(done["answered"]) == 3
    times = zip(done["written"], done["answered"], done["settled"], strict=True)
    assert all(0 < a <= b <= c for a, b, c in times)
    champion = release.champion_of(project, "goods")
    (kept,) = evidence.find(project.ws, metric="rollback_seconds", window="drill:goods")
    assert (kept.subject, kept.n, kept.level) == (champion.digest, 3, 0.75)
    assert kept.lo <= kept.value <= kept.hi
    assert operations.rollouts(project.ws, endpoint="goods", state="open") == []
    assert operations.incidents(project.ws) == []
    routes = operations.endpoint(project.ws, "goods").routes["routes"]
    assert [(one["model"], one["weight"]) for one in routes] == [(champion.digest, 1.0)]
    assert all(one["rollout"]["cause"]["kind"] != "drill" for one in
               command(project, "rollouts", "ls")["rollouts"])  # fmt: skip


def test_no_probe_of_a_drill_is_taken_for_traffic(project):
    before = log_bytes(project)
    drill.drill(project, "goods", rounds=1)
    assert log_bytes(project) == before


def test_the_same_model_does_for_a_first_drill(project):
    other = "rehearsal"
    command(project, "deploy", "goods@v1", "--name", other)
    try:
        versions.set_alias(project.ws, "model", "goods", release.PREVIOUS, release.champion_of(
            project, other).digest)  # fmt: skip
        done = drill.drill(project, other, rounds=2)
        assert (done.lost, done.other) == (0, "goods@v1 again")
        local.stop(project.ws, other)
        with pytest.raises(ConflictError, match="does not answer"):
            drill.drill(project, other)
    finally:
        local.stop(project.ws, other)


def test_what_passed_the_gate_is_live_within_a_minute(project):
    begun = time.monotonic()
    said = command(project, "deploy", "goods@v1", "--direct")
    endpoint = operations.endpoint(project.ws, "goods")
    until = begun + 60
    while time.monotonic() < until:
        connection = http.client.HTTPConnection(endpoint.host, endpoint.port)
        body = json.dumps({"row": {"size": 1.0, "price": 0.0}})
        connection.request("POST", "/predict", body, {"content-type": "application/json"})
        label = json.loads(connection.getresponse().read())["model_version"]
        connection.close()
        if label == said["version"]:
            break
    else:
        pytest.fail("a model that passed the gate was not live after a minute")


def log_bytes(project):
    place = local.log_folder(project.ws, "goods")
    return sum(one.stat().st_size for one in place.glob("*"))
