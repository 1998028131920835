"""A monitor inside another server that is watched no more, and comes back when it logs again."""

from __future__ import annotations

import numpy as np
import pytest

import trimtab
from trimtab import ids
from trimtab.errors import ConflictError, UsageError
from trimtab.loop import pause
from trimtab.loop.project import apply, open_project
from trimtab.loop.retiring import retire, retire_plan, retirement
from trimtab.loop.retiring.ending import Wish
from trimtab.loop.tick import tick
from trimtab.loop.views.overview import overview
from trimtab.server import operations as asked
from trimtab.server.requests import Watched
from trimtab.store import ledger, operations, refs, versions
from trimtab.store.records import Incident

DAY = 86_400_000_000

pytestmark = pytest.mark.slow


@pytest.fixture
def project(made, tmp_path):
    """A project whose champion another server answers with, as `shop`."""
    from trimtab.model import registry

    text = made.PROJECT.format(bound=made.BOUNDS["binary"])
    (tmp_path / "trimtab.toml").write_text(text.replace('event_time = "client"\n', ""))
    found = open_project(tmp_path)
    package = made.write_model(tmp_path / "package", made.SIGNED["binary"])
    first = versions.add(found.ws, "model", "goods", registry.put(found.ws, package))
    versions.set_alias(found.ws, "model", "goods", "champion", first.digest)
    apply(found)
    yield found
    found.ws.close()


@pytest.fixture
def log(made, project, monkeypatch):
    """Leave rows of so many days ago; a `shift` is a drift."""

    def leave(days_ago, shift=0.0, rows=400, **more):
        drawn = made.draw("binary", np.random.default_rng(rows), rows, shift)
        at = ids.now_ns() - days_ago * DAY * 1000
        with monkeypatch.context() as patched:
            patched.setattr("trimtab.ids.now_ns", lambda: at)
            with trimtab.Monitor(
                "goods@v1", name="shop", project=project.folder, **more
            ) as monitor:
                monitor.log(drawn.columns, drawn.score)

    return leave


def known(project):
    (found,) = asked.MONITOR_SHOW.call(project, Watched(name="shop")).watched
    return found.known


def stage(project):
    return next(one for one in overview(project).nodes if one.name == "monitor")


def test_what_ended_for_good_is_spoken_of_no_more_and_stays_readable(project, log):
    log(3)
    log(2, shift=1.0)
    seen = tick(project)
    assert seen.blind
    assert "cannot know" in known(project)
    (drift,) = operations.incidents(project.ws, state="open")
    before = operations.windows(project.ws, endpoint="shop")
    plan = retire_plan.plan(project, Wish(endpoint="shop"), ids.now())
    assert (plan.refusal, plan.done, plan.models) == ("", False, ["goods@v1"])
    assert 2 * DAY <= ids.now() - plan.newest_row < 2 * DAY + 3_600_000_000
    assert retirement.of(project.ws, "shop") is None
    done = retire.begin(project, Wish(endpoint="shop", reason="moved", by="maria"))
    assert (done.done, done.retirement.phase, done.endpoint.state) == (True, "retired", "retired")
    (closed,) = operations.incidents(project.ws)
    assert (closed.id, closed.resolution) == (drift.id, "watching ended: moved")
    seen = tick(project)
    assert (seen.blind, seen.observed, seen.acted) == (False, [], [])
    assert known(project).startswith("was retired on ")
    assert known(project).endswith(" (moved)")
    assert operations.windows(project.ws, endpoint="shop") == before
    shown = overview(project)
    assert "cannot know" not in str(shown)
    assert "answers of shop" not in shown.outlook.text
    assert stage(project).title == "nothing is watched any more"
    assert versions.aliases(project.ws, "model", "goods").get("champion")
    ledger.verify(project.ws)


def test_a_watch_that_ended_is_not_ended_again_and_callers_are_none_of_its(project, log):
    log(2)
    with pytest.raises(UsageError, match="could be told beforehand"):
        retire.begin(project, Wish(endpoint="shop", within="2w"))
    with pytest.raises(UsageError, match="could be told beforehand"):
        retire_plan.plan(project, Wish(endpoint="shop", successor="other"), ids.now())
    retire.begin(project, Wish(endpoint="shop"))
    with pytest.raises(ConflictError, match="shop was retired on") as refused:
        retire.begin(project, Wish(endpoint="shop"))
    assert "the next row that it logs" in refused.value.hint


def test_a_watch_that_ended_took_no_champion_away(project, log):
    """A model that nothing here ever promoted, watched inside another server alone."""
    (only,) = versions.find(project.ws, "model", "goods")
    versions.set_alias(project.ws, "model", "goods", "champion", refs.ABSENT, expect=only.digest)
    log(2)
    before = overview(project).sentence
    assert "has no model that passed its requirements yet." in before
    retire.begin(project, Wish(endpoint="shop"))
    assert overview(project).sentence.startswith(before)


def test_who_logs_again_is_watched_again_and_its_drift_is_back(project, log):
    log(3)
    log(2, shift=1.0)
    tick(project)
    (drift,) = operations.incidents(project.ws, state="open")
    retire.begin(project, Wish(endpoint="shop"))
    log(1, shift=1.0)  # left late: logged before the end
    seen = tick(project)
    assert (seen.acted, retirement.of(project.ws, "shop").phase) == ([], "retired")
    assert sum(one.rows for one in operations.windows(project.ws)) == 1_200
    log(0, shift=1.0, rows=100)
    seen = tick(project)
    assert seen.acted[0].result["said"] == "shop logs again and is watched again"
    assert retirement.of(project.ws, "shop").phase == "revived"
    assert operations.endpoint(project.ws, "shop").state == "embedded"
    (back,) = operations.incidents(project.ws, state="open")
    assert (back.id, back.reopened) == (drift.id, 1)
    assert seen.blind
    assert "cannot know" in known(project)
    assert stage(project).title != "nothing is watched any more"
    ledger.verify(project.ws)


def test_a_drift_that_a_person_resolved_stays_resolved_when_a_monitor_is_back(project, log):
    from trimtab.loop.alerts import incidents

    log(3)
    log(2, shift=1.0)
    tick(project)
    (drift,) = operations.incidents(project.ws, state="open")
    incidents.resolve(project, drift.id, "known")
    retire.begin(project, Wish(endpoint="shop"))
    log(0, shift=1.0)
    tick(project)
    assert retirement.of(project.ws, "shop").phase == "revived"
    assert operations.incidents(project.ws, state="open") == []


def test_a_monitor_that_is_only_made_again_changes_nothing_until_it_logs(project, log):
    log(2)
    retire.begin(project, Wish(endpoint="shop"))
    trimtab.Monitor("goods@v1", name="shop", project=project.folder).close()
    tick(project)
    assert operations.endpoint(project.ws, "shop").state == "retired"
    package = project.folder / "package"
    (package / "note").write_text("another version")
    from trimtab.model import registry

    versions.add(project.ws, "model", "goods", registry.put(project.ws, package))
    trimtab.Monitor("goods@v2", name="shop", project=project.folder).close()
    tick(project)
    row = operations.endpoint(project.ws, "shop")
    assert (row.state, retire_plan.models_of(row)) == ("retired", ["goods@v2"])


def test_it_is_taken_back_by_hand_and_comes_back_while_the_controller_rests(project, log):
    log(2)
    retire.begin(project, Wish(endpoint="shop"))
    assert retire.cancel(project, "shop").phase == "cancelled"
    assert operations.endpoint(project.ws, "shop").state == "embedded"
    assert tick(project).blind
    with pytest.raises(ConflictError, match="nothing to take back"):
        retire.cancel(project, "shop")
    retire.begin(project, Wish(endpoint="shop"))
    pause.pause(project.ws, "holidays")
    log(0)
    tick(project)
    assert retirement.of(project.ws, "shop").phase == "revived"


def test_what_a_pass_at_work_opened_meanwhile_is_closed_by_the_next(project, log):
    log(2)
    retire.begin(project, Wish(endpoint="shop"))
    late = Incident(id=ids.new_id(), kind="traffic change", key="shop:traffic change",
                    endpoint="shop", title="x", opened_at=ids.now())  # fmt: skip
    operations.open_incident(project.ws, late)
    tick(project)
    (found,) = operations.incidents(project.ws)
    assert (found.state, found.resolution) == ("resolved", "watching ended")
