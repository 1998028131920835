import pytest

from trimtab.monitor.log import arms
from trimtab.serve.logged.frame import Frame, Part
from trimtab.store import operations, states
from trimtab.store.records import Rollout
from trimtab.store.workspace import open_workspace


@pytest.fixture
def ws(tmp_path):
    found = open_workspace(tmp_path, "loans")
    yield found
    found.close()


def opened(ws, **cause):
    one = Rollout(
        id="r1", endpoint="loans", candidate="b", champion="a", stages=["50%"], cause=cause,
        opened_at=1000, staged_at=1000,
    )  # fmt: skip
    operations.open_rollout(ws, one)
    return one


def frame(role, requests, *, status=200, at=2000, user=None, latency=500):
    rows = sum(requests)
    parts = tuple(Part(f"q{i}", count, at, latency) for i, count in enumerate(requests))
    return Frame(
        ids=tuple(str(i) for i in range(rows)) if status == 200 else (),
        request="q0", received_at=at, endpoint="loans", role=role,
        model={"champion": "a", "canary": "b", "shadow": "b"}[role], label="", contract="typed",
        status=status, latency_us=latency, parts=parts if len(parts) > 1 else (),
        words={"user": user} if user else {},
    )  # fmt: skip


def test_keys_that_go_together_count_once_and_few_are_kept(ws):
    one = opened(ws, ab={"share": 0.5})
    for role, names in (("champion", "xyxx"), ("canary", "zz")):
        arms.add(ws, "loans", [frame(role, [1] * len(names), user=list(names))], "user")
    assert arms.keys(ws, one) == (2, 1)
    for first in range(0, 9000, 3000):
        users = [str(i) for i in range(first, first + 3000)]
        halves = (users[::2], users[1::2])
        some = [frame(role, [1] * 1500, user=part)
                for role, part in zip(arms.ROLES, halves, strict=True)]  # fmt: skip
        arms.add(ws, "loans", some, "user")
    fell = arms.keys(ws, one)
    assert sum(fell) == arms.KEYS
    assert abs(fell[0] / sum(fell) - 0.5) < 0.05


def test_without_a_column_that_keeps_requests_together_nothing_is_kept(ws):
    one = opened(ws, ab={"share": 0.5})
    arms.add(ws, "loans", [frame("champion", [1], user=["x"])])
    assert arms.keys(ws, one) is None
    assert states.get(ws, f"arms:{one.id}") is None
