from __future__ import annotations

import pytest

from trimtab.loop.project import open_project
from trimtab.loop.views import overview
from trimtab.monitor.outcomes import knowledge
from trimtab.monitor.outcomes.knowledge import Knowledge
from trimtab.store import alerts, operations
from trimtab.store.records import Alert, Endpoint, Incident, Verdict, Version, Window

FILE = """[project]
name = "houses"
[data.houses]
source = "houses.csv"
target = "price"
[alerts]
to = ["log", "webhook"]
[alerts.webhook]
url = "http://127.0.0.1:9/"
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "trimtab.toml").write_text(FILE, "utf-8")
    found = open_project(tmp_path)
    operations.save_window(
        found.ws,
        Window(endpoint="houses", model="m", role="champion", start=0, end=1, rows=9, profile="",
               judged_at=5),
    )  # fmt: skip
    return found


@pytest.mark.parametrize(
    ("state", "title", "said"),
    [
        ("cannot know", "cannot know", "cannot be known"),
        ("known", "calm", "Nothing is off course"),
        ("awaited", "calm", "Nothing is off course"),
    ],
)
def test_calm_inputs_without_labels_are_not_called_well(project, state, title, said):
    endpoint = Endpoint(name="houses", target="local", state="ready", port=1)
    champion = Version(kind="model", name="houses", number=1, digest="m")
    knowledge.keep(project.ws, "houses", Knowledge(state=state, sentence="a sentence"))
    assert overview._monitor(project, [endpoint], []).title == title
    sentence = overview._sentence(project, champion, [endpoint], [], [], [])
    assert said in sentence
    assert ("Nothing is off course" in sentence) == (state != "cannot know")
    incident = Incident(id="i", kind="data drift", key="k", endpoint="houses", title="x moved")
    sentence = overview._sentence(project, champion, [endpoint], [], [incident], [])
    assert "Nothing is off course" not in sentence
    assert ("cannot be known" in sentence) == (state == "cannot know")


def verdict(status, windows, model="m", requirement="r"):
    details = {"model": model, "windows": windows} if windows > 1 else {"model": model}
    return Verdict(
        id=f"{status}{windows}{model}", requirement=requirement, text="t", metric="roc_auc",
        subject="endpoint:houses", place="monitor", status=status, reason="", details=details,
    )  # fmt: skip


def test_a_failing_pool_of_windows_stands_until_it_is_looked_at_again():
    fail, later = verdict("fail", 8), verdict("undecided", 1)
    assert overview.standing([later, fail])[0] is fail
    again = verdict("pass", 8)
    assert overview.standing([again, later, fail])[0] is again
    assert overview.standing([verdict("pass", 1, "new"), fail])[0].details["model"] == "new"
    assert overview.standing([]) == []


@pytest.mark.parametrize(
    ("state", "incident", "said", "channel"),
    [
        (
            "waiting",
            "open",
            "not delivered by webhook: the far side said 500, tried again by the next pass.",
            "webhook",
        ),
        (
            "waiting",
            "resolved",
            "not delivered by webhook: the far side said 500, tried again by the next pass.",
            "webhook",
        ),
        ("failed", "open", "the far side said 500, given up.", "webhook"),
        ("failed", "resolved", "", "webhook"),
        ("sent", "open", "", "webhook"),
        ("waiting", "open", "", "email"),  # which [alerts] to does not name
    ],
)
def test_silence_is_not_calm_where_an_alert_did_not_get_through(
    project, state, incident, said, channel
):
    operations.open_incident(
        project.ws,
        Incident(id="i", kind="skew", key="k", endpoint="houses", title="x", state=incident),
    )
    alert = Alert(
        id="a", incident="i", event="opened", channel=channel, body={}, state=state,
        attempts=2, error="" if state == "sent" else "the far side said 500",
    )  # fmt: skip
    alerts.put(project.ws, alert)
    sentence = overview.overview(project).sentence
    assert said in sentence
    assert ("delivered" in sentence) == bool(said)
