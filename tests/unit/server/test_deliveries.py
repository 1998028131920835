"""Who was told of an incident and who was not stands on the page, in the API and in the terminal."""

import msgspec
import pytest

from trimtab import ids
from trimtab.cli import incidents as verbs
from trimtab.cli import monitor as verb
from trimtab.loop.alerts import incidents
from trimtab.loop.project import apply, open_project
from trimtab.monitor.observe import Alarm, Seen
from trimtab.server import deliveries, operations
from trimtab.server.requests import Identified, StateFilter, Watched
from trimtab.store import alerts, versions
from trimtab.store import operations as operations_of_store
from trimtab.store.records import Incident

ALERTS = '\n[alerts]\nto = ["log", "webhook"]\n[alerts.webhook]\nurl = "http://127.0.0.1:9/hook"\n'
SECOND = 1_000_000


@pytest.fixture
def told(project):
    """The project with a webhook, and an incident of which an alert waits for it."""
    with project.ws.transaction() as tx:
        tx.exec_driver_sql("DELETE FROM incidents")
    path = project.path
    path.write_text(path.read_text(encoding="utf-8") + ALERTS, encoding="utf-8")
    again = open_project(path.parent)
    apply(again)
    yield again
    again.ws.close()


def opened(project):
    model = versions.find(project.ws, "model")[0]
    alarm = Alarm(kind="skew", title="new levels", severity="page", since=ids.now())
    incidents.compare(project, "loans", model, Seen(now=ids.now(), alarms=[alarm]))
    return operations.INCIDENTS_LS.call(project, StateFilter(state="open")).incidents[0]


def went(project, by="webhook", **how):
    """What became of the alert that goes by a channel."""
    (one,) = [x for each in alerts.of_open(project.ws).values() for x in each if x.channel == by]
    alerts.update(project.ws, msgspec.structs.replace(one, **how))


def sentences(project, incident):
    book = operations.INCIDENTS_LS.call(project, StateFilter())
    return {one.channel: one for one in book.deliveries[incident.id]}


FAILED = {"attempts": 3, "error": "the far side said 500 Internal Server Error"}


def test_a_webhook_that_answers_500_is_seen_wherever_the_monitor_is_looked_at(
    told, client_of, capsys
):
    one = opened(told)
    later = 1_900_000_000 * SECOND
    went(told, **FAILED, next_at=later)
    went(told, "log", state="sent", attempts=1, sent_at=later)
    said = sentences(told, one)
    assert said["webhook"].failing and not said["log"].failing
    assert said["webhook"].text == (
        "webhook (opened) did not take it, 3 tries: the far side said 500 Internal Server Error; "
        "tried again from 2030-03-17 17:46:40 UTC on."
    )
    assert said["log"].text == "Told log (opened) at 2030-03-17 17:46:40 UTC."
    page = client_of(told).get("/monitor").text
    whole = (
        "An alert was not delivered by webhook: the far side said 500 Internal Server Error, "
        "tried again from 2030-03-17T17:46:40Z on."
    )
    for text in (whole, said["webhook"].text, said["log"].text):
        assert text in page
    seen = operations.MONITOR_SHOW.call(told, Watched())
    assert seen.undelivered == [whole]
    verb._render_seen(seen)
    verbs._render_list(operations.INCIDENTS_LS.call(told, StateFilter()))
    assert capsys.readouterr().err.count(whole) == 2


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({}, "webhook (opened) is told by the next pass."),
        ({"state": "sent", "attempts": 1, "sent_at": SECOND},
         "Told webhook (opened) at 1970-01-01 00:00:01 UTC."),
        ({"state": "sent", "attempts": 4, "sent_at": SECOND},
         "Told webhook (opened) at 1970-01-01 00:00:01 UTC, after 4 tries."),
        ({**FAILED, "attempts": 1, "state": "failed"},
         f"webhook (opened) did not take it, 1 try: {FAILED['error']}; given up."),
        ({**FAILED, "next_at": SECOND},
         f"webhook (opened) did not take it, 3 tries: {FAILED['error']}; tried again by the next pass."),
        ({"next_at": 1_900_000_000 * SECOND},
         "webhook (opened) is told from 2030-03-17 17:46:40 UTC on, with others in one message."),
        ({"channel": "pager", **FAILED},
         f"pager (opened) did not take it, 3 tries: {FAILED['error']}; [alerts] to names it no more."),
    ],
    ids=["next", "sent", "at last", "given up", "at once", "digest", "not named"],
)  # fmt: skip
def test_each_state_of_an_alert_is_a_sentence(told, how, said):
    one = opened(told)
    went(told, **how)
    assert sentences(told, one)[how.get("channel", "webhook")].text == said


@pytest.mark.parametrize(
    ("severity", "why"),
    [
        ("notice", "no channel of [alerts] to hears of a notice"),
        ("page", "when it opened no channel of [alerts] to heard of it"),  # a pager came later
    ],
)
def test_that_nobody_is_told_is_said_and_why(told, client_of, severity, why):
    quiet = Incident(id="i", kind="skew", key="k", endpoint="loans", title="x", severity=severity)
    operations_of_store.open_incident(told.ws, quiet)
    assert f"Nobody was told: {why}." in client_of(told).get("/monitor").text


def test_an_alert_that_is_given_up_has_no_next_time(told, capsys):
    one = opened(told)
    went(told, **FAILED, state="failed", next_at=1_900_000_000 * SECOND)
    shown = operations.INCIDENTS_SHOW.call(told, Identified(id=one.id))
    assert sorted(deliveries.when(alert) == "given up" for alert in shown.alerts) == [False, True]
    verbs._render_shown(shown)
    assert "2030-03-17" not in capsys.readouterr().out
