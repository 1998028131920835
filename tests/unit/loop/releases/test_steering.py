"""A person's hand on a rollout, with what would be measured written down."""

import msgspec
import pytest

from trimtab import config, ids
from trimtab.deploy import local
from trimtab.errors import (
    ConflictError,
    DataError,
    NotFoundError,
    RefusedError,
    TrimtabError,
    UsageError,
)
from trimtab.loop import hand, notes, tick
from trimtab.loop.hand import Hand
from trimtab.loop.project import Project, apply
from trimtab.loop.releases import experiment, release, rollout, steering
from trimtab.loop.releases.shown import Terms
from trimtab.serve.routes import RouteSpec
from trimtab.store import ledger, operations, versions
from trimtab.store.records import Endpoint, Rollout, Verdict
from trimtab.store.workspace import open_workspace

HOUR = 3_600_000_000
MARIA = Hand("maria", "because")


@pytest.fixture
def project(tmp_path, monkeypatch):
    ws = open_workspace(tmp_path, "loans")
    raw = {"project": {"name": "loans"}, "serve": {"max_hold_hours": 2.0}}
    found = Project(path=tmp_path / "trimtab.toml", config=config.parse(raw), ws=ws)
    apply(found)
    for x in "ab":
        versions.add(ws, "model", "loans", "blake3:" + x * 64)
    versions.set_alias(ws, "model", "loans", "champion", "blake3:" + "a" * 64)
    operations.save_endpoint(ws, Endpoint(name="loans", target="local", state="ready"))

    def spec(ws, version, role, weight):
        return RouteSpec(role=role, model=version.digest, label=version.label, folder="",
                         weight=weight)  # fmt: skip

    monkeypatch.setattr(local, "spec", spec)
    yield found
    ws.close()


@pytest.fixture
def seen(monkeypatch):
    """What a look at the rollout finds: `seen("fail")`."""

    def becomes(*statuses, decision="hold", last="promote"):
        judged = [verdict(status) for status in statuses]

        def look(project, one, now):
            if "fail" in statuses:
                return rollout.Step(decision="roll back", reason="it failed", verdicts=judged)
            late = now - one.staged_at > 2 * HOUR
            said = "roll back" if late and decision == "hold" else decision
            return rollout.Step(decision=said, reason="so", verdicts=judged)

        monkeypatch.setattr(rollout, "look", look)
        monkeypatch.setattr(rollout, "last_look", lambda *_: (last, "the endpoint sees other rows"))

    becomes("undecided")
    return becomes


def verdict(status):
    return Verdict(
        id="v", requirement="d", text="roc_auc >= 0.7", metric="roc_auc", subject="b",
        place="rollout", status=status, reason="roc_auc is 0.6", decided_at=0,
    )  # fmt: skip


def opened(project, stages=("shadow", "5%", "100%"), ago=0, **cause):
    now = ids.now() - ago
    one = Rollout(
        id=ids.new_id(), endpoint="loans", candidate="blake3:" + "b" * 64,
        champion="blake3:" + "a" * 64, stages=list(stages), cause={"kind": "manual", **cause},
        opened_at=now, staged_at=now,
    )  # fmt: skip
    assert operations.open_rollout(project.ws, one)
    rollout.route(project, one, *(versions.get(project.ws, "model", f"loans@v{n}") for n in (2, 1)))
    return one


def shares(project):
    routes = operations.endpoint(project.ws, "loans").routes
    return {one["label"]: one["weight"] for one in routes["routes"]}


def champion(project):
    return versions.get(project.ws, "model", "loans@champion").label


def passed(project, rests=False):
    told = notes.Notes()
    for one in operations.rollouts(project.ws, state="open"):
        tick._rollout(project, one, told, ids.now(), rests=rests)
    return told


def test_a_person_carries_a_rollout_to_its_end(project, seen):
    one = opened(project)
    assert steering.advance(project, "loans", MARIA).rollout.stage == 1
    assert shares(project) == {"loans@v1": 0.95, "loans@v2": 0.05}
    steering.advance(project, one.id[:16], MARIA)
    done = steering.advance(project, one.id, MARIA)
    assert (done.rollout.state, champion(project)) == ("promoted", "loans@v2")
    assert shares(project) == {"loans@v2": 1.0}
    kinds = [(x.kind, x.state, x.cause["by"]) for x in operations.actions(project.ws)]
    assert kinds == [("promote", "done", "maria"), *[("advance", "done", "maria")] * 2]
    kept = [msgspec.json.decode(x.body) for x in ledger.find(project.ws, kind="hand")]
    assert [x["act"] for x in kept] == ["promote", "advance", "advance"]
    assert all(x["reason"] == "because" and x["rollout"] == one.id for x in kept)
    ledger.verify(project.ws)


def test_asked_twice_it_moves_once(project, seen):
    opened(project)
    assert steering.advance(project, "loans", at="shadow").changed
    again = steering.advance(project, "loans", at="shadow")
    assert (again.changed, again.rollout.stage) == (False, 1)
    with pytest.raises(ConflictError, match="at 5%, not at 100%"):
        steering.advance(project, "loans", at="100%")
    assert len(operations.actions(project.ws)) == 1


@pytest.mark.parametrize("stages", [("shadow", "100%"), ("100%",)])
def test_what_fails_is_not_advanced_unless_a_reason_is_kept(project, seen, stages):
    opened(project, stages)
    seen("pass", "fail")
    with pytest.raises(RefusedError, match="roc_auc >= 0.7 failed"):
        steering.advance(project, "loans", MARIA)
    with pytest.raises(UsageError, match="--reason"):
        steering.advance(project, "loans", Hand("maria", " ", force=True))
    assert operations.actions(project.ws) == []
    done = steering.advance(project, "loans", Hand("maria", "a wrong label", force=True))
    assert done.rollout.state == ("promoted" if len(stages) == 1 else "open")
    kept = msgspec.json.decode(ledger.find(project.ws, kind="hand")[0].body)
    assert kept["overruled"] == ["roc_auc >= 0.7 failed: roc_auc is 0.6"]


def test_the_last_stage_asks_the_endpoint_too(project, seen):
    opened(project, ["100%"])
    seen("pass", last="roll back")
    with pytest.raises(RefusedError, match="sees other rows"):
        steering.advance(project, "loans")
    assert champion(project) == "loans@v1"


def test_what_cannot_be_judged_is_not_advanced(project, seen, monkeypatch):
    opened(project)

    def broken(*_):
        raise DataError("labels do not fit")

    monkeypatch.setattr(rollout, "look", broken)
    with pytest.raises(RefusedError, match="labels do not fit"):
        steering.advance(project, "loans")
    assert steering.rollback(project, "loans").rollout.state == "rolled_back"


def test_what_is_held_stays_and_what_fails_goes_back(project, seen):
    one = opened(project, ago=3 * HOUR)
    assert steering.hold(project, "loans", MARIA).changed
    assert not steering.hold(project, "loans", Hand("paul", "me too")).changed
    told = passed(project)  # undecided for longer than max_hold
    assert (told.acted, "held by maria" in told.waiting[0]) == ([], True)
    seen("pass", decision="promote")
    assert passed(project).acted == []
    assert "held by maria" in steering.shown(project, one).waits
    seen("fail")
    assert passed(project).acted[0].kind == "roll back"
    assert shares(project) == {"loans@v1": 1.0}


def test_what_is_released_goes_on(project, seen):
    opened(project, ago=3 * HOUR)
    assert not steering.let_go(project, "loans").changed
    steering.hold(project, "loans", MARIA)
    done = steering.let_go(project, "loans", MARIA)
    assert steering.held(project.ws, done.rollout) is None
    assert passed(project).acted == []  # the time of its stage began anew
    seen("pass", decision="advance")
    assert [x.kind for x in passed(project).acted] == ["advance"]
    steering.hold(project, "loans", MARIA)
    assert [x.kind for x in operations.actions(project.ws)] == [
        "hold", "advance", "release", "hold"
    ]  # fmt: skip


def test_a_rollback_is_one_however_often_it_is_asked(project, seen):
    one = opened(project)
    done = steering.rollback(project, "loans", MARIA)
    assert (done.rollout.state, done.rollout.reason) == (
        "rolled_back", "at shadow by maria: because"
    )  # fmt: skip
    assert not steering.rollback(project, one.id).changed
    assert len(operations.actions(project.ws)) == 1
    assert operations.incidents(project.ws) == []


def test_closed_and_unknown_rollouts_are_refused(project, seen):
    with pytest.raises(NotFoundError, match="no single rollout 'loans'"):
        steering.advance(project, "loans")
    opened(project)
    steering.rollback(project, "loans")
    for act in (steering.advance, steering.hold, steering.let_go):
        with pytest.raises(ConflictError, match="rolled back already"):
            act(project, "loans")
    with pytest.raises(NotFoundError):
        steering.find(project, "")


def test_going_back_without_a_rollout_is_kept_too(project, seen):
    opened(project, ["100%"])
    steering.advance(project, "loans", MARIA)
    told = steering.go_back(project, "loans", MARIA)
    assert (told.version, champion(project)) == ("loans@v1", "loans@v1")
    assert [x.kind for x in operations.actions(project.ws)] == ["roll back", "promote"]
    opened(project)
    assert steering.go_back(project).message == "the rollout is over; loans@v1 answers"
    with pytest.raises(NotFoundError, match="no endpoint"):
        steering.go_back(project, "nonesuch")


def test_going_back_again_goes_one_further_and_never_to_what_was_left(project, seen, monkeypatch):
    versions.add(project.ws, "model", "loans", "blake3:" + "c" * 64)
    one, two, three = (versions.get(project.ws, "model", f"loans@v{n}") for n in (1, 2, 3))
    release.switch(project, "loans", one, one, behind=[])
    release.switch(project, "loans", two, one)
    release.switch(project, "loans", three, two)
    assert [steering.go_back(project).version for _ in "ab"] == ["loans@v2", "loans@v1"]
    for _ in "ab":
        with pytest.raises(NotFoundError, match="no earlier model") as refused:
            steering.go_back(project)
        assert "trimtab deploy" in refused.value.hint
    assert shares(project) == {"loans@v1": 1.0}
    assert "previous" not in versions.aliases(project.ws, "model", "loans")
    release.switch(project, "loans", three, one)
    assert steering.go_back(project).version == "loans@v1"


def test_going_back_to_a_model_that_the_endpoint_does_not_take_changes_nothing(
    project, seen, monkeypatch
):
    opened(project, ["100%"])
    steering.advance(project, "loans", MARIA)
    before = versions.aliases(project.ws, "model", "loans")

    def settle(ws, name):
        assert shares(project) == {"loans@v1": 1.0}
        raise TrimtabError("its package was changed")

    monkeypatch.setattr(local, "settle", settle)
    with pytest.raises(TrimtabError, match="was changed"):
        steering.go_back(project, "loans", MARIA)
    assert shares(project) == {"loans@v2": 1.0}
    assert versions.aliases(project.ws, "model", "loans") == before
    last = operations.actions(project.ws)[0]
    assert "loans@v2 answers still, not loans@v1" in last.result["said"]


def test_a_drill_that_was_cut_off_is_ended_by_the_next_pass(project, seen):
    from trimtab.loop.releases import drill

    one = opened(project, ["1%"], kind="drill")
    assert drill.mended(project, one)
    assert operations.rollouts(project.ws, state="open") == []
    assert shares(project) == {"loans@v1": 1.0}
    assert not drill.mended(project, opened(project))


@pytest.mark.parametrize("act", [steering.advance, steering.rollback, steering.hold])
@pytest.mark.parametrize("stages", [("shadow", "100%"), ("100%",)])
@pytest.mark.parametrize("fatal", [1, 2, 3])
def test_a_death_in_between_leaves_the_rollout_as_it_was(
    project, seen, monkeypatch, act, stages, fatal
):
    """Whichever entry of the ledger it dies at, the next pass finds the routes of before."""
    one = opened(project, stages)
    before, append, count = shares(project), ledger.append, []

    def dying(*given):
        count.append(1)
        if len(count) == fatal:
            raise KeyboardInterrupt
        return append(*given)

    monkeypatch.setattr(ledger, "append", dying)
    try:
        act(project, "loans", MARIA)
    except KeyboardInterrupt:
        monkeypatch.setattr(ledger, "append", append)
        assert operations.rollouts(project.ws, state="open") == [one]
        assert operations.actions(project.ws) == []
        passed(project)
        assert shares(project) == before
        assert champion(project) == "loans@v1"
        act(project, "loans", MARIA)
    assert len(operations.actions(project.ws)) == 1
    ledger.verify(project.ws)


# -- A/B tests


@pytest.mark.parametrize("share", ["0%", "100%", "0.5", "half", "", "101%", "-5%"])
def test_a_share_that_leaves_no_two_arms_is_refused(share):
    with pytest.raises(UsageError, match="not two arms"):
        experiment.terms_of(share, "", 0)


@pytest.mark.parametrize("lasts", ["0d", "a while", "2 weeks"])
def test_a_test_of_no_length_is_refused(lasts):
    with pytest.raises(UsageError):
        experiment.terms_of("50%", lasts, 0)


def test_nothing_of_a_test_is_promoted_by_itself(project, seen):
    opened(project, ["50%"], ago=30 * 24 * HOUR, **experiment.cause_of(Terms(share=0.5)))
    for decision in ("promote", "hold"):
        seen("pass", decision=decision)
        told = passed(project)
        assert (told.acted, "nothing is promoted by itself" in told.waiting[0]) == ([], True)
    seen("fail")
    assert passed(project).acted[0].kind == "roll back"


def test_a_test_whose_time_is_over_asks_once_and_the_decision_closes_it(project, seen, monkeypatch):
    monkeypatch.setattr(experiment.comparison, "compare", lambda *_: fake())
    terms = Terms(share=0.5, until=ids.now() - 1)
    opened(project, ["50%"], **experiment.cause_of(terms))
    first, second = passed(project), passed(project)
    assert ["opened: " in x.result["said"] for x in first.acted] == [True]
    assert second.acted == []
    assert "a person decides" in second.waiting[0]
    (incident,) = operations.incidents(project.ws)
    assert (incident.kind, incident.state) == ("A/B test over", "open")
    assert "B is better by 1" in incident.title
    steering.advance(project, "loans", MARIA)
    (incident,) = operations.incidents(project.ws)
    assert (incident.state, incident.resolution) == ("resolved", "loans@v2 was promoted")
    assert champion(project) == "loans@v2"


def test_a_test_that_is_rolled_back_by_itself_asks_nobody_any_more(project, seen, monkeypatch):
    monkeypatch.setattr(experiment.comparison, "compare", lambda *_: fake())
    opened(project, ["50%"], **experiment.cause_of(Terms(share=0.5, until=ids.now() - 1)))
    passed(project)
    seen("fail")
    passed(project)
    states = {one.kind: one.state for one in operations.incidents(project.ws)}
    assert states == {"A/B test over": "resolved", "retrain refused": "open"}


def fake():
    arms = [msgspec.defstruct("Arm", ["model"])(model=f"loans@v{n}") for n in (1, 2)]
    return msgspec.defstruct("Told", ["arms", "sentence", "asks"])(
        arms=arms, sentence="B is better by 1", asks="Decide"
    )


# -- freezes


@pytest.fixture
def frozen(project):
    raw = {
        "project": {"name": "loans"},
        "freeze": {"windows": ["2020-01-01 - 2099-12-31"], "reason": "audit"},
        "trigger": {"often": {"on": ["cron:* * * * *"]}},
    }
    apply(Project(path=project.path, config=config.parse(raw), ws=project.ws))
    return project.applied()


def test_a_freeze_keeps_a_person_too_unless_a_reason_is_given(frozen, seen):
    opened(frozen)
    with pytest.raises(RefusedError, match="frozen until 2100-01-01T00:00:00Z"):
        steering.advance(frozen, "loans", MARIA)
    done = steering.advance(frozen, "loans", Hand("maria", "the board", force=True))
    assert done.rollout.stage == 1
    assert "though advancing waits: frozen" in done.message
    assert steering.rollback(frozen, "loans").rollout.state == "rolled_back"


def test_a_freeze_lets_nothing_start_and_what_fails_go_back(frozen, seen, monkeypatch):
    begin = ids.now()
    tick.tick(frozen, now=begin)
    told = tick.tick(frozen, now=begin + HOUR)
    assert "audit" in told.waiting[0]
    assert operations.actions(frozen.ws, kind="fire") == []
    opened(frozen)
    seen("pass", decision="advance")
    assert passed(frozen, rests=True).acted == []
    seen("fail")
    assert passed(frozen, rests=True).acted[0].kind == "roll back"


def test_slots_of_a_freeze_come_when_it_ends_as_far_as_they_are_caught_up(project):
    raw = {
        "project": {"name": "loans"},
        "freeze": {"windows": ["2027-01-04 08:00 - 2027-01-06 08:30"]},
        "trigger": {"hourly": {"on": ["cron:0 * * * *"], "catch_up": "3h", "overlap": "queue"}},
    }
    apply(Project(path=project.path, config=config.parse(raw), ws=project.ws))
    frozen = project.applied()
    at = ids.parse_time("2027-01-04T07:30:00Z")
    tick.tick(frozen, now=at)
    tick.tick(frozen, now=at + 10 * HOUR)
    assert operations.actions(frozen.ws, kind="fire") == []
    from trimtab.loop import firings, triggers

    now = at + 49 * HOUR + HOUR // 60
    (trigger,) = [x for x in triggers.every(frozen) if x.name == "hourly"]
    firings._decide_all(frozen, trigger, now)
    slots = sorted(x.key.split(":", 2)[2] for x in operations.actions(frozen.ws, kind="fire"))
    assert len(slots) == 3


def test_one_moves_a_rollout_at_a_time(project):
    import threading

    inside = threading.Event()
    with hand.moving(project.ws):

        def other():
            with hand.moving(project.ws):
                inside.set()

        thread = threading.Thread(target=other)
        thread.start()
        assert not inside.wait(0.05)
    thread.join(10)
    assert inside.is_set()


def test_a_deployment_says_what_of_its_terms_is_wrong(project):
    with pytest.raises(UsageError, match="not with --direct"):
        release.deploy(project, ab="50%", direct=True)
    with pytest.raises(UsageError, match="--for goes with it"):
        release.deploy(project, lasts="2w")
    with pytest.raises(UsageError, match="--reason"):
        release.deploy(project, who=Hand("maria", "", force=True))
