from __future__ import annotations

import polars as pl
import pytest

from trimtab.loop.project import open_project
from trimtab.pipeline import load
from trimtab.store import evidence, runs
from trimtab.testing import histories

FLOW = """\
import polars as pl
from sklearn.linear_model import SGDClassifier

from trimtab import Candidate, Dataset, flow, search, step


@step
def clean(raw: pl.DataFrame) -> pl.DataFrame:
    print("cleaning")
    return raw.filter(pl.col("id") != 17)


def estimator(rate: float = 0.01):
    return SGDClassifier(loss="log_loss", learning_rate="constant", eta0=rate, random_state=0)


def broken():
    return 3


@flow
def train(loans: Dataset, seed: int = 0) -> Candidate:
    return search(estimator, clean(loans), seed=seed)
"""
FILE = """\
[project]
name = "loans"
[data.loans]
source = "loans.csv"
key = "id"
time = "at"
target = "y"
[serve]
price_per_hour = 3.6
[retrain]
min_rows = 300
"""


@pytest.fixture
def loans(tmp_path):
    start = pl.datetime(2026, 1, 1)
    frame = histories.history("sudden", 4, 3000).with_columns(
        id=pl.int_range(pl.len()), at=start + pl.duration(minutes=30) * pl.int_range(pl.len())
    )
    frame.write_csv(tmp_path / "loans.csv")
    (tmp_path / "trimtab.toml").write_text(FILE, "utf-8")
    (tmp_path / "pipeline.py").write_text(FLOW, "utf-8")
    yield tmp_path
    load.forget(tmp_path)


@pytest.mark.slow
def test_a_projects_history_is_replayed_and_kept(call, loans):
    ended = call("replay", "--json", "--svg", "drawn.svg", "--window", "2d")
    assert ended.code == 0, ended.err
    found = ended.body
    assert (found["training"], found["source"]) == ("dynamic", "loans@v1")
    assert found["rows"] == 2999  # the flow's step dropped one
    assert found["windows"][0]["start"] > 0
    drift = {one["policy"]: one for one in found["policies"]}["drift"]
    assert drift["cost"] == pytest.approx(drift["seconds"] / 1000, rel=0.01)
    assert "cleaning" in ended.err
    assert (loans / "drawn.svg").read_text("utf-8").startswith("<svg")
    project = open_project(loans)
    kept = runs.get(project.ws, found["run"])
    assert (kept.kind, kept.status) == ("replay", "done")
    assert kept.tags["recommends"] == found["recommends"]
    read = {(one.direction, one.name) for one in runs.links(project.ws, kept.id)}
    assert read == {("in", "loans@v1"), ("out", "replay")}
    assert len(evidence.find(project.ws, window="replay:drift")) == 2
    project.ws.close()
    said = call("why", found["run"]).out
    assert "dynamic training" in said
    assert "loans@v1" in said
    assert "drift.log_loss" in call("runs", "show", found["run"]).out


@pytest.mark.slow
def test_all_versions_are_one_history_with_each_key_once(call, loans):
    call("data", "add", "loans")
    frame = pl.read_csv(loans / "loans.csv")
    later = frame.with_columns(pl.col("id") + 1000, pl.lit(1).alias("y"))[1500:]
    later.write_csv(loans / "loans.csv")
    found = call("replay", "loans@all", "--json", "--policies", "never").body
    assert found["source"] == "loans@v1, loans@v2"
    assert found["rows"] == 3999  # 3,000 and 1,500, 500 keys in both, one dropped by the step
    project = open_project(loans)
    read = [one.name for one in runs.links(project.ws, found["run"]) if one.direction == "in"]
    assert sorted(read) == ["loans@v1", "loans@v2"]
    project.ws.close()


@pytest.mark.slow
def test_the_table_for_people_says_what_and_why(call, loans):
    out = call("replay", "loans", "--policies", "drift").out
    assert "dynamic training: drift" in out
    assert "because drift saves" in out
    assert "no-change" in out
    assert "note: never was added" in out
    assert "note: there is no model yet" in out


@pytest.mark.slow
def test_an_interrupted_replay_leaves_a_run_that_says_so(call, loans, monkeypatch):
    from trimtab.loop.replay import engine, walk

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(engine.walk, "walk", interrupted)
    assert walk.walk is interrupted
    assert call("replay").code == 130
    project = open_project(loans)
    kept = runs.find(project.ws, kind="replay")
    assert [one.status for one in kept] == ["cancelled"]
    assert [one.direction for one in runs.links(project.ws, kept[0].id)] == ["in"]
    assert evidence.find(project.ws) == []
    project.ws.close()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--policies", "hourly"), 2, "there is no policy 'hourly'"),
        (("houses",), 4, "the flow reads no source 'houses'"),
        (("loans@v9",), 4, "there is no data called"),
        (("--time", "when"), 1, "there is no time column 'when'"),
        (("--estimator", "pipeline:broken"), 2, "gave no estimator but a value of type int"),
        (("--estimator", "pipeline:nothing"), 4, "has no function 'nothing'"),
        (("other.csv", "--target", "y"), 4, "there is no file other.csv"),
        (("--delay", "1y"), 2, "neither rows nor a length of time"),
        (("--first", "0.9", "--window", "200"), 1, "6 are needed"),
    ],
)
def test_what_does_not_fit_is_said(call, loans, arguments, code, words):
    ended = call("replay", *arguments)
    assert (ended.code, ended.out) == (code, "")
    assert words in ended.err
    assert "hint:" in ended.err


@pytest.mark.slow
def test_a_file_is_replayed_where_no_project_is(call, tmp_path):
    histories.history("stationary", 1, 1500).write_parquet(tmp_path / "t.parquet")
    ended = call("replay", "t.parquet", "--target", "y", "--in-order", "--estimator", "bayes")
    assert ended.code == 0, ended.err
    assert "static training: never" in ended.out
    assert "not kept" in ended.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.parquet"]


def test_without_a_project_or_a_file_it_says_how_to_begin(call):
    ended = call("replay")
    assert ended.code == 4
    assert "trimtab init" in ended.err
