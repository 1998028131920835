import pytest

from trimtab import config
from trimtab.loop import pause, tick
from trimtab.loop.notes import Notes
from trimtab.loop.project import Project, apply
from trimtab.loop.releases import rollout
from trimtab.loop.views import overview
from trimtab.store import ledger, operations, versions
from trimtab.store.records import Rollout
from trimtab.store.workspace import open_workspace


@pytest.fixture
def project(tmp_path):
    raw = {"project": {"name": "loans"}, "trigger": {"often": {"on": ["cron:* * * * *"]}}}
    ws = open_workspace(tmp_path, "loans")
    found = Project(path=tmp_path / "trimtab.toml", config=config.parse(raw), ws=ws)
    apply(found)
    yield found
    ws.close()


def test_a_controller_that_rests_fires_nothing_and_says_why(project):
    begin = 1_800_000_000_000_000
    tick.tick(project, now=begin)
    pause.pause(project.ws, "audit")
    done = tick.tick(project, now=begin + 600_000_000)
    assert operations.actions(project.ws, kind="fire") == []
    assert "audit" in done.waiting[0]
    assert pause.paused(project.ws).reason == "audit"
    assert overview.overview(project).sentence.endswith(": audit.")
    pause.resume(project.ws)
    assert pause.paused(project.ws) is None
    kept = [one.body for one in ledger.find(project.ws, limit=10) if "paused" in one.body]
    assert len(kept) == 2


@pytest.mark.parametrize(
    ("decision", "moves"), [("roll back", True), ("advance", False), ("promote", False)]
)
def test_what_fails_is_rolled_back_all_the_same(project, monkeypatch, decision, moves):
    ws, moved = project.ws, []
    models = [versions.add(ws, "model", "loans", "blake3:" + x * 64) for x in "ab"]
    one = Rollout(
        id="r", endpoint="loans", champion=models[0].digest, candidate=models[1].digest,
        stages=["shadow", "100%"],
    )  # fmt: skip
    step = rollout.Step(decision=decision, reason="so", verdicts=[])
    monkeypatch.setattr(rollout, "look", lambda *_: step)
    monkeypatch.setattr(rollout, "route", lambda *_: None)
    monkeypatch.setattr(tick, "_carry_out", lambda *_: moved.append(1) or one)
    tick._rollout(project, one, Notes(), 0, rests=True)
    assert bool(moved) is moves
