"""A model watched inside another server: the controller judges its windows like any endpoint's."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import trimtab
from trimtab import ids
from trimtab.errors import ConflictError, NotFoundError, UsageError
from trimtab.loop import firings
from trimtab.loop.candidate import capacity
from trimtab.loop.files.against import Watching, watch
from trimtab.loop.notes import Notes
from trimtab.loop.project import apply, open_project
from trimtab.loop.releases import drill, release
from trimtab.loop.retiring import retire_plan
from trimtab.loop.tick import tick
from trimtab.loop.views.outlook import outlook
from trimtab.monitor import judge as judging
from trimtab.server.handlers import endpoints, keys
from trimtab.server.requests import KeyWanted, Named
from trimtab.store import operations
from trimtab.store.records import Action, Endpoint

DAY = 86_400_000_000


@pytest.fixture
def project(made, tmp_path, request):
    """A project with one version of a model, of two classes where the test says no other task."""
    from trimtab.model import registry
    from trimtab.store import versions

    task = getattr(request, "param", "binary")
    text = made.PROJECT.format(bound=made.BOUNDS[task])
    (tmp_path / "trimtab.toml").write_text(text.replace('event_time = "client"\n', ""))
    found = open_project(tmp_path)
    package = made.write_model(tmp_path / "package", made.SIGNED[task])
    versions.add(found.ws, "model", "goods", registry.put(found.ws, package))
    apply(found)
    yield found
    found.ws.close()


def rows_of(made, count, shift=0.0, seed=0):
    drawn = made.draw("binary", np.random.default_rng(seed), count, shift)
    pairs = zip(drawn.columns["x"].tolist(), drawn.columns["kind"].tolist(), strict=True)
    return [{"x": x, "kind": kind} for x, kind in pairs], drawn.score.tolist()


def pass_later(project):
    return tick(project, now=ids.now() + 2 * DAY)


@pytest.mark.slow
def test_three_lines_are_enough(made, project):
    monitor = trimtab.Monitor("goods@v1", project=project.folder)
    for row, score in zip(*rows_of(made, 800, shift=1.0), strict=True):
        monitor.log(row, score)
    monitor.close()
    seen = pass_later(project)
    (incident,) = operations.incidents(project.ws)
    assert (incident.endpoint, incident.kind) == ("goods-embedded", "data drift")
    named = {one["feature"] for one in incident.detail["features"]}
    assert named >= {"x", "__score__", "__decision__"}
    assert any("goods-embedded" in line for line in seen.observed)
    assert sum(one.rows for one in operations.windows(project.ws)) == 800
    assert pass_later(project).acted == []


@pytest.mark.slow
def test_a_monitors_window_closes_by_the_clock_whatever_clients_tell_an_endpoint(
    made, project, monkeypatch
):
    """Its last one too: no later row is waited for."""
    project.path.write_text(made.PROJECT.format(bound=made.BOUNDS["binary"]))
    again = open_project(project.folder)
    assert again.config.serve.event_time == "client"
    apply(again)
    at = ids.now_ns() - 2 * DAY * 1000
    with monkeypatch.context() as patched:
        patched.setattr("trimtab.ids.now_ns", lambda: at)
        with trimtab.Monitor("goods@v1", project=project.folder) as monitor:
            for row, score in zip(*rows_of(made, 800, shift=1.0), strict=True):
                monitor.log(row, score)
    tick(again)
    again.ws.close()
    (incident,) = operations.incidents(project.ws)
    assert (incident.endpoint, incident.kind) == ("goods-embedded", "data drift")


def test_calm_rows_open_nothing_and_two_processes_add_up(made, project):
    for seed in (1, 2):
        with trimtab.Monitor("goods@v1", project=project.folder) as monitor:
            for row, score in zip(*rows_of(made, 400, seed=seed), strict=True):
                monitor.log(row, score)
    seen = pass_later(project)
    (said,) = [line for line in seen.observed if "cannot know" in line]
    assert "no label can be joined to rows that another server keeps" in said
    (sees,) = outlook(project, ids.now()).sees
    assert sees.startswith("800 answers of goods-embedded in 1 window to ")
    assert operations.incidents(project.ws) == []
    assert sum(one.rows for one in operations.windows(project.ws)) == 800


def test_what_is_not_told_of_the_answers_is_no_broken_input(made, project, monkeypatch):
    """Decisions alone on one day, nothing on the next, then scores, which are not a number later."""
    begin = ids.now() // DAY * DAY - 20 * DAY
    clock = [begin]

    def told(day, scores):
        words = np.where(scores >= 0.5, "yes", "no").tolist()
        return [words, [None] * len(words), scores, np.full(len(words), np.nan)][day]

    with monkeypatch.context() as patched:
        patched.setattr("trimtab.ids.now_ns", lambda: clock[0] * 1000)
        with trimtab.Monitor("goods@v1", project=project.folder) as monitor:
            for day in range(4):
                clock[0] = begin + day * DAY
                drawn = made.draw("binary", np.random.default_rng(day), 400, 0.0)
                monitor.log(drawn.columns, told(day, drawn.score))
                found = monitor.findings().findings
                broken = [one for one in found if "score 100 % missing" in one.text]
                assert len(broken) == (day == 3)
                monitor.flush()
    pass_later(project)
    texts = {
        (one.start - begin) // DAY: [each["text"] for each in one.findings]
        for one in operations.windows(project.ws)
    }
    assert [texts[day] for day in range(3)] == [[], [], []]
    assert "score 100 % missing" in texts[3][0]


@pytest.mark.parametrize(
    ("told", "shift", "said"),
    [
        ("decision", 0.0, []),
        ("nothing", 0.0, []),
        ("nan", 0.0, ["score 50 % missing"]),
        ("decision", 0.8, ["score 0.7"]),
    ],
    ids=["a decision alone", "nothing", "no number", "a drift"],
)
def test_a_score_that_half_of_the_rows_tell_is_judged_by_these(made, project, told, shift, said):
    """Some callers want a decision alone: None is no value that went missing, and NaN is one."""
    begin = ids.now() // DAY * DAY - 20 * DAY
    with trimtab.Monitor("goods@v1", project=project.folder) as monitor:
        for day in range(2):
            drawn = made.draw("binary", np.random.default_rng(day), 600, shift * day)
            given = drawn.score.tolist()
            for place in range(0, 600, 2):
                decided = drawn.decision[place]
                given[place] = {"decision": decided, "nothing": None, "nan": float("nan")}[told]
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr("trimtab.ids.now_ns", lambda day=day: (begin + day * DAY) * 1000)
                monitor.log(drawn.columns, given)
        found = [one.text for one in monitor.findings().findings]
    pass_later(project)
    newest = max(operations.windows(project.ws), key=lambda one: one.start)
    for texts in (found, [one["text"] for one in newest.findings]):
        assert len(texts) == len(said)
        assert all(one in text for one, text in zip(said, texts, strict=True))


@pytest.mark.parametrize("project", ["multiclass"], indirect=True)
def test_the_scores_of_all_classes_say_which_class_moved(made, project):
    """Nobody has to say the decision too: the highest score is no news, whose it is is."""
    with trimtab.Monitor("goods@v1", project=project.folder) as monitor:
        drawn = made.draw("multiclass", np.random.default_rng(1), 800)
        turned = np.arange(800) % 2 == 0
        drawn.score[turned] = np.sort(drawn.score[turned], axis=1)
        for x, kind, scores in zip(*drawn.columns.values(), drawn.score, strict=True):
            monitor.log({"x": float(x), "kind": kind}, scores)
        (found,) = [one for one in monitor.findings().findings if one.kind == "data drift"]
    assert {one.feature for one in found.features} == {"__decision__"}
    assert found.text.endswith("decision '0' holds 24.2 %, was 49.1 %.")


@pytest.mark.parametrize("project", ["regression"], indirect=True)
def test_numbers_that_are_texts_now_are_answers_of_the_wrong_type(made, project):
    with trimtab.Monitor("goods@v1", project=project.folder) as monitor:
        drawn = made.draw("regression", np.random.default_rng(1), 400)
        monitor.log(drawn.columns, [str(one) for one in drawn.score])
        (found,) = monitor.findings().findings
    assert (found.kind, found.form) == ("broken input", "type")
    assert "score 100 % of the wrong type" in found.text


def test_windows_that_another_server_left_say_how_a_change_came(made, project, monkeypatch):
    """The same words as of an endpoint; a first window alone tells no form."""
    begin = ids.now() // DAY * DAY - 20 * DAY
    clock = [begin]
    with monkeypatch.context() as patched:
        patched.setattr("trimtab.ids.now_ns", lambda: clock[0] * 1000)
        with trimtab.Monitor("goods@v1", project=project.folder) as monitor:
            for day, shift in enumerate([1, 0, 0, 0, 1, 1, 0, 0]):
                clock[0] = begin + day * DAY
                drawn = made.draw("binary", np.random.default_rng(day), 400, float(shift))
                monitor.log(drawn.columns, drawn.score)
                monitor.flush()
    pass_later(project)
    found = {
        (one.start - begin) // DAY: (each["form"], each["text"])
        for one in operations.windows(project.ws)
        for each in one.findings
        if each["kind"] == "data drift" and each["detail"].get("lasts", 1.0)
    }
    assert [found[day][0] for day in (0, 4, 5)] == ["", "recurring", "recurring"]
    assert "Data drift (recurring, as from" in found[4][1]


def test_windows_of_another_length_share_the_same_budget(made, project, monkeypatch):
    """24 windows a day, each judged as the one of a day is, would raise 24 times the false pages."""
    levels = []

    def judge(reference, windows, *, budget, **more):
        found = judging.judge(reference, windows, budget=budget, **more)
        levels.append(found.alpha)
        return found

    monkeypatch.setattr("trimtab.monitor.observe.judge", SimpleNamespace(judge=judge))
    for window in ("1d", "1h"):
        with trimtab.Monitor(
            "goods@v1", project=project.folder, name=window, window=window
        ) as monitor:
            for row, score in zip(*rows_of(made, 100), strict=True):
                monitor.log(row, score)
    pass_later(project)
    assert levels[1] == pytest.approx(levels[0] / 24)


def test_a_monitor_has_a_name_of_its_own(project):
    with pytest.raises(NotFoundError, match="v7"):
        trimtab.Monitor("goods@v7", project=project.folder)
    operations.save_endpoint(
        project.ws, Endpoint(name="goods-embedded", target="local", state="stopped")
    )
    with pytest.raises(ConflictError, match="watches itself"):
        trimtab.Monitor("goods@v1", project=project.folder)
    with trimtab.Monitor("goods@v1", name="shop", project=project.folder) as monitor:
        assert monitor.name == "shop"
    assert [one.name for one in release.stop(project)] == ["goods-embedded"]


@pytest.mark.parametrize(
    "asked",
    [
        lambda project: release.deploy(project, "goods@v1", name="shop"),
        lambda project: release.stop(project, "shop"),
        lambda project: release.rollback(project, "shop"),
        lambda project: drill.drill(project, "shop"),
        lambda project: capacity.measure(project, "shop"),
        lambda project: keys.add(project, KeyWanted(name="shop", key="k")),
        lambda project: endpoints.compact(project, Named(name="shop")),
        lambda project: retire_plan.link_of(project, "goods", "shop"),
    ],
    ids=["deploy", "stop", "roll back", "drill", "bench", "key", "compact", "successor"],
)
def test_what_another_server_answers_with_is_neither_run_nor_steered(project, asked):
    """Nothing is taken over, made or changed, and it is said why."""
    trimtab.Monitor("goods@v1", name="shop", project=project.folder).close()
    before = operations.endpoints(project.ws)
    with pytest.raises(UsageError, match="'shop' answers inside another server") as refused:
        asked(project)
    assert "do it in that server" in refused.value.hint
    assert operations.endpoints(project.ws) == before
    assert not (project.ws.root / "endpoints" / "shop").exists()


def test_a_file_without_an_input_of_the_model_is_broken(made, project):
    import polars as pl

    drawn = made.draw("binary", np.random.default_rng(3), 200)
    path = project.folder / "without.csv"
    pl.DataFrame({"kind": drawn.columns["kind"].tolist()}).write_csv(path)
    found = watch(path, Watching(against="goods@v1"), start=project.folder)
    assert [(one.kind, one.form) for one in found.findings] == [("broken input", "null burst")]
    assert "in 1 of 2 features: x 100 % missing" in found.findings[0].text
    assert any("without.csv has no column x, which goods@v1 needs" in one for one in found.notes)
    meant = Watching(against="goods@v1", leave_out=("x",))
    assert watch(path, meant, start=project.folder).status == "nothing"


def test_a_file_is_held_against_the_model_with_its_quality(made, project):
    import polars as pl

    drawn = made.draw("binary", np.random.default_rng(3), 1500)
    frame = pl.DataFrame({"x": drawn.columns["x"], "kind": drawn.columns["kind"].tolist(),
                          "p": drawn.score, "good": drawn.truth})  # fmt: skip
    path = project.folder / "scored.csv"
    frame.write_csv(path)
    asked = {"against": "goods@v1", "score": "p"}
    guessed = watch(path, Watching(**asked), start=project.folder)
    assert guessed.status == "nothing"
    assert {(one.metric, one.how) for one in guessed.quality} >= {("roc_auc", "estimated")}
    told = watch(path, Watching(**asked, truth="good", record=True), start=project.folder)
    (auc,) = [one for one in told.quality if one.metric == "roc_auc"]
    (before,) = [one for one in guessed.quality if one.metric == "roc_auc"]
    assert auc.how == "realised"
    assert auc.lo < before.value < auc.hi
    from trimtab.store import evidence

    kept = evidence.find(project.ws, metric="roc_auc")
    assert {one.window for one in kept} == {"file:scored.csv"}
    frame.with_columns(good=pl.lit("perhaps")).write_csv(path)
    odd = watch(path, Watching(**asked, truth="good"), start=project.folder)
    assert odd.quality == []
    assert any("1,500 rows have no usable outcome" in line for line in odd.notes)


@pytest.mark.parametrize(
    "given",
    [
        {"name": "a/b"}, {"name": ".."}, {"name": "x\0y"}, {"name": "x" * 101}, {"name": "file:x"},
        {"every": "10s"}, {"every": -1.0}, {"every": float("nan")}, {"limit": 0}, {"limit": 2.5},
    ],
    ids=["folder", "above", "control", "long", "file", "text", "past", "nan", "no room", "half"],
)  # fmt: skip
def test_a_monitor_that_could_not_work_is_refused_with_what_it_takes(project, given):
    """A name that is no folder's would stop every pass, other seconds the thread in silence."""
    with pytest.raises(UsageError) as refused:
        trimtab.Monitor("goods@v1", project=project.folder, **given)
    assert refused.value.hint
    pass_later(project)


def test_what_a_trigger_trained_opens_no_rollout_at_a_monitor_of_the_models_name(made, project):
    from trimtab.model import registry
    from trimtab.store import versions

    trimtab.Monitor("goods@v1", name="goods", project=project.folder).close()
    first = versions.get(project.ws, "model", "goods@v1")
    versions.set_alias(project.ws, "model", "goods", "champion", first.digest)
    package = made.write_model(project.folder / "again", made.SIGNED["regression"])
    versions.add(project.ws, "model", "goods", registry.put(project.ws, package))
    fired = Action(id=ids.new_id(), kind="fire", key="fire:nightly:1", state="done",
                   cause={"trigger": "nightly"}, result={"version": "goods@v2"})  # fmt: skip
    operations.plan_action(project.ws, fired)
    firings.advance(project, Notes())
    (done,) = operations.actions(project.ws)
    assert done.result["handled"]
    assert operations.rollouts(project.ws) == []
