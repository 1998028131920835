import pytest

from trimtab import config
from trimtab.loop.releases import rollout as rollouts
from trimtab.store.records import Rollout, Verdict

CONFIG = config.parse({"project": {"name": "loans"}, "serve": {"max_hold_hours": 2.0}})
HOUR = 3_600_000_000
ENOUGH = rollouts.MIN_STAGE_ROWS


def at(stage):
    return Rollout(
        id="r", endpoint="loans", candidate="b", champion="a", stages=["shadow", "5%", "100%"],
        stage=stage, state="open", opened_at=0, staged_at=0,
    )  # fmt: skip


def verdict(metric, status):
    return Verdict(
        id="v", requirement="d", text=f"{metric} asked", metric=metric, subject="b",
        place="rollout", status=status, reason=f"{metric} is so", decided_at=0,
    )  # fmt: skip


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_nothing_moves_before_anybody_asked(stage):
    decision, reason = rollouts.decide(CONFIG, at(stage), [], 0, HOUR)
    assert decision == "hold"
    assert reason.startswith(f"0 of {ENOUGH} ")
    decision, reason = rollouts.decide(CONFIG, at(stage), [], 0, 3 * HOUR)
    assert decision == "roll back"
    assert "undecided for 2 h" in reason


@pytest.mark.parametrize(("stage", "expected"), [(0, "advance"), (1, "advance"), (2, "promote")])
def test_what_passes_moves_on(stage, expected):
    judged = [verdict("roc_auc", "pass"), verdict("latency_ms", "undecided")]
    assert rollouts.decide(CONFIG, at(stage), judged, ENOUGH, HOUR)[0] == expected


def test_what_fails_goes_back_at_once():
    judged = [verdict("roc_auc", "pass"), verdict("latency_ms", "fail")]
    decision, reason = rollouts.decide(CONFIG, at(0), judged, ENOUGH, HOUR)
    assert (decision, "latency_ms asked failed" in reason) == ("roll back", True)


@pytest.mark.parametrize("status", ["undecided", "missing"])
def test_what_is_undecided_holds_and_then_goes_back(status):
    judged = [verdict("roc_auc", status)]
    assert rollouts.decide(CONFIG, at(1), judged, ENOUGH, HOUR)[0] == "hold"
    assert rollouts.decide(CONFIG, at(1), judged, ENOUGH, 3 * HOUR)[0] == "roll back"
