import pytest

from trimtab import config, ids
from trimtab.errors import ConflictError, NotFoundError
from trimtab.loop import firings, jobs, triggers
from trimtab.loop.notes import Notes
from trimtab.loop.project import Project
from trimtab.store import operations, runs, versions
from trimtab.store.workspace import open_workspace

DAY, HOUR = 86_400_000_000, 3_600_000_000
BEGIN = ids.parse_time("2026-01-01T12:00:00Z")


@pytest.fixture
def begun(monkeypatch):
    """Jobs that are begun and never end by themselves, oldest first."""
    found = []

    def launch(project, action):
        operations.update_action(project.ws, action.id, "running", attempts=1)
        found.append(action)
        return action

    monkeypatch.setattr(jobs, "launch", launch)
    monkeypatch.setattr(jobs, "at_work", lambda project, action: True)
    monkeypatch.setattr(jobs, "stop", lambda project, action: None)
    return found


@pytest.fixture
def ws(tmp_path):
    found = open_workspace(tmp_path, "loans")
    yield found
    found.close()


@pytest.fixture
def project(tmp_path, ws):
    def make(**settings):
        raw = {"project": {"name": "loans"}, "serve": {"price_per_hour": 1.0},
               "trigger": {"nightly": {"on": ["cron:0 3 * * *"], **settings}}}  # fmt: skip
        return Project(path=tmp_path / "trimtab.toml", config=config.parse(raw), ws=ws)

    return make


def look(project, now, *, end=None):
    """One look of the controller; `end` jobs as done or failed first."""
    if end:
        for one in operations.actions(project.ws, state="running"):
            operations.update_action(project.ws, one.id, end)
    notes = Notes()
    firings.fire(project, notes, now)
    return notes


def rows(project):
    found = sorted(operations.actions(project.ws, kind="fire"), key=lambda one: one.id)
    return [(one.key.removeprefix("fire:nightly:"), one.state) for one in found]


def test_a_schedule_fires_from_when_it_is_seen_and_each_slot_once(project, begun):
    nightly = project()
    look(nightly, BEGIN)
    assert rows(nightly) == []
    for hour in (14, 15, 16, 15, 17):  # three o'clock comes after 15 hours; the clock jumps back
        look(nightly, BEGIN + hour * HOUR)
    assert rows(nightly) == [("cron:2026-01-02T03:00:00Z", "running")]
    assert [one.cause["slot"] for one in begun] == ["2026-01-02T03:00:00Z"]
    assert begun[0].cause["trigger"] == "nightly"


def test_overlap_skip_says_why(project, begun):
    nightly = project(catch_up="1w")
    look(nightly, BEGIN)
    look(nightly, BEGIN + 3 * DAY)
    assert [state for _, state in rows(nightly)] == ["running", "skipped", "skipped"]
    skipped = operations.actions(nightly.ws, state="skipped")[0]
    assert "still at work (overlap = skip)" in skipped.result["said"]


def test_overlap_queue_works_them_off_in_order(project, begun):
    nightly = project(catch_up="1w", overlap="queue")
    look(nightly, BEGIN)
    notes = look(nightly, BEGIN + 3 * DAY)
    assert [state for _, state in rows(nightly)] == ["running", "planned", "planned"]
    notes = look(nightly, BEGIN + 3 * DAY)
    assert notes.waiting == ["nightly: 2 wait for the one at work"]
    look(nightly, BEGIN + 3 * DAY, end="done")
    look(nightly, BEGIN + 3 * DAY, end="done")
    assert [one.cause["slot"][:10] for one in begun] == ["2026-01-02", "2026-01-03", "2026-01-04"]


def test_overlap_replace_keeps_the_newest(project, begun):
    nightly = project(catch_up="1w", overlap="replace")
    look(nightly, BEGIN)
    look(nightly, BEGIN + DAY)
    look(nightly, BEGIN + 3 * DAY)
    assert [state for _, state in rows(nightly)] == ["failed", "skipped", "running"]
    assert (
        operations.actions(nightly.ws, state="failed")[0].result["reason"].startswith("replaced by")
    )


def test_what_was_missed_longer_ago_than_catch_up_is_not_made_up_for(project, begun):
    nightly = project(overlap="queue", catch_up="2d")
    look(nightly, BEGIN)
    look(nightly, BEGIN + 30 * DAY)
    assert len(rows(nightly)) == 2


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cooldown": "1w"}, "cooldown = 1w"),
        ({"at_most": "1/week"}, "at_most = 1/week"),
    ],
)
def test_brakes_skip_and_say_so(project, begun, settings, words):
    nightly = project(**settings)
    look(nightly, BEGIN)
    look(nightly, BEGIN + DAY)
    look(nightly, BEGIN + 2 * DAY, end="done")
    assert [state for _, state in rows(nightly)] == ["done", "skipped"]
    assert words in operations.actions(nightly.ws, state="skipped")[0].result["said"]
    look(nightly, BEGIN + 9 * DAY)
    assert rows(nightly)[-1][1] == "running"


def test_a_day_may_cost_so_much(project, begun):
    nightly = project(catch_up="1w", cost_per_day=0.5)
    look(nightly, BEGIN)
    look(nightly, BEGIN + 16 * HOUR)
    run = runs.start(nightly.ws, "flow", "train")
    runs.update(nightly.ws, run.id, started_at=run.started_at - HOUR)
    runs.finish(nightly.ws, run.id, "done")
    operations.update_action(nightly.ws, begun[0].id, "done", run=run.id)
    look(nightly, BEGIN + 39 * HOUR)
    assert rows(nightly)[-1][1] == "skipped"
    assert (
        "were spent in the last day (cost_per_day = 0.5)"
        in (operations.actions(nightly.ws, state="skipped")[0].result["said"])
    )


def test_new_data_fires_and_what_the_loop_published_does_not(project, begun):
    digest = "blake3:" + "a" * 64
    nightly = project(on=["data"], overlap="queue")
    look(nightly, BEGIN)
    now = ids.now()
    versions.add(nightly.ws, "data", "loans", digest)
    meta = {"source": {"provenance": {"method": triggers.LOGGED}}}
    versions.add(nightly.ws, "data", "loans", "blake3:" + "b" * 64, meta=meta)
    look(nightly, now)
    look(nightly, now + HOUR)
    assert rows(nightly) == [("data:loans@v1", "running")]


def test_triggers_that_start_each_other_come_to_an_end(tmp_path, ws, begun):
    raw = {"project": {"name": "loans"},
           "trigger": {"a": {"on": ["after:b"], "overlap": "queue"},
                       "b": {"on": ["after:a"], "overlap": "queue"}}}  # fmt: skip
    both = Project(path=tmp_path / "trimtab.toml", config=config.parse(raw), ws=ws)
    now = ids.now()
    look(both, now)
    firings.by_hand(both, "a")
    for step in range(20):
        now = max(now, ids.now())
        look(both, now + step, end="done")
    depths = sorted(one.cause["depth"] for one in operations.actions(ws, kind="fire"))
    assert depths == [1, 2, 3, 4]
    (last,) = operations.actions(ws, state="skipped")
    assert "max_depth is 3" in last.result["said"]


def test_by_hand_and_by_webhook_with_a_key(project, begun):
    nightly = project(overlap="queue")
    first = firings.by_hand(nightly, "nightly", "webhook:7", {"kind": "webhook"})
    again = firings.by_hand(nightly, "nightly", "webhook:7", {"kind": "webhook"})
    assert first.id == again.id
    firings.by_hand(nightly, "nightly")
    assert len(rows(nightly)) == 2
    with pytest.raises(NotFoundError, match="no trigger 'nigthly'"):
        firings.by_hand(nightly, "nigthly")


def test_a_brake_holds_a_person_too(project, begun):
    nightly = project(at_most="1/day", overlap="queue")
    firings.by_hand(nightly, "nightly")
    with pytest.raises(ConflictError, match="at_most = 1/day"):
        firings.by_hand(nightly, "nightly")


def test_a_range_is_filled_once(project, begun):
    nightly = project()
    start, end = ids.parse_time("2025-12-01"), ids.parse_time("2025-12-11")
    assert len(firings.backfill(nightly, "nightly", start, end)) == 10
    assert firings.backfill(nightly, "nightly", start, end) == []
    look(nightly, BEGIN)
    assert begun[0].cause["slot"] == "2025-12-01T03:00:00Z"
    assert begun[0].cause["kind"] == "backfill"
    with pytest.raises(ConflictError, match="has no schedule"):
        firings.backfill(nightly, "retrain", start, end)


def test_a_job_that_died_is_begun_again_three_times_and_then_a_person_is_asked(
    project, begun, monkeypatch
):
    nightly = project()
    firings.by_hand(nightly, "nightly")
    look(nightly, BEGIN)
    monkeypatch.setattr(jobs, "at_work", lambda project, action: False)

    def again(project, action):
        attempts = action.result["attempts"] + 1
        operations.update_action(project.ws, action.id, "running", attempts=attempts, log="x")
        begun.append(action)
        return action

    monkeypatch.setattr(jobs, "launch", again)
    for _ in range(6):
        firings.advance(nightly, Notes())
    assert len(begun) == jobs.MAX_ATTEMPTS
    (incident,) = operations.incidents(nightly.ws)
    assert incident.title == "trigger nightly was refused: the job died 3 times"
