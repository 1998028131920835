"""Labels that come late, when the rollout of their model is over."""

from __future__ import annotations

import msgspec
import pytest

from trimtab import ids
from trimtab.monitor.log import progress
from trimtab.store import operations, verdicts
from trimtab.store.records import Rollout


def promoted(one, *, closed: bool) -> Rollout:
    moment = ids.now() - 1_000_000
    rollout = Rollout(
        id=ids.new_id(), endpoint="goods", candidate=one.version.digest, champion="blake3:" + "0" * 64,
        stages=["50%", "100%"], stage=1, opened_at=moment, staged_at=moment,
    )  # fmt: skip
    assert operations.open_rollout(one.ws, rollout)
    one.live(0, role="canary")
    one.look(1)
    if closed:
        rollout = msgspec.structs.replace(rollout, state="promoted", closed_at=ids.now())
        operations.update_rollout(one.ws, rollout)
    return rollout


@pytest.mark.slow
def test_the_closed_rollout_stays_closed_and_the_monitor_sees_them(site):
    one = site()
    rollout = promoted(one, closed=True)
    before = progress.of(one.ws, rollout)
    assert before.answered == 400
    assert not [v for v in verdicts.find(one.ws, place="monitor") if v.status != "missing"]
    flipped = ["no" if told == "yes" else "yes" for told in one.days[0].truth]
    one.label(0, truth=flipped)
    one.live(1)
    one.look(3)
    (found,) = operations.rollouts(one.ws, endpoint="goods")
    assert found == rollout
    after = progress.of(one.ws, rollout)
    assert (after.answered, after.candidate.asked) == (before.answered, before.candidate.asked)
    judged = verdicts.find(one.ws, place="monitor")
    assert judged[0].status == "fail"
    assert judged[0].metric == "roc_auc"
