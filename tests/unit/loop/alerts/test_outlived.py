"""Errors end with the version that made them; what was refused ends where the next version accepts it."""

from __future__ import annotations

import msgspec
import pytest

from trimtab import config as project_file
from trimtab import ids
from trimtab.loop import tick
from trimtab.loop.alerts import incidents, outlived
from trimtab.loop.project import Project, apply
from trimtab.loop.releases import release
from trimtab.model import registry, signature
from trimtab.model.signature import Column, Signature
from trimtab.monitor.observe import Alarm, Seen
from trimtab.monitor.requests import refusals
from trimtab.serve.logged.frame import Frame
from trimtab.store import alerts, ledger, operations, versions
from trimtab.store.records import Endpoint
from trimtab.store.workspace import open_workspace

DAY = 86_400_000_000
BEGIN = 20_000 * DAY
STRICT = Column(name="x", kind="number")


@pytest.fixture
def project(tmp_path) -> Project:
    path = tmp_path / "trimtab.toml"
    path.write_text('[project]\nname = "goods"\n[alerts]\ncooldown = "2d"\ntell_resolved = true\n')
    return Project(path=path, config=project_file.load(path), ws=open_workspace(tmp_path, "goods"))


def version(project, number, *inputs):
    folder = project.path.parent / f"package{number}"
    folder.mkdir()
    signed = Signature(task="regression", engine="onnx", inputs=inputs, target=f"y{number}")
    (folder / signature.FILE).write_bytes(signature.encode(signed))
    return versions.add(project.ws, "model", "goods", registry.put(project.ws, folder))


def see(project, champion, kind, *, day=3, now=4, **detail):
    """A pass that sees an alarm, as the controller makes it."""
    found = Alarm(
        kind=kind, title=f"{kind} it is", severity="page", since=BEGIN + day * DAY, detail=detail
    )
    alarms = [found] if kind else []
    look(project, champion, now)
    return incidents.compare(
        project, "goods", champion, Seen(now=BEGIN + now * DAY, alarms=alarms, judged=0)
    )


def look(project, champion, now):
    return outlived.look(project, "goods", champion, BEGIN + now * DAY)


def asked(project, label, day, answered, refused):
    moment = BEGIN + day * DAY
    frames = [
        Frame(
            ids=(ids.new_id(),) if number < answered else (), request=ids.new_id(), model="m",
            received_at=moment + number, endpoint="goods", role="champion", label=label,
            contract="predict", status=200 if number < answered else 422,
            error="" if number < answered else "input in x",
        )
        for number in range(answered + refused)
    ]  # fmt: skip
    refusals.arrive(project.ws, project.config, "goods", frames)


def state(project):
    return [(one.kind, one.state) for one in operations.incidents(project.ws)]


REFUSED = {"form": "refused", "features": [{"feature": "x"}]}


def test_errors_end_with_the_version_that_made_them_and_are_told(project):
    one, two = version(project, 1, STRICT), version(project, 2, STRICT)
    see(project, one, "errors")
    assert look(project, one, 5) == [], "it still answers"
    (closed,) = look(project, two, 5)
    assert (closed.state, closed.resolved_at) == ("resolved", BEGIN + 5 * DAY)
    assert closed.resolution == "goods@v1 answers no longer, goods@v2 does"
    assert look(project, two, 6) == []
    told = alerts.of_incident(project.ws, closed.id)
    assert [one.event for one in told] == ["opened", "resolved"]
    ledger.verify(project.ws)


def test_the_new_versions_own_errors_are_an_incident_of_their_own(project):
    one, two = version(project, 1, STRICT), version(project, 2, STRICT)
    see(project, one, "errors")
    (opened,) = see(project, two, "errors", day=4, now=5)
    assert state(project) == [("errors", "open"), ("errors", "resolved")]
    found = operations.incidents(project.ws, state="open")[0]
    assert found.detail["version"] == "goods@v2"
    assert opened.cause == {"incident": found.id}


def test_the_next_pass_ends_them_whichever_way_the_version_came(project):
    one, two = version(project, 1, STRICT), version(project, 2, STRICT)
    apply(project)
    operations.save_endpoint(project.ws, Endpoint(name="goods", target="local", state="stopped"))
    release.switch(project, "goods", one, one, behind=[])
    see(project, one, "errors")
    assert "is over" not in " ".join(tick.tick(project).observed)
    release.switch(project, "goods", two, one)
    said = "goods: the incident of errors is over; goods@v1 answers no longer, goods@v2 does"
    assert said in tick.tick(project).observed
    assert state(project) == [("errors", "resolved")]


@pytest.mark.parametrize(("now", "again"), [(6, 1), (9, 0)])
def test_going_back_to_a_version_that_still_fails_brings_its_errors_back(project, now, again):
    """A person who resolves an incident settles it; a change of version only ends it."""
    one, two = version(project, 1, STRICT), version(project, 2, STRICT)
    see(project, one, "errors")
    look(project, two, 5)
    see(project, one, "errors", now=now)
    (found,) = operations.incidents(project.ws, state="open")
    assert found.reopened == again, "within the cooldown it is the same incident"
    incidents.resolve(project, found.id)
    see(project, one, "errors", now=now)
    assert operations.incidents(project.ws, state="open") == []


@pytest.mark.parametrize(
    "kind", ["broken input", "skew", "broken join", "traffic change", "latency change"]
)
def test_what_is_the_clients_or_the_machines_outlives_a_version(project, kind):
    one, two = version(project, 1, STRICT), version(project, 2)
    see(project, one, kind, form="null burst", features=[{"feature": "x"}])
    assert look(project, two, 5) == []
    assert state(project) == [(kind, "open")]


@pytest.mark.parametrize(
    "inputs", [(), (Column(name="x", kind="number", nullable=True),), (Column(name="x", kind="text"),)]
)  # fmt: skip
def test_what_was_refused_ends_once_the_next_version_takes_it_and_traffic_shows_it(project, inputs):
    one, two = version(project, 1, STRICT), version(project, 2, *inputs)
    asked(project, one.label, 2, 100, 0)
    asked(project, one.label, 3, 50, 50)
    see(project, one, "broken input", **REFUSED)
    assert look(project, two, 4) == [], "nothing was asked of it yet"
    asked(project, two.label, 4, 199, 1)
    (closed,) = look(project, two, 5)
    said = "goods@v2 accepts what goods@v1 refused: it refused 1 of 200 requests since"
    assert closed.resolution == said


def test_a_client_that_mends_itself_does_not_close_what_no_version_mended(project):
    """The next version takes the column as the one before did: a person says what became of it."""
    one, two = version(project, 1, STRICT), version(project, 2, STRICT)
    asked(project, one.label, 3, 50, 50)
    see(project, one, "broken input", **REFUSED)
    asked(project, two.label, 4, 200, 0)
    assert look(project, two, 5) == []


def test_what_the_next_version_refuses_too_stays_open_whatever_it_declares(project):
    one = version(project, 1, STRICT)
    two = version(project, 2, msgspec.structs.replace(STRICT, nullable=True))
    asked(project, one.label, 2, 100, 0)
    asked(project, one.label, 3, 50, 50)
    see(project, one, "broken input", **REFUSED)
    asked(project, two.label, 4, 80, 20)
    assert look(project, two, 5) == []


def test_a_package_that_is_gone_tells_nothing(project):
    one, two = version(project, 1, STRICT), version(project, 2)
    asked(project, one.label, 3, 50, 50)
    see(
        project,
        msgspec.structs.replace(one, digest="blake3:" + "0" * 64),
        "broken input",
        **REFUSED,
    )
    asked(project, two.label, 4, 200, 0)
    assert look(project, two, 5) == []
