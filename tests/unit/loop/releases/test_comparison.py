"""What the report of an A/B test says, with both arms' answers given."""

import numpy as np
import pytest

from trimtab import config
from trimtab.evaluate.scored import Scored
from trimtab.loop.project import Project, apply
from trimtab.loop.releases import comparison
from trimtab.loop.releases.shown import Terms
from trimtab.monitor.log import arms, progress, tally
from trimtab.store import operations, versions
from trimtab.store.records import Rollout
from trimtab.store.workspace import open_workspace

HALF = Terms(share=0.5)
NONE = np.empty(0, dtype=np.int64)


@pytest.fixture
def project(tmp_path):
    raw = {
        "project": {"name": "loans"},
        "data": {"loans": {"source": "loans.csv"}},
        "require": {
            "accuracy": [{"min": 0.7}, {"better_than": "champion"}],
            "latency_ms": {"p99": 20},
            "selection_rate": {"ratio": 0.8, "across": "group"},
        },
        "serve": {"labels": "x.csv"},
    }
    ws = open_workspace(tmp_path, "loans")
    found = Project(path=tmp_path / "trimtab.toml", config=config.parse(raw), ws=ws)
    apply(found)
    for x in "ab":
        versions.add(ws, "model", "loans", "blake3:" + x * 64)
    yield found
    ws.close()


def told(project, monkeypatch, right, counts=(500, 500), terms=HALF, sticky="", keys=None):
    """The report where the arms are right on these shares of their rows (rows, share)."""
    one = Rollout(
        id="r" * 32, endpoint="loans", champion="blake3:" + "a" * 64,
        candidate="blake3:" + "b" * 64, stages=["50%"], opened_at=1,
    )  # fmt: skip
    known = {one.champion: scored(*right[0], 1), one.candidate: scored(*right[1], 2)}
    seen = progress.Progress(
        answered=0, latencies=NONE, counts=NONE,
        champion=tally.Arm(counts[0], 0, np.array([2000]), np.array([100]), counts[0]),
        candidate=tally.Arm(counts[1], 3, np.array([2000]), np.array([100]), counts[1]),
    )  # fmt: skip
    monkeypatch.setattr(progress, "of", lambda *_: seen)
    monkeypatch.setattr(arms, "keys", lambda *_: keys)
    monkeypatch.setattr(comparison, "_scored", lambda p, i, r, digest, role: known[digest])
    if sticky:
        raw = {"project": {"name": "loans"}, "serve": {"sticky": sticky}}
        project = Project(path=project.path, config=config.parse(raw), ws=project.ws)
    return comparison.compare(project, one, terms)


def scored(rows, right, seed):
    if not rows:
        return None
    rng = np.random.default_rng(seed)
    truth = rng.random(rows) < 0.5
    decision = np.where(rng.random(rows) < right, truth, ~truth)
    return Scored(
        task="binary", truth=truth, score=np.where(decision, 0.9, 0.1), decision=decision,
        slices={"group": rng.choice(["x", "y"], rows).astype(object)},
    )  # fmt: skip


def test_the_better_model_is_named_with_its_gain(project, monkeypatch):
    report = told(project, monkeypatch, [(2000, 0.8), (2000, 0.9)])
    (one,) = report.differences
    assert one.metric == "accuracy"
    assert 0 < one.lo < 0.1 < one.hi < 0.2
    assert report.sentence.startswith("B is better in accuracy by 0.")
    assert "4,000 labelled rows" in report.sentence
    assert (one.more_rows, report.mismatch.fired) == (0, False)
    assert "advance rrr" in report.asks
    assert [x.n for x in report.arms[0].metrics] == [2000, 2000]
    assert report.arms[1].failed.value == 0.006
    assert [x.metric for x in report.arms[0].latency] == ["latency_ms p50", "latency_ms p95"]
    assert [x.metric for x in report.arms[0].metrics] == [
        "accuracy", "selection_rate ratio across group >= 0.8"
    ]  # fmt: skip


def test_the_worse_model_is_named_too(project, monkeypatch):
    report = told(project, monkeypatch, [(2000, 0.9), (2000, 0.8)])
    assert report.sentence.startswith("B is worse in accuracy by 0.")


def test_what_is_undecided_says_what_may_be_and_how_many_more_rows_it_takes(project, monkeypatch):
    report = told(project, monkeypatch, [(300, 0.8), (300, 0.82)])
    (one,) = report.differences
    assert one.more_rows > 0
    assert "undecided" in report.sentence
    assert "more rows would decide" in report.sentence


def test_without_labels_nothing_is_said_of_quality(project, monkeypatch):
    report = told(project, monkeypatch, [(300, 0.8), (0, 0.8)])
    assert report.sentence == "accuracy: nothing can be said yet, no answer of B has its label yet"
    assert report.arms[1].metrics[0].note


def test_shares_that_are_off_come_before_any_gain(project, monkeypatch):
    report = told(project, monkeypatch, [(2000, 0.8), (2000, 0.9)], counts=(2500, 2000))
    assert report.mismatch.fired
    assert report.mismatch.p < 0.001
    assert "the shares are off" in report.sentence
    assert "begin anew" in report.sentence


def test_keys_that_go_together_are_what_is_tested(project, monkeypatch):
    rights = [(100, 0.8), (100, 0.8)]
    many = told(project, monkeypatch, rights, (2500, 2000), sticky="user", keys=(50, 52))
    assert not many.mismatch.fired
    assert "102 values of user" in many.mismatch.sentence
    unknown = told(project, monkeypatch, rights, (2500, 2000), sticky="user")
    assert unknown.mismatch.p is None
    assert "not tested" in unknown.mismatch.sentence


def test_without_a_requirement_the_plainest_metric_is_compared(project, monkeypatch):
    report = told(project, monkeypatch, [(400, 0.6), (400, 0.9)], sticky="user")
    assert [x.metric for x in report.differences] == ["accuracy"]


@pytest.mark.slow
def test_looking_often_finds_no_difference_where_there_is_none(project, monkeypatch):
    found = 0
    wanted = config.parse(
        {"project": {"name": "x"}, "require": {"accuracy": {"better_than": "champion"}}}
    ).require[0]
    for seed in range(40):
        a, b = scored(1000, 0.85, 2 * seed), scored(1000, 0.85, 2 * seed + 1)
        looks = []
        for n in range(100, 1001, 100):
            some = [
                comparison._Side(
                    name, "d", "l", "r", tally.Arm(n, 0, NONE, NONE, n), one.take(np.arange(n))
                )
                for name, one in (("A", a), ("B", b))
            ]
            difference = comparison._difference(wanted, some)
            looks.append(difference.lo > 0 or difference.hi < 0)
        found += any(looks)
    assert found <= 4  # 5 % at any look: 2 of 40 are expected at most
    assert operations.rollouts(project.ws) == []
