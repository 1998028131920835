"""Runs from Python: what is recorded, and how a run ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trimtab.errors import NotFoundError, UsageError
from trimtab.store import artifacts, metrics, runs, trees
from trimtab.store.workspace import Workspace, open_workspace
from trimtab.track import environment, git, process
from trimtab.track.compare import compare, differences
from trimtab.track.run import log, start_run


@pytest.fixture
def ws(tmp_path: Path):
    found = open_workspace(tmp_path, "demo")
    yield found
    found.close()


def test_a_run_records_everything(ws: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "plot.txt"
    file.write_text("picture")
    with start_run("fit", {"depth": 3}, {"team": "a"}, ws=ws, cause={"kind": "test"}) as run:
        run.log({"loss": 0.5, "acc": 1})
        run.log({"loss": 0.25})
        run.log({"acc": float("nan")}, step=7)
        run.log_params({"leaf": 2})
        run.set_tags({"note": "x"})
        digest = run.log_artifact(file)
        run.use("rows", digest)
        assert runs.get(ws, run.id).status == "running"
    found = runs.get(ws, run.id)
    assert (found.name, found.kind, found.status) == ("fit", "run", "done")
    assert found.params == {"depth": 3, "leaf": 2}
    assert found.tags["team"] == "a"
    assert found.tags["note"] == "x"
    assert found.ended_at >= found.started_at
    assert found.peak_bytes > 1_000_000
    assert "polars==" in ws.blobs.read(found.environment).decode()
    points = metrics.read(ws, run.id)
    assert [(p.key, p.step, p.value) for p in points if p.key == "loss"] == [
        ("loss", 0, 0.5),
        ("loss", 1, 0.25),
    ]
    assert [p.step for p in points if p.key == "acc"] == [0, 7]
    links = {(one.direction, one.name): one.digest for one in runs.links(ws, run.id)}
    assert links == {("out", "plot.txt"): digest, ("in", "rows"): digest}
    assert trees.file(ws.blobs, digest, "plot.txt").read_text() == "picture"
    assert artifacts.get(ws, digest).run == run.id


def test_what_another_process_adds_to_a_run_stays(ws: Workspace) -> None:
    with start_run("fit", {"depth": 3}, {"team": "a"}, ws=ws) as run:
        held = runs.get(ws, run.id)
        runs.update(ws, run.id, params={**held.params, "theirs": 1}, tags={**held.tags, "b": "c"})
        run.log_params({"ours": [1, 2]})
        run.set_tags({"team": "d"})
        with pytest.raises(UsageError, match="'theirs' of run fit was 1"):
            run.log_params({"more": 1, "theirs": 2})
        run.log_params({"theirs": 1, "ours": [1, 2]})
    found = runs.get(ws, run.id)
    assert found.params == {"depth": 3, "theirs": 1, "ours": [1, 2]}
    assert (found.tags["b"], found.tags["team"]) == ("c", "d")


def test_an_exception_ends_it_as_failed_and_goes_on(ws: Workspace) -> None:
    with pytest.raises(ZeroDivisionError), start_run("fit", ws=ws) as run:
        run.log({"loss": 1.0})
        1 / 0  # noqa: B018
    found = runs.get(ws, run.id)
    assert found.status == "failed"
    assert found.error["type"] == "ZeroDivisionError"
    assert "Traceback" in found.error["traceback"]
    assert metrics.latest(ws, run.id) == {"loss": 1.0}


def test_ctrl_c_ends_it_as_cancelled(ws: Workspace) -> None:
    with pytest.raises(KeyboardInterrupt), start_run("fit", ws=ws) as run:
        raise KeyboardInterrupt
    assert runs.get(ws, run.id).status == "cancelled"


def test_runs_nest(ws: Workspace) -> None:
    with start_run("outer", ws=ws) as outer:
        with start_run("inner") as inner:
            log({"x": 1})
        log({"y": 2})
    assert runs.get(ws, inner.id).parent == outer.id
    assert metrics.latest(ws, inner.id) == {"x": 1}
    assert metrics.latest(ws, outer.id) == {"y": 2}
    with pytest.raises(UsageError, match="no run is going on"):
        log({"z": 3})


def test_wrong_input_is_told_and_loses_nothing(ws: Workspace) -> None:
    with start_run("fit", {"depth": 3}, ws=ws) as run:
        run.log({"loss": 0.5})
        with pytest.raises(UsageError, match="metric 'loss' is no number: 'low'"):
            run.log({"loss": "low"})
        with pytest.raises(UsageError, match="parameter 'depth' of run fit was 3"):
            run.log_params({"depth": 4})
        run.log_params({"depth": 3})
        with pytest.raises(NotFoundError, match="no file or folder"):
            run.log_artifact("nowhere")
    assert metrics.latest(ws, run.id) == {"loss": 0.5}


def test_without_a_workspace_it_goes_to_the_project(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFoundError, match="no trimtab.toml"), start_run("fit"):
        pass
    (tmp_path / "trimtab.toml").write_text('[project]\nname = "demo"\n')
    with start_run("fit") as run:
        pass
    assert runs.get(run.ws, run.id).status == "done"
    assert (tmp_path / ".trimtab" / "store.db").exists()
    run.ws.close()


def test_many_points_are_flushed_on_the_way(ws: Workspace) -> None:
    with start_run("fit", ws=ws, capture=False) as run:
        for number in range(2500):
            run.log({"x": number})
        run.flush()
        assert len(metrics.read(ws, run.id)) == 2500
        run.log({"x": 7})
    assert len(metrics.read(ws, run.id)) == 2501


def test_two_runs_are_compared(ws: Workspace) -> None:
    lock = ws.blobs.put(b"# python 3.11\na==1\nb==2\n")
    other = ws.blobs.put(b"# python 3.11\na==1\nb==3\n")
    code = trees.put_files(ws.blobs, {"a.py": ws.blobs.put(b"1"), "b.py": ws.blobs.put(b"2")})
    changed = trees.put_files(ws.blobs, {"a.py": ws.blobs.put(b"9"), "b.py": ws.blobs.put(b"2")})
    with start_run("a", {"n": 1, "m": 1}, ws=ws) as one:
        one.log({"loss": 1.0})
        one.use("rows", "blake3:1")
    with start_run("b", {"n": 2, "m": 1}, ws=ws) as two:
        two.log({"loss": 1.0, "acc": 2.0})
        two.use("rows", "blake3:2")
    runs.update(ws, one.id, code=code, environment=lock)
    runs.update(ws, two.id, code=changed, environment=other)
    found = compare(ws, one.id, two.id)
    assert found.params == {"n": (1, 2)}
    assert (found.metrics["acc"].a, found.metrics["acc"].b.last) == (None, 2.0)
    assert found.metrics["loss"].change == 0.0
    [file] = found.code
    assert (file.path, file.change, file.added, file.removed) == ("a.py", "changed", 1, 1)
    assert file.diff.splitlines() == ["--- a/a.py", "+++ b/a.py", "@@ -1 +1 @@", "-1", "+9"]
    assert found.environment == {"b": ("2", "3")}
    assert (found.data["rows"].a.digest, found.data["rows"].b.digest) == ("blake3:1", "blake3:2")
    assert compare(ws, one.id, one.id).params == {}
    with pytest.raises(NotFoundError):
        compare(ws, one.id, "0" * 32)


def test_differences_keep_what_is_absent_apart_from_none() -> None:
    assert differences({"a": 1, "b": 2}, {"b": 2, "c": 3}) == {"a": (1, None), "c": (None, 3)}


def test_the_lock_names_every_distribution(monkeypatch, tmp_path: Path) -> None:
    found = environment.parse(environment.lock_text())
    assert found["scikit-learn"].count(".") == 2
    assert found["python"].startswith("3.")
    (tmp_path / "odd_Name.x-1.0.post1.dist-info").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert environment.installed()["odd-name-x"].version == "1.0.post1"


def test_no_repository_has_no_git_state(tmp_path: Path) -> None:
    assert git.state(tmp_path) is None
    assert git.files(tmp_path) is None


def test_a_process_is_told_from_a_later_one() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    mark = process.started(child.pid)
    assert mark is not None
    child.communicate(b"\n")
    assert process.started(child.pid) is None


def test_uncommitted_changes_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("x = 1\n")
    (tmp_path / ".gitignore").write_text(".trimtab\n")
    name = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
    for arguments in (["init", "-q"], ["add", "."], [*name, "commit", "-qm", "x"]):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    file.write_text("x = 2\n")
    ws = open_workspace(tmp_path, "demo")
    with start_run("dirty", ws=ws) as run:
        pass
    (link,) = runs.links(ws, run.id)
    assert (link.direction, link.name) == ("in", "uncommitted changes")
    assert b"-x = 1\n+x = 2\n" in ws.blobs.read(link.digest)
    assert runs.get(ws, run.id).tags["git"]["diff"] == link.digest
    ws.close()
