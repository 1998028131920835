"""The pages of rollouts: what they show, and what their forms do."""

import msgspec
import pytest

from trimtab.loop.releases import rollout as rollouts
from trimtab.loop.releases.shown import Difference
from trimtab.server import rolling
from trimtab.store import evidence, operations, states
from trimtab.store.records import Evidence, Verdict

OWN = {
    "content-type": "application/x-www-form-urlencoded",
    "origin": "http://127.0.0.1:8746",
}


@pytest.fixture
def open_one(project):
    """The open rollout of the written life, with a verdict and a drill."""
    one = operations.rollouts(project.ws, state="open")[0]
    judged = Verdict(
        id="v", requirement="d", text="roc_auc >= 0.76", metric="roc_auc", subject=one.candidate,
        place="rollout", status="undecided", reason="roc_auc may be <b>", value=0.77, lo=0.7,
        hi=0.8, n=900, decided_at=1,
    )  # fmt: skip
    states.put(
        project.ws, f"rollout:{one.id}", {"key": [], "verdicts": [msgspec.to_builtins(judged)]}
    )
    drilled = Evidence(
        id="e", metric="rollback_seconds", subject="m", value=0.1, lo=0.05, hi=0.2, n=6,
        method="order-statistics", window="drill:loans", measured_at=1,
        details={"lost": 0, "sent": 900},
    )  # fmt: skip
    evidence.append(project.ws, [drilled])
    return one


def test_the_list_leads_to_each(client, open_one):
    text = client.get("/rollouts").text
    assert f'href="/rollouts/{open_one.id}"' in text
    assert f'href="/rollouts/{open_one.id}"' in client.get("/").text
    assert client.get("/rollouts/nonesuch").status_code == 404


def test_nothing_yet_says_how_to_begin(client_of, empty):
    from trimtab.loop.project import apply

    apply(empty)
    assert "No rollouts yet" in client_of(empty).get("/rollouts").text


def test_a_rollout_shows_verdicts_drills_and_forms(client, open_one):
    text = client.get(f"/rollouts/{open_one.id}").text
    assert "roc_auc may be &lt;b&gt;" in text
    assert text.count('<svg class="bar"') == 1
    assert "0 of 900 answers lost" in text
    assert text.count("<form") == 3


def test_forms_hold_and_release(client, project, open_one):
    for act, state in (("hold", "held by maria"), ("release", "")):
        answer = client.post(
            f"/rollouts/{open_one.id}/{act}", content=b"by=maria&reason=a+look", headers=OWN
        )
        assert answer.status_code == 303
        assert answer.headers["location"] == f"/rollouts/{open_one.id}"
        assert state in client.get(f"/rollouts/{open_one.id}").text
    assert [one.kind for one in operations.actions(project.ws)[:2]] == ["release", "hold"]


def test_a_form_of_an_older_page_moves_nothing_twice(client, project, open_one, monkeypatch):
    stage = open_one.stages[open_one.stage]
    sent = f"by=maria&reason=x&at={stage.replace('%', '%25')}".encode()
    monkeypatch.setattr(rollouts, "look", lambda *_: rollouts.Step(
        decision="hold", reason="so", verdicts=[]))  # fmt: skip
    monkeypatch.setattr(rollouts, "route", lambda *_: None)
    for _ in range(2):
        answer = client.post(f"/rollouts/{open_one.id}/advance", content=sent, headers=OWN)
        assert answer.status_code == 303
    now = operations.rollouts(project.ws, state="open")[0]
    assert now.stage == open_one.stage + 1
    bare = client.post(f"/rollouts/{open_one.id}/advance", content=b"by=x", headers=OWN)
    assert bare.status_code == 409


def test_strangers_and_unknown_acts_are_refused(client, open_one):
    foreign = OWN | {"origin": "http://evil.example"}
    path = f"/rollouts/{open_one.id}"
    assert client.post(f"{path}/hold", content=b"by=x", headers=foreign).status_code == 403
    assert client.post(f"{path}/burn", content=b"by=x", headers=OWN).status_code == 404


@pytest.mark.parametrize(
    ("value", "lo", "hi"), [(0.1, 0.05, 0.2), (-0.1, -1.7e308, 1.7e308), (0.0, 0.0, 0.0)]
)
def test_a_difference_is_drawn_on_the_strip(value, lo, hi):
    one = Difference(metric="m", value=value, lo=lo, hi=hi, n=9, level=0.95, sentence="so")
    drawn = rolling.drawing(one)
    assert 0 <= drawn.lo <= drawn.value <= drawn.hi <= 176
    unknown = Difference(metric="m", value=None, lo=None, hi=None, n=0, level=0.95, sentence="so")
    assert rolling.drawing(unknown) is None
