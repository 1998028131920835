"""A project from training to a live endpoint: files scored as the endpoint answers, load, and skew."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from trimtab import ids
from trimtab.deploy import local
from trimtab.errors import RefusedError
from trimtab.loop.candidate import skew
from trimtab.loop.project import open_project
from trimtab.loop.releases import release, rollout, steering
from trimtab.serve.logged import log
from trimtab.serve.measured.skew import Training
from trimtab.store import evidence, operations, runs, versions

FILE = """\
[project]
name = "loans"
[data.loans]
source = "loans.csv"
key = "application"
target = "repaid"
[model]
decide = "P(yes) >= 0.5"
[require]
roc_auc = { min = 0.5 }
latency_ms = { p99 = 5000 }
capacity = { min = 1 }
[serve]
price_per_hour = 0.04
"""
PIPELINE = """\
import polars as pl
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from trimtab import Candidate, Dataset, flow, search, step

@step
def clean(raw: pl.DataFrame) -> pl.DataFrame:
    return raw.filter(pl.col("debt") < 3){change}

def estimator(depth: int = 4):
    prepare = make_column_transformer(
        (SimpleImputer(), ["income", "debt"]),
        (OneHotEncoder(handle_unknown="ignore"), ["purpose"]),
    )
    return make_pipeline(
        prepare, RandomForestClassifier(n_estimators=20, max_depth=depth, random_state={seed})
    )

@flow
def train(loans: Dataset, seed: int = {seed}) -> Candidate:
    return search(estimator, clean(loans), space={{"depth": (2, 4)}}, trials=1, cv=2, seed=seed)
"""


def rows(count: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    income = rng.normal(3, 1, count).round(3)
    debt = rng.normal(size=count).round(3)
    purpose = rng.choice(["car", "home", "boat"], count)
    good = income - debt + (purpose == "car") + rng.normal(size=count) > 3
    return pl.DataFrame(
        {
            "application": [f"{seed}-{i:06}" for i in range(count)],
            "income": [None if i % 11 == 0 else x for i, x in enumerate(income.tolist())],
            "debt": debt,
            "purpose": purpose,
            "repaid": np.where(good, "yes", "no"),
        }
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Trained, gated and deployed."""
    folder = tmp_path_factory.mktemp("loans")
    (folder / "trimtab.toml").write_text(FILE)
    write(folder)
    rows(1500, 1).write_csv(folder / "loans.csv")
    opened = open_project(folder)
    call(opened, "run")
    call(opened, "deploy")  # an endpoint outlives the process that starts it
    yield opened
    release.stop(opened)
    opened.ws.close()


def write(folder: Path, change: str = "", seed: int = 0) -> None:
    (folder / "pipeline.py").write_text(PIPELINE.format(change=change, seed=seed))


def call(project, *arguments, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "trimtab", "-C", project.folder, *arguments, "--json"],
        capture_output=True, text=True, check=False, cwd=project.folder, timeout=180,
    )  # fmt: skip
    assert done.returncode == code, (done.stdout, done.stderr)
    return json.loads(done.stdout)


def online(project, frame: pl.DataFrame, **headers: str) -> list[dict]:
    """What the endpoint answers, as any client asks."""
    endpoint = local.find(project.ws, "loans")
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=60)
    found = []
    for part in frame.iter_slices(500):
        body = json.dumps({"rows": part.select("income", "debt", "purpose").to_dicts()})
        said = {"content-type": "application/json", **headers}
        connection.request("POST", "/predict", body, said)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200, text
        found += json.loads(text)["predictions"]
    connection.close()
    return found


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_ten_thousand_rows_of_a_file_get_what_the_endpoint_answers(project, tmp_path, form):
    frame = rows(10_000, 2)
    source = tmp_path / f"in.{form}"
    frame.write_csv(source) if form == "csv" else frame.write_parquet(source)
    out = tmp_path / "out.parquet"
    said = call(project, "predict", "loans@champion", str(source), str(out))
    answers = online(project, frame)
    found = pl.read_parquet(out)
    assert found.columns == ["application", "decision", "score", "model"]
    assert found["application"].to_list() == frame["application"].to_list()
    assert found["decision"].to_list() == [one["decision"] for one in answers]
    assert found["score"].to_list() == [one["score"] for one in answers]
    assert set(found["model"]) == {"loans@v1"}
    assert said["scored"] == said["rows"] == 10_000
    run = runs.find(project.ws, kind="predict")[0]
    assert run.params["rows"] == 10_000
    assert [one.digest for one in runs.links(project.ws, run.id)] == [said["digest"]]


def test_what_was_killed_goes_on_and_leaves_one_whole_file(project, tmp_path):
    frame = rows(400_000, 3)
    source, out = tmp_path / "in.parquet", tmp_path / "out.csv"
    frame.write_parquet(source)
    arguments = ["predict", "loans", str(source), str(out), "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "trimtab", "-C", project.folder, *arguments],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=project.folder,
    )  # fmt: skip
    manifest = tmp_path / ".out.csv.parts" / "manifest.jsonl"
    until = time.monotonic() + 60
    while not manifest.is_file() or len(manifest.read_bytes().splitlines()) < 4:
        assert time.monotonic() < until
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()
    assert not out.exists()
    said = call(project, *arguments[:-1])
    assert 0 < said["resumed"] < said["rows"] == 400_000
    found = pl.read_csv(out)
    assert found["application"].to_list() == frame["application"].to_list()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["in.parquet", "out.csv"]


def test_a_load_test_becomes_evidence_and_leaves_the_live_endpoint_alone(project, tmp_path):
    before = list(log.read_all(local.log_folder(project.ws, "loans")))
    svg = tmp_path / "curve.svg"
    said = call(
        project, "bench", "loans", "--seconds", "0.5", "--concurrency", "1,8", "--svg", str(svg)
    )
    assert [one["concurrency"] for one in said["levels"]] == [1, 8]
    assert all(one["requests"] > 0 and not one["errors"] for one in said["levels"])
    assert svg.read_text().startswith("<svg")
    digest = versions.get(project.ws, "model", "loans@champion").digest
    assert said["digest"] == digest
    found = evidence.find(project.ws, subject=digest, window="bench")
    mine = [one for one in found if one.run == said["run"]]
    assert {(one.metric, one.statistic) for one in mine} == {
        ("latency_ms", "p50"), ("latency_ms", "p99"), ("latency_ms", "p99.9"),
        ("error_rate", ""), ("capacity", ""), ("cost_per_1000", ""),
    }  # fmt: skip
    assert {one.validity for one in mine} == {"anytime"}
    # Half a second on a busy machine may be too little to be sure of one request a second.
    judged = {one["metric"]: one["status"] for one in said["verdicts"]}
    assert judged["capacity"] in ("pass", "undecided")
    assert {one["place"] for one in said["verdicts"]} == {"monitor"}
    assert list(log.read_all(local.log_folder(project.ws, "loans"))) == before


def test_a_requirement_that_the_load_test_breaks_ends_with_three(project):
    path = project.folder / "trimtab.toml"
    path.write_text(FILE.replace("capacity = { min = 1 }", "capacity = { min = 10000000 }"))
    try:
        said = call(project, "bench", "loans@v1", "--seconds", "0.2", "--concurrency", "1", code=3)
        assert {one["place"] for one in said["verdicts"]} == {"gate"}
    finally:
        path.write_text(FILE)


def test_training_rows_that_arrive_as_they_were_pass_the_gate_and_the_endpoint(project):
    digest = versions.get(project.ws, "model", "loans@champion").digest
    found = evidence.find(project.ws, subject=digest, metric="skew")
    assert [(one.window, one.value) for one in found] == [("replay:loans", 0.0), ("replay", 0.0)]
    assert found[0].n == 256
    live = local.log_folder(project.ws, "loans")
    assert all(frame.contract != "replay" for frame in log.read_all(live))
    assert sum(one.rows for one in log.read_all(live.parent / "replay")) == 256


@pytest.fixture
def quick(project):
    """The project without requirements that take seconds to measure."""
    path = project.folder / "trimtab.toml"
    path.write_text(FILE.replace("capacity = { min = 1 }", "").replace("latency_ms", "# "))
    opened = open_project(project.folder)
    yield opened
    opened.ws.close()
    path.write_text(FILE)
    write(project.folder)


def test_a_step_that_changes_cells_is_refused_with_the_columns_named(quick):
    """A client sends what the source has, and so does the replay."""
    changes = (
        'pl.col("income").fill_null(0), pl.col("debt").cast(pl.Float32), '
        'pl.col("purpose").str.to_uppercase()'
    )
    write(quick.folder, f".with_columns({changes})")
    said = call(quick, "run", code=3)
    found = evidence.find(quick.ws, subject=said["subject"], metric="skew")[0]
    # Training saw no null in income, so the endpoint refuses the rows that have one.
    assert {name: set(kinds) for name, kinds in found.details["columns"].items()} == {
        "income": {"refused"}, "debt": {"precision"}, "purpose": {"spelling"},
    }  # fmt: skip
    assert found.value == 1.0
    refused = [one for one in said["decision"]["verdicts"] if one["metric"] == "skew"]
    assert refused[0]["status"] == "fail"
    for name in ("income", "debt", "purpose"):
        assert f"column {name!r}" in refused[0]["reason"]
    assert said["decision"]["version"] is None


@pytest.fixture
def second(quick):
    """A second version that passed the gate, and the training rows kept with it."""
    write(quick.folder, seed=1)
    said = call(quick, "run")
    return versions.get(quick.ws, "model", said["subject"])


def forget(project, version) -> None:
    """Keep other rows with a version: now what the endpoint logs is not what training saw."""
    known = project.ws.blobs.read(skew._rows(project, version.digest))
    kept = msgspec.json.decode(known, type=Training)
    income = [None if x is None else x + 1 for x in kept.features["income"]]
    other = msgspec.structs.replace(kept, features={**kept.features, "income": income})
    digest = skew.keep(project, other, version.digest)
    clean = skew.Skew(rows=256, off=0)
    with project.ws.transaction():
        evidence.append(
            project.ws, [skew.evidence_of(clean, version.digest, skew.WINDOW, digest, "")]
        )


def test_the_real_endpoint_refuses_a_model_that_sees_other_features(quick, second):
    project = quick
    routes = operations.endpoint(project.ws, "loans").routes["routes"]
    forget(project, second)
    with pytest.raises(RefusedError, match="column 'income'"):
        release.deploy(project, second.label, direct=True)
    assert evidence.find(project.ws, subject=second.digest, window="replay:loans")[0].value > 0.5
    endpoint = operations.endpoint(project.ws, "loans")
    assert endpoint.routes["routes"] == routes
    assert release.champion_of(project, "loans").label == "loans@v1"
    opened = rollout.open_for(
        project, "loans", second, release.champion_of(project, "loans"), cause={}
    )
    last = msgspec.structs.replace(opened, stage=len(opened.stages) - 1)
    rollout.route(project, last, second, release.champion_of(project, "loans"))
    decision, reason = rollout.last_look(project, last, "it passed")
    assert decision == "roll back"
    assert "column 'income'" in reason
    steering.go_back(project, "loans")
    assert len(online(project, rows(10, 9))) == 10


def test_an_endpoint_that_dies_during_a_canary_is_started_again_and_the_rollout_goes_on(
    quick, second
):
    project = quick
    champion = release.champion_of(project, "loans")
    opened = rollout.open_for(project, "loans", second, champion, cause={})
    later = msgspec.structs.replace(opened, stage=1, staged_at=ids.now())
    operations.update_rollout(project.ws, later)
    rollout.route(project, later, second, champion)
    champions = {"x-route": "champion"}  # by chance one of so many rows would be enough to advance
    online(project, rows(200, 11), **champions)
    before = operations.endpoint(project.ws, "loans")
    os.kill(before.pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while local.find(project.ws, "loans").state != "lost" and time.monotonic() < deadline:
        time.sleep(0.05)
    said = call(project, "tick")  # an endpoint outlives the process that starts it
    assert said["acted"][0]["kind"] == "restart"
    after = operations.endpoint(project.ws, "loans")
    assert after.pid != before.pid
    assert [(one["role"], one["weight"]) for one in after.routes["routes"]] == [
        ("champion", pytest.approx(0.95)),
        ("canary", pytest.approx(0.05)),
    ]
    (still,) = operations.rollouts(project.ws, endpoint="loans", state="open")
    assert (still.id, still.stage) == (later.id, 1)
    assert len(online(project, rows(200, 12), **champions)) == 200
    told = call(project, "tick")
    assert "5%: hold" in " ".join(told["waiting"]), told
    steering.go_back(project, "loans")
