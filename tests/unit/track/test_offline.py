"""Runs without a store: written to a folder, taken in elsewhere, once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest

from trimtab.cli.main import main
from trimtab.errors import UsageError
from trimtab.store import metrics, runs, trees
from trimtab.store.records import Run
from trimtab.store.workspace import Workspace, open_workspace
from trimtab.track import merge, process, resume, spool
from trimtab.track.run import active, start_run

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(spool.__file__).parents[2])}
MARK = {process.TAG: process.mark()}
HEAVY = ("numpy", "sqlalchemy", "polars", "sklearn", "onnx", "alembic", "pandas", "matplotlib")


@pytest.fixture
def ws(tmp_path: Path):
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "trimtab.toml").write_text('[project]\nname = "demo"\n')
    found = open_workspace(tmp_path / "project", "demo")
    yield found
    found.close()


def logged(folder: Path, file: Path) -> str:
    with start_run("far", {"depth": 3}, offline=folder) as run:
        run.log({"loss": 1.0})
        run.log_params({"leaf": 2})
        run.set_tags({"note": "x"})
        run.log_artifact(file)
        with start_run("inner") as inner:
            inner.log({"loss": 7.0})
        run.log({"loss": 0.5})
        with pytest.raises(UsageError, match="offline"):
            assert run.ws
    return run.id


@pytest.mark.slow
def test_an_offline_run_is_taken_in_whole_and_once(ws: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("text")
    first, second = logged(tmp_path / "one", file), logged(tmp_path / "two", file)
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    for name in ("one", "two", "copy", "one"):
        found = merge.sync(ws, tmp_path / name, process.is_alive)
        assert found.damaged == []
    assert found.points == 0
    for run in (first, second):
        one = runs.get(ws, run)
        assert (one.name, one.status, one.params) == ("far", "done", {"depth": 3, "leaf": 2})
        assert one.tags["note"] == "x"
        assert [p.value for p in metrics.read(ws, run)] == [1.0, 0.5]
        (link,) = [link for link in runs.links(ws, run) if link.name == "a.txt"]
        assert trees.file(ws.blobs, link.digest, "a.txt").read_text() == "text"
        assert "# python" in ws.blobs.read(one.environment).decode()
        (inner,) = runs.find(ws, parent=run)
        assert metrics.latest(ws, inner.id) == {"loss": 7.0}


def test_the_variable_makes_a_run_offline(
    ws: Workspace, tmp_path: Path, monkeypatch, capfd
) -> None:
    monkeypatch.setenv("TRIMTAB_SPOOL", str(tmp_path / "spool"))
    monkeypatch.chdir(ws.project_dir)
    with start_run("far", capture=False) as run:
        run.log({"a": 1})
    again = start_run("far", id=run.id, capture=False)
    again.log({"b": 1})
    again.finish("failed")
    monkeypatch.delenv("TRIMTAB_SPOOL")
    assert main(["runs", "sync", str(tmp_path / "spool")]) == 0
    assert "2 points of 1 runs taken in" in capfd.readouterr().out
    assert main(["runs", "sync", str(tmp_path / "spool"), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["points"] == 0
    assert runs.get(ws, run.id).status == "failed"
    (tmp_path / "spool" / "bad.spool").write_bytes(b"?")
    assert main(["runs", "sync", str(tmp_path / "spool")]) == 1
    assert "is no whole spool" in capfd.readouterr().err
    assert main(["runs", "sync"]) == 0


@pytest.mark.slow
def test_offline_needs_neither_database_nor_numpy(tmp_path: Path) -> None:
    code = f"""
import sys
sys.modules.update(dict.fromkeys({HEAVY!r}))
import trimtab
run = trimtab.start_run("light", {{"a": 1}}, offline={str(tmp_path / "s")!r})
trimtab.log({{"loss": 0.5}})
run.log_array("x", [1.0, 2.0])
run.log_table({{"a": [1, 2]}})
run.log_figure(b"png", "a.png")
run.finish()
print(*(name for name in {HEAVY!r} if sys.modules[name] is not None))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=ENVIRONMENT
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")
    assert len(spool.found(tmp_path / "s")) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "status", "error"),
    [
        ("", "done", None),
        ("1 / 0", "failed", "ZeroDivisionError"),
        ("raise KeyboardInterrupt", "cancelled", "KeyboardInterrupt"),
        ("run.finish('failed')", "failed", None),
        ("import os; os.kill(os.getpid(), 9)", "failed", "Died"),
    ],
)
def test_a_plain_run_ends_with_the_interpreter(ws: Workspace, end, status, error) -> None:
    code = (
        "import trimtab\nrun = trimtab.start_run('plain', capture=False)\n"
        f"trimtab.log({{'a': 1}})\nprint(run.id, flush=True)\n{end}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ws.project_dir,
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
    )
    process.reap(ws)
    found = runs.get(ws, done.stdout.strip())
    assert (found.status, (found.error or {}).get("type")) == (status, error)
    assert metrics.latest(ws, found.id) == {"a": 1}
    assert spool.found(ws.root / merge.FOLDER) == []


def test_a_run_is_taken_up_again(ws: Workspace) -> None:
    run = start_run("first", {"a": 1}, {"t": 1}, ws=ws, capture=False)
    run.log({"loss": 1.0})
    joined = start_run("first", id=run.id, ws=ws, capture=False)
    joined.log({"other": 2.0})
    joined.finish()
    assert runs.get(ws, run.id).status == "running"
    run.finish("failed")
    again = start_run("first", {"a": 2, "b": 3}, {"t": 2}, id=run.id, ws=ws, capture=False)
    assert runs.get(ws, run.id).status == "running"
    again.log({"loss": 0.5})
    again.finish()
    found = runs.get(ws, run.id)
    assert (found.status, found.params, found.tags["t"]) == ("done", {"a": 1, "b": 3}, 2)
    points = [(p.key, p.step, p.value) for p in metrics.read(ws, run.id)]
    assert points == [("loss", 0, 1.0), ("loss", 1, 0.5), ("other", 0, 2.0)]
    with pytest.raises(UsageError, match="no id of a run"):
        start_run(id="mine", ws=ws)
    assert active.get() is None


def test_what_several_take_up_at_once_is_all_kept(ws: Workspace) -> None:
    for number in range(4):
        run = Run(id=f"{number:032x}", kind="run", name="shared", pid=os.getpid(), tags=MARK)
        ready = threading.Barrier(4)
        begun: list[bool] = []

        def join(
            name: str,
            run: Run = run,
            ready: threading.Barrier = ready,
            begun: list[bool] = begun,
        ) -> None:
            own = msgspec.structs.replace(run, params={name: 1}, tags={**MARK, name: 2})
            ready.wait()
            begun.append(resume.taken_up(ws, own)[1])

        threads = [threading.Thread(target=join, args=(name,)) for name in "abcd"]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        found = runs.get(ws, run.id)
        assert found.params == dict.fromkeys("abcd", 1)
        assert found.tags == {**MARK, **dict.fromkeys("abcd", 2)}
        assert sorted(begun) == [False, False, False, True]


def test_a_param_that_a_resumed_run_gives_anew_is_told(ws: Workspace, capsys) -> None:
    nan = {"nan": float("nan"), "pair": (1, 2)}
    with start_run("first", {"a": 1, **nan}, ws=ws, capture=False) as run:
        run.log_params(nan)
    with start_run("first", {"a": 2, **nan}, id=run.id, ws=ws, capture=False):
        pass
    said = "parameter 'a' stays 1, 2 is left out"
    assert [said in line for line in capsys.readouterr().err.splitlines()] == [True]


def test_a_run_that_is_taken_up_without_a_store_keeps_what_it_is_given(
    ws: Workspace, tmp_path: Path
) -> None:
    with start_run("first", {"a": 1}, {"t": 1}, ws=ws, capture=False) as run:
        pass
    far = tmp_path / "far"
    with start_run(
        "first", {"a": 2, "b": 3}, {"t": 2}, id=run.id, offline=far, capture=False
    ) as again:
        again.log({"loss": 1.0})
    merge.sync(ws, far, process.is_alive)
    found = runs.get(ws, run.id)
    assert (found.params, found.tags["t"], found.status) == ({"a": 1, "b": 3}, 2, "done")


def test_params_of_any_kind_are_kept_or_refused_with_a_reason(ws: Workspace) -> None:
    given = {
        "lr": np.float64(0.1), "n": np.int32(3), "is": np.bool_(True), "layers": {0: 64, "x": {1: 2}},
        "long": 1 << 200, "kind": Path, 7: "key",
    }  # fmt: skip
    with start_run("kinds", given, ws=ws, capture=False) as run:
        run.log({"loss": 1.0})
        run.log_params({1: 2, "a": 3})
        for bad in ({(1, 2): 3}, {None: 1}, {"\ud800": 1}, {"a": "\ud800"}):
            with pytest.raises(UsageError, match="params and tags are"):
                run.log_params({"fine": 1, **bad})
    assert runs.get(ws, run.id).params == {
        "lr": 0.1, "n": 3, "is": True, "layers": {"0": 64, "x": {"1": 2}}, "long": str(1 << 200),
        "kind": str(Path), "7": "key", "1": 2, "a": 3,
    }  # fmt: skip


def test_arrays_that_a_cast_would_change_are_refused(ws: Workspace) -> None:
    with start_run("arrays", ws=ws, capture=False) as run:
        for values, steps in [
            (np.zeros((2, 2)), None), (np.array([1 + 2j]), None), (np.zeros(1), np.array([1.5])),
            (np.zeros(1), np.array([1 << 63], dtype="u8")), (np.zeros(1), np.zeros((1, 1), dtype=int)),
        ]:  # fmt: skip
            with pytest.raises(UsageError):
                run.log_array("a", values, steps=steps)
        run.log_array("a", np.array([True, False]), steps=np.array([3, 4], dtype="u1"))
    assert [(p.step, p.value) for p in metrics.read(ws, run.id)] == [(3, 1.0), (4, 0.0)]
