"""How loud an incident is, and what happens to one over its life."""

from __future__ import annotations

import msgspec
import pytest

from trimtab import config as project_file
from trimtab import ids
from trimtab.errors import ConflictError, NotFoundError
from trimtab.loop.alerts import incidents, severity
from trimtab.loop.alerts.severity import Importance, weigh
from trimtab.loop.project import Project
from trimtab.monitor.observe import Alarm, Seen
from trimtab.store import alerts, estimates, ledger, operations
from trimtab.store.records import Version, WindowEstimate
from trimtab.store.workspace import open_workspace

DAY = 86_400_000_000
V1 = Version(kind="model", name="goods", number=1, digest="blake3:" + "1" * 64)
COUNTS = Importance(share={"income": 0.1, "years": 0.01, "noise": 0.0}, how="x")


@pytest.fixture
def project(tmp_path):
    path = tmp_path / "trimtab.toml"
    path.write_text('[project]\nname = "goods"\n[alerts]\ncooldown = "2d"\ntell_resolved = true\n')
    found = Project(path=path, config=project_file.load(path), ws=open_workspace(tmp_path, "goods"))
    yield found
    found.ws.close()


def part(name, lo=0.5, hi=0.6, unit="sd"):
    return {"feature": name, "lo": lo, "hi": hi, "unit": unit}


def alarm(kind, *parts, since=3, level="page"):
    detail = {"features": list(parts)} if parts else {}
    return Alarm(kind=kind, title=f"{kind} it is", severity=level, since=since * DAY, detail=detail)


def see(project, *found, now=5):
    incidents.compare(
        project, "goods", V1, Seen(now=now * DAY, alarms=list(found), judged=now * DAY)
    )


def only(project, state=None):
    (found,) = operations.incidents(project.ws, state=state)
    return found


def guess(at, value, **more):
    values = {"endpoint": "goods", "model": V1.digest, "metric": "roc_auc", "level": 0.95,
              "n": 500, "method": "cbpe", "note": "", **more}  # fmt: skip
    return WindowEstimate(
        start=at * DAY, end=(at + 1) * DAY, value=value, lo=value - 0.02, hi=value + 0.02, **values
    )


@pytest.mark.parametrize(("kind", "name", "loss", "loud"), [
    ("broken input", "income", None, "page"),
    ("broken input", "noise", None, "digest"),
    ("broken join", "years", 0.0, "page"),
    ("broken input", "noise:length", None, "digest"),
    ("skew", "income", None, "page"),
    ("data drift", "income", None, "digest"),
    ("data drift", "income", 0.0, "digest"),
    ("data drift", "income", 0.4, "page"),
    ("data drift", "noise", None, "notice"),
    ("data drift", "__score__", 0.4, "page"),
    ("concept drift", "income", None, "page"),
    ("requirement", "income", None, "page"),
    ("traffic change", "__volume__", None, "page"),
    ("data drift", "made_of_text", None, "digest"),
])  # fmt: skip
def test_a_page_is_for_lost_quality_and_broken_inputs_that_count(kind, name, loss, loud):
    assert weigh(alarm(kind, part(name)), COUNTS, loss).severity == loud


def test_the_score_is_the_product_of_its_factors():
    found = weigh(alarm("data drift", part("years", 0.25, 0.4)), COUNTS, 0.5)
    assert (found.alarm, found.importance, found.loss) == (0.5, 0.1, 0.5)
    assert found.score == pytest.approx(0.025)
    assert "importance 0.10 (years)" in found.why


def test_what_matters_most_decides():
    found = weigh(alarm("data drift", part("noise", 3, 4), part("income", 0.1, 0.2)), COUNTS, 0.1)
    assert found.importance == 1.0


def test_without_a_measured_importance_all_weigh_alike_and_it_says_so():
    found = weigh(alarm("broken input", part("noise")), Importance(), None)
    assert (found.severity, found.importance) == ("page", 1.0)
    assert "weighs alike" in found.why


def test_a_loss_that_is_told_of_pages_nobody_twice():
    assert weigh(alarm("data drift", part("income")), COUNTS, 1.0, told=True).severity == "digest"


class TestLoss:
    def loss(self, project, *found):
        return severity.loss_of(project.ws, "goods", V1.digest, found)

    def test_a_failed_requirement_is_a_loss(self, project):
        assert self.loss(project, alarm("requirement")) == 1.0

    def test_nobody_knows_without_labels_or_estimates(self, project):
        assert self.loss(project, alarm("data drift")) is None

    def test_a_fall_beyond_the_interval_counts_and_a_wobble_does_not(self, project):
        estimates.save(project.ws, [guess(1, 0.8), guess(2, 0.79)])
        assert self.loss(project) == 0.0
        estimates.save(project.ws, [guess(3, 0.7)])
        assert self.loss(project) == pytest.approx(0.8)

    def test_what_is_required_decides_where_it_is_estimated(self, project):
        """Fewer positives make a smaller F1 of the same model."""
        for metric, last in (("roc_auc", 0.8), ("f1", 0.5)):
            found = [guess(1, 0.8, metric=metric), guess(2, last, metric=metric)]
            estimates.save(project.ws, found)
        look = (project.ws, "goods", V1.digest, [])
        assert severity.loss_of(*look, {"roc_auc", "latency_ms"}) == 0.0
        assert severity.loss_of(*look, {"latency_ms"}) == 1.0

    def test_an_estimate_that_is_not_trusted_says_nothing(self, project):
        estimates.save(project.ws, [guess(1, 0.8), guess(2, 0.5, untrusted="too few alike")])
        assert self.loss(project) is None

    def test_what_held_before_the_inputs_moved_says_nothing_of_now(self, project):
        estimates.save(project.ws, [guess(1, 0.8), guess(2, 0.8), guess(3, 0.8, untrusted="drift")])
        assert self.loss(project, alarm("data drift", since=3)) is None
        assert self.loss(project, alarm("data drift", since=2)) == 0.0

    def test_of_an_error_more_is_a_loss(self, project):
        estimates.save(project.ws, [guess(1, 2.0, metric="mae"), guess(2, 3.0, metric="mae")])
        assert self.loss(project) == 1.0
        estimates.save(project.ws, [guess(3, 1.0, metric="mae")])
        assert self.loss(project) == 0.0


def test_an_incident_grows_to_a_page_once_and_is_told_again(project):
    see(project, alarm("data drift", part("income")), now=5)
    assert only(project).severity == "digest"
    estimates.save(project.ws, [guess(1, 0.8), guess(6, 0.6)])
    for now in range(6, 12):
        see(project, alarm("data drift", part("income")), now=now)
    found = only(project)
    assert found.severity == "page"
    told = [one.event for one in alerts.of_incident(project.ws, found.id)]
    assert told == ["opened", "escalated"]
    ledger.verify(project.ws)


def test_it_does_not_shrink_back(project):
    see(project, alarm("broken input", part("income")), now=5)
    see(project, alarm("broken input", part("income"), level="notice"), now=6)
    assert only(project).severity == "page"


def test_answers_that_moved_with_a_broken_input_are_its_symptom(project):
    see(project, alarm("broken input", part("income")), alarm("data drift", part("__score__")))
    assert only(project).kind == "broken input"


def test_inputs_that_moved_beside_a_broken_one_are_a_cause_of_their_own(project):
    see(project, alarm("broken input", part("income")),
        alarm("data drift", part("__score__"), part("years")))  # fmt: skip
    assert len(operations.incidents(project.ws)) == 2


def test_acknowledged_it_stays_open_and_counts_on(project):
    see(project, alarm("skew", part("income")))
    taken = incidents.acknowledge(project, only(project).id[:12], "maria")
    assert (taken.state, taken.acknowledged_by) == ("open", "maria")
    assert incidents.acknowledge(project, taken.id, "john").acknowledged_by == "maria"
    see(project, alarm("skew", part("income")), now=7)
    assert alerts.sightings(project.ws)[taken.id].occurrences == 2
    assert only(project).acknowledged_by == "maria"
    done = incidents.resolve(project, taken.id, "mended")
    assert (done.state, done.resolution) == ("resolved", "mended")
    for act in (incidents.acknowledge, incidents.resolve):
        with pytest.raises(ConflictError, match="resolved already"):
            act(project, taken.id)
        with pytest.raises(NotFoundError):
            act(project, "")
    assert [one.event for one in alerts.of_incident(project.ws, taken.id)] == ["opened", "resolved"]
    ledger.verify(project.ws)


def close(project, at):
    done = msgspec.structs.replace(only(project, "open"), state="resolved", resolved_at=at * DAY)
    operations.update_incident(project.ws, done)


def test_within_its_cooldown_it_is_the_same_incident_opened_again_and_not_told(project):
    see(project, alarm("skew", part("income")), now=5)
    first = only(project)
    incidents.acknowledge(project, first.id, "maria")
    close(project, at=6)
    see(project, alarm("skew", part("income"), since=6), now=7)
    again = only(project)
    assert (again.id, again.state, again.reopened) == (first.id, "open", 1)
    assert again.acknowledged_at == 0, "whoever had it in hand had closed it"
    assert [one.event for one in alerts.of_incident(project.ws, first.id)] == ["opened"]
    close(project, at=7)
    see(project, alarm("skew", part("income"), since=6), now=8)
    assert only(project).state == "resolved", "the same change was dealt with"
    ledger.verify(project.ws)


def test_after_its_cooldown_it_is_a_new_one(project):
    see(project, alarm("skew", part("income")), now=5)
    close(project, at=6)
    see(project, alarm("skew", part("income"), since=8), now=9)
    assert len(operations.incidents(project.ws)) == 2


def test_one_that_flaps_is_told_again_only_after_the_cooldown(project):
    see(project, alarm("skew", part("income")), now=5)
    first = only(project)
    (told,) = alerts.of_incident(project.ws, first.id)
    alerts.update(project.ws, msgspec.structs.replace(told, created_at=ids.now() - 3 * DAY))
    close(project, at=6)
    see(project, alarm("skew", part("income"), since=6), now=7)
    events = [one.event for one in alerts.of_incident(project.ws, first.id)]
    assert sorted(events) == ["opened", "reopened"]
