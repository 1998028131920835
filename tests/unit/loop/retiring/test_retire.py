import contextlib
import importlib.util
import json
import shutil
from pathlib import Path

import msgspec
import pytest

from trimtab import ids
from trimtab.deploy import local, tomb
from trimtab.errors import ConflictError, NotFoundError, RefusedError, UsageError
from trimtab.loop import doctor, pause, tick
from trimtab.loop.alerts import outlived
from trimtab.loop.notes import Notes
from trimtab.loop.project import apply, open_project
from trimtab.loop.releases import release, rollout
from trimtab.loop.retiring import erase, retire, retire_plan, retirement
from trimtab.loop.retiring.ending import Wish
from trimtab.loop.views import overview, why
from trimtab.serve import notice
from trimtab.serve.access import consumers, keys
from trimtab.serve.logged import privacy
from trimtab.store import artifacts, ledger, operations, runs, states, trees, versions
from trimtab.store.records import Artifact, Incident

FILE = """\
[project]
name = "loans"
[data.applications]
source = "data/*.csv"
target = "repaid"
retention_days = 0
[serve]
price_per_hour = 0.1
[retire]
grace = "1h"
erase = ["keys", "secret", "log", "consumers"]
"""
HOUR = 3_600_000_000


def handmade():
    path = Path(__file__).parents[2] / "serve" / "conftest.py"
    spec = importlib.util.spec_from_file_location("handmade_models", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fill(folder: Path) -> None:
    """A project whose champion answers at an endpoint that was never started, with all its traces."""
    (folder / "trimtab.toml").write_text(FILE, encoding="utf-8")
    project = open_project(folder)
    apply(project)
    ws = project.ws
    flow = runs.start(ws, "flow", "train")
    rows = ws.blobs.put(b"rows of people")
    artifacts.record(ws, Artifact(digest=rows, kind="data", size=14, created_at=1))
    versions.add(ws, "data", "applications", rows, meta={"rows": 12})
    runs.link(ws, flow.id, "in", "applications", rows)
    made = []
    for number in range(2):
        package = folder / f"package-{number}"
        digest = handmade().write_package(package, bias=float(number))
        assert trees.put_folder(ws.blobs, package) == digest
        artifacts.record(ws, Artifact(digest=digest, kind="model", size=1, created_at=1))
        runs.link(ws, flow.id, "out", "model", digest)
        made.append(versions.add(ws, "model", "loans", digest))
    versions.set_alias(ws, "model", "loans", "champion", made[0].digest)
    local.set_routes(ws, "loans", [local.spec(ws, made[0], "champion", 1.0)])
    opened = rollout.open_for(project, "loans", made[1], made[0], cause={"kind": "manual"})
    assert opened is not None
    operations.open_incident(
        ws, Incident(id=ids.new_id(), kind="data drift", key="loans:x", endpoint="loans", title="x")
    )
    place = local.folder(ws, "loans")
    keys.add(place, "nightly")
    privacy.read_key(place)
    row = consumers.Row(caller="k1", name="nightly", contract="predict", model="loans@v1",
                        requests=7, last=ids.now())  # fmt: skip
    consumers.add(place, [row])
    (place / "replay").mkdir()
    (place / "replay" / "x.predictions").write_bytes(b"rows of people")
    ws.close()


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("template")
    fill(folder)
    return folder


@pytest.fixture
def project(template, tmp_path):
    folder = tmp_path / "project"
    shutil.copytree(template, folder)
    found = open_project(folder)
    yield found
    found.ws.close()


def entries(ws, kind):
    return [json.loads(one.body) for one in ledger.find(ws, kind=kind)]


def test_a_plan_changes_nothing_and_says_everything(project):
    before = ledger.head(project.ws)
    plan = retire_plan.plan(project, Wish(), ids.now())
    assert [(one.name, one.requests) for one in plan.consumers] == [("nightly", 7)]
    assert plan.recent == ["nightly"]
    assert "nightly" in plan.refusal
    assert plan.price_per_month == pytest.approx(73)
    assert len(plan.open_rollouts) == 1
    found = {one.what: (one.files, one.rows) for one in plan.erases}
    assert found["keys"] == (1, 1)
    assert found["data:applications@v1"] == (1, 12)
    assert found["log"][0] == 1
    assert any("256 rows" in one.what for one in plan.keeps)
    assert ledger.head(project.ws) == before
    assert retirement.of(project.ws, "loans") is None


@pytest.mark.parametrize(
    ("wish", "error", "word"),
    [
        ({"endpoint": "nobody"}, NotFoundError, "nobody"),
        ({}, RefusedError, "within 7d by nightly"),
        ({"successor": "loans", "force": True}, UsageError, "its own successor"),
        ({"successor": "other", "force": True}, NotFoundError, "other"),
        ({"successor": "ftp://x/", "force": True}, UsageError, "no address"),
        ({"successor": "https://x/> evil", "force": True}, UsageError, "no address"),
        ({"within": "2020-01-01"}, UsageError, "past"),
        ({"within": "soon"}, UsageError, "neither"),
        ({"within": "9999w"}, UsageError, "ten years"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(project, wish, error, word):
    before = ledger.head(project.ws)
    with pytest.raises(error, match=word):
        retire.begin(project, Wish(**wish))
    assert ledger.head(project.ws) == before
    assert notice.read(local.folder(project.ws, "loans")) is None


def test_an_announcement_tells_closes_and_may_be_taken_back(project):
    ws = project.ws
    plan = retire.begin(project, Wish(successor="https://new/", within="2w", reason="merged"))
    assert plan.done
    assert plan.retirement.phase == "announced"
    told = notice.read(local.folder(ws, "loans"))
    assert (told.phase, told.link, told.sunset_at) == ("announced", "https://new/", plan.sunset_at)
    assert operations.rollouts(ws, state="open") == []
    assert operations.rollouts(ws)[0].reason == "the endpoint is to retire"
    assert len(operations.endpoint(ws, "loans").routes["routes"]) == 1
    v1, v2 = (versions.get(ws, "model", f"loans@v{n}") for n in (1, 2))
    assert rollout.open_for(project, "loans", v2, v1, cause={}) is None
    for act in (lambda: retire.begin(project, Wish(force=True)), lambda: release.deploy(project)):
        with pytest.raises(ConflictError, match="merged"):
            act()
    assert "merged" in overview.overview(project).sentence
    assert "loans retires on" in why.why(project, "loans@v1").because[0].title
    assert "to retire" in retirement.brake(project)
    retire.cancel(project, "loans")
    assert notice.read(local.folder(ws, "loans")) is None
    assert retirement.brake(project) == ""
    with pytest.raises(ConflictError, match="nothing to take back"):
        retire.cancel(project, "loans")
    assert [one["phase"] for one in entries(ws, "retire")] == ["cancelled", "announced"]
    assert retire.begin(project, Wish(within="1d")).done


@pytest.mark.slow
def test_the_way_out_keeps_the_evidence_and_erases_the_rest(project):
    ws, place = project.ws, local.folder(project.ws, "loans")
    retire.begin(project, Wish(force=True, reason="merged", by="maria"))
    assert retirement.of(ws, "loans").phase == "gone"
    assert operations.action_of(ws, f"retire:{retirement.of(ws, 'loans').id}:end").result[
        "still_called_by"
    ] == ["nightly"]
    assert versions.aliases(ws, "model", "loans") == {
        "retired": versions.get(ws, "model", "loans@v1").digest
    }
    assert {one.state for one in operations.incidents(ws)} == {"resolved"}
    assert keys.read(place) == ()
    assert {one.name for one in place.iterdir() if not one.name.startswith(".")} <= {
        "keys.json", "retire.json", "routes.json"
    }  # fmt: skip
    assert not ws.blobs.has(versions.get(ws, "data", "applications@v1").digest)
    gone = {one["what"]: one for one in entries(ws, "erase")}
    assert set(gone) == {"keys", "secret", "log", "consumers", "data:applications@v1"}
    assert (gone["keys"]["rows"], gone["consumers"]["rows"]) == (1, 1)
    assert all(one["digest"].startswith("blake3:") for one in gone.values())
    assert "nightly" not in json.dumps([entries(ws, "erase"), entries(ws, "retire")])
    assert doctor.doctor(project).ok
    later = ids.now() + 2 * HOUR
    assert not tick.tick(project, now=later).settled
    done = tick.tick(project, now=later)
    assert (done.acted, done.settled) == ([], True)
    assert retirement.of(ws, "loans").phase == "retired"
    assert operations.endpoint(ws, "loans").state == "retired"
    assert [one["phase"] for one in entries(ws, "retire")] == ["retired", "gone", "announced"]
    told = why.why(project, "loans@v1").because[0]
    assert (told.facts["by"], told.facts["reason"]) == ("maria", "merged")
    assert "was retired on" in overview.overview(project).sentence
    assert {
        one.what for one in retire_plan.plan(project, Wish(), later).erases if one.erased_at
    } == set(gone)


@pytest.mark.slow
def test_nothing_starts_what_was_retired(project):
    ws = project.ws
    retire.begin(project, Wish(force=True))
    with pytest.raises(ConflictError, match="was retired"):
        local.start(ws, "loans", project.config.serve)
    for act in (
        lambda: release.deploy(project),
        lambda: release.deploy(project, "loans@v2"),
        lambda: release.rollback(project, "loans"),
        lambda: retire.begin(project, Wish(force=True)),
        lambda: retire.cancel(project, "loans"),
    ):
        with pytest.raises(ConflictError, match="loans answers 410"):
            act()
    release.stop(project)
    assert [one.state for one in release.start(project)] == ["gone"]
    assert local.every(ws)[0].pid == 0
    with project.path.open("a") as file:
        file.write('[retrain]\non = ["cron:* * * * *"]\n')
    project, begin = open_project(project.path.parent), ids.now()
    apply(project)
    tick.tick(project, now=begin)
    tick.tick(project, now=begin + 300_000_000)
    fired = operations.actions(ws, kind="fire")
    assert fired
    assert all(one.state == "skipped" and "to retire" in one.result["said"] for one in fired)
    project.ws.close()


def test_a_retired_endpoint_may_be_revived(project):
    ws = project.ws
    champion = versions.get(ws, "model", "loans@champion").digest
    retire.begin(project, Wish(force=True))
    assert retire.revive(project, "loans").phase == "revived"
    (ended,) = operations.incidents(ws)
    assert (ended.state, outlived.returned(ended)) == ("resolved", True)
    assert versions.aliases(ws, "model", "loans") == {"champion": champion}
    assert not notice.is_gone(local.folder(ws, "loans"))
    assert retire.revive(project, "loans") is None
    assert retirement.every(ws) == []
    retire.refuse(project, "loans")


def test_a_paused_controller_takes_no_step(project):
    retire.begin(project, Wish(within="1d"))
    pause.pause(project.ws, "audit")
    tick.tick(project, now=ids.now() + 48 * HOUR)
    assert retirement.of(project.ws, "loans").phase == "announced"
    pause.resume(project.ws)
    tick.tick(project, now=ids.now() + 48 * HOUR)
    assert retirement.of(project.ws, "loans").phase == "gone"


@pytest.mark.slow
def test_what_another_endpoint_needs_stays(project):
    ws = project.ws
    champion = versions.get(ws, "model", "loans@champion")
    local.set_routes(ws, "twin", [local.spec(ws, champion, "champion", 1.0)])
    retire.begin(project, Wish(force=True, successor="twin"))
    assert versions.get(ws, "model", "loans@champion") == champion
    data = versions.get(ws, "data", "applications@v1").digest
    assert ws.blobs.has(data)
    assert any("twin" in one for one in tick.tick(project).waiting)
    with pytest.raises(ConflictError, match="cannot come after"):
        retire.begin(project, Wish(endpoint="twin", successor="loans"))
    retire.begin(project, Wish(endpoint="twin"))
    tick.tick(project)
    assert not ws.blobs.has(data)
    assert doctor.doctor(project).ok


def test_the_log_is_kept_as_long_as_the_project_file_says(project):
    path = project.path
    text = path.read_text().replace('"log", ', "").replace("[serve]", '[serve]\nkeep = "10d"')
    path.write_text(text)
    project = open_project(path.parent)
    apply(project)
    retire.begin(project, Wish(force=True))
    place = local.folder(project.ws, "loans")
    assert (place / "replay").is_dir()
    for days, is_there in ((9, True), (11, False)):
        tick.tick(project, now=ids.now() + days * 24 * HOUR)
        assert (place / "replay").is_dir() is is_there
    assert retirement.of(project.ws, "loans").phase == "retired"
    project.ws.close()


class KilledError(BaseException):
    """What stands for kill -9: nothing catches it, a transaction ends with its process."""


class Bomb:
    """Counts both sides of every write to the store and of every act on files; goes off at one."""

    def __init__(self, at: int) -> None:
        self.at, self.count = at, 0

    def step(self) -> None:
        self.count += 1
        if self.count == self.at:
            raise KilledError

    def around(self, act):
        def wrapped(*given, **named):
            self.step()
            done = act(*given, **named)
            self.step()
            return done

        return wrapped


WRITES = (
    (states, "put"), (ledger, "append"), (versions, "set_alias"), (operations, "plan_action"),
    (operations, "update_action"), (operations, "update_rollout"), (operations, "save_endpoint"),
    (operations, "update_incident"), (notice, "write"), (local, "set_routes"), (tomb, "bury"),
    (tomb, "stop"), (erase, "erase"),
)  # fmt: skip


def run(project, monkeypatch, at: int) -> int:
    """Retire, killed at one point, then passes until all is done; how many points there were."""
    bomb, later = Bomb(at), ids.now() + 2 * HOUR
    with monkeypatch.context() as patch:
        for module, name in WRITES:
            patch.setattr(module, name, bomb.around(getattr(module, name)))
        with contextlib.suppress(KilledError):
            retire.begin(project, Wish(force=True))
            retire.advance(project, "loans", Notes(), later)
    if retirement.of(project.ws, "loans") is None:  # killed before anything was written
        retire.begin(project, Wish(force=True))
    for hours in (0, 2):
        tick.tick(project, now=later + hours * HOUR)
    return bomb.count


def state(project):
    """What there is in the end, but for ids and moments."""
    ws = project.ws
    assert tick.tick(project, now=ids.now() + 5 * HOUR).acted == []
    assert doctor.doctor(project).ok
    actions = operations.actions(ws, kind="retire")
    return {
        "actions": sorted((one.key.split(":", 2)[2], one.state) for one in actions),
        "phases": [one["phase"] for one in entries(ws, "retire")],
        "erased": sorted((x["what"], x["files"], x["rows"]) for x in entries(ws, "erase")),
        "aliases": versions.aliases(ws, "model", "loans"),
        "rollouts": [one.state for one in operations.rollouts(ws)],
        "incidents": [one.state for one in operations.incidents(ws)],
        "endpoint": operations.endpoint(ws, "loans").state,
        "files": sorted(
            one.name for one in local.folder(ws, "loans").iterdir() if one.name[0] != "."
        ),
    }


@pytest.mark.slow
def test_a_kill_at_every_write_is_repaired_by_the_next_pass(template, tmp_path, monkeypatch):
    """Both sides of every write to the store and of every act on files."""

    def ended(at):
        folder = tmp_path / str(at)
        shutil.copytree(template, folder)
        project = open_project(folder)
        try:
            return run(project, monkeypatch, at), state(project)
        finally:
            project.ws.close()
            shutil.rmtree(folder)

    points, expected = ended(0)
    assert points > 40
    assert expected["phases"] == ["retired", "gone", "announced"]
    for at in range(1, points + 1):
        assert ended(at)[1] == expected, at


def test_states_of_before_are_read(project):
    """The record may grow; what is stored today reads with its defaults."""
    states.put(project.ws, "retire:loans", {"id": "x", "endpoint": "loans", "phase": "gone"})
    assert retirement.is_over(project.ws, "loans")
    assert msgspec.to_builtins(retirement.of(project.ws, "loans"))["erase"] == {}


def test_a_damaged_package_keeps_nobody_from_leaving(project):
    for version in versions.find(project.ws, "model", "loans"):
        shutil.rmtree(local.package_folder(project.ws, version.digest))
        project.ws.blobs.remove(version.digest)
    retire.begin(project, Wish(force=True))
    assert retirement.of(project.ws, "loans").phase == "gone"
    assert operations.rollouts(project.ws, state="open") == []
