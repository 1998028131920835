"""Running: reuse, resume, failures, Ctrl-C, what is recorded, and the plan that says it before."""

from __future__ import annotations

import os
import threading
from typing import Any as Project

import polars as pl
import pytest

from trimtab import hashing
from trimtab.errors import NotFoundError, PipelineError, UsageError
from trimtab.pipeline import load, plan, snapshot
from trimtab.pipeline.events import (
    FlowFinished,
    FlowStarted,
    StepCached,
    StepFinished,
    StepStarted,
    StepWaiting,
)
from trimtab.pipeline.perform import LOG
from trimtab.store import artifacts, cache, runs, versions
from trimtab.track import process

CHAIN = """
import polars as pl

def note(name):
    with open("calls", "a") as out:
        print(name, file=out)

@step
def clean(raw: pl.DataFrame, least: int = 0) -> pl.DataFrame:
    note("clean")
    return raw.drop_nulls().filter(pl.col("x") > least)

@step
def total(rows: pl.DataFrame) -> dict[str, int]:
    note("total")
    print("adding", rows.height, "rows")
    return {"x": rows["x"].sum()}

@step
def report(sums: dict[str, int], title: str) -> str:
    note("report")
    return f"{title}: {sums['x']}"

@flow
def train(rows: Dataset, least: int = 0, title: str = "sum"):
    return report(total(clean(rows, least)), title)
"""


@pytest.fixture
def chain(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(project.folder)
    project.code(CHAIN)
    return project


def statuses(result) -> list[str]:
    return [step.status for step in result.steps]


def test_a_run_gives_its_value_and_the_next_has_nothing_to_do(chain: Project) -> None:
    first = chain.run()
    assert first.value == "sum: 30"
    assert not first.nothing_to_do
    assert first.data == {"rows": "rows@v1"}
    chain.events.clear()
    second = chain.run()
    assert second.nothing_to_do
    assert second.value == "sum: 30"
    assert second.outputs == first.outputs
    assert second.run.status == "cached"
    assert chain.calls() == ["clean", "total", "report"]
    assert [type(event) for event in chain.events] == [
        *(FlowStarted, StepCached, StepCached, StepCached, FlowFinished)
    ]


def test_only_what_changed_runs_again(chain: Project) -> None:
    chain.run()
    assert statuses(chain.run({"title": "all"})) == ["cached", "cached", "done"]
    assert statuses(chain.run({"least": 10})) == ["done", "done", "done"]
    # other code, equal output: what comes after it is remembered
    chain.code(CHAIN.replace('pl.col("x") > least', 'least < pl.col("x")'))
    result = chain.run()
    assert statuses(result) == ["done", "cached", "cached"]
    assert result.steps[0].reasons[0] == "code changed: pipeline.clean"


@pytest.mark.slow
def test_new_data_is_read_and_a_pinned_version_is_kept(chain: Project) -> None:
    chain.run()
    (chain.folder / "rows.csv").write_text("id,x\n1,10\n2,20\n3,30\n")
    assert chain.plan().data[0].label == ""
    assert chain.run().value == "sum: 60"
    assert chain.run(data={"rows": "rows@v1"}).value == "sum: 30"
    assert chain.plan().data[0].label == "rows@v2"
    with pytest.raises(UsageError, match="takes no dataset 'other'"):
        chain.run(data={"other": "rows@v1"})
    with pytest.raises(NotFoundError, match="rows has no 'v9'"):
        chain.run(data={"rows": "rows@v9"})


def test_a_plan_says_what_runs_and_why_and_changes_nothing(chain: Project) -> None:
    def state():
        return (
            sorted(chain.ws.blobs.digests()),
            len(runs.find(chain.ws)),
            versions.find(chain.ws, "data"),
        )

    before = state()
    fresh = chain.plan()
    assert [step.status for step in fresh.steps] == ["run", "run", "run"]
    assert state() == before
    chain.run()
    before = state()
    assert chain.plan().nothing_to_do
    planned = chain.plan({"least": 1}).steps
    assert planned[0].reasons == ("param changed: least 0 -> 1",)
    assert planned[1].reasons == ("input is made anew: clean",)
    assert state() == before
    assert chain.calls() == ["clean", "total", "report"]


def test_everything_that_happened_is_recorded(chain: Project) -> None:
    result = chain.run({"title": "all"}, cause={"kind": "test"})
    run = result.run
    assert (run.kind, run.name, run.status) == ("flow", "train", "done")
    assert run.params == {"least": 0, "title": "all"}
    assert run.cause == {"kind": "test"}
    assert run.peak_bytes > 0
    assert all(hashing.is_digest(one) for one in (run.code, run.environment))
    links = {(one.direction, one.name): one.digest for one in runs.links(chain.ws, run.id)}
    assert links["out", "result"] == result.outputs["result"]
    assert links["in", "rows"] == versions.get(chain.ws, "data", "rows").digest
    steps = {one.name: one for one in runs.find(chain.ws, parent=run.id)}
    assert set(steps) == {"clean", "total", "report"}
    assert steps["report"].params == {"title": '"all"'}
    assert steps["report"].cause == {"reason": "never run"}
    assert steps["clean"].code == run.code
    wires = {
        (one.direction, one.name): one.digest for one in runs.links(chain.ws, steps["total"].id)
    }
    assert chain.ws.blobs.read(wires["out", LOG]) == b"adding 2 rows\n"
    known = cache.get(chain.ws, steps["total"].key)
    assert known.outputs == [wires["out", "output"]]
    assert "input:rows" in known.components
    assert artifacts.get(chain.ws, known.outputs[0]).run == steps["total"].id


def test_a_late_failure_repeats_nothing_and_names_step_and_line(chain: Project) -> None:
    chain.code(CHAIN.replace('return f"{title}', 'return 1 / 0\n    return f"{title}'))
    with pytest.raises(PipelineError) as caught:
        chain.run()
    assert "step report failed at pipeline.py:" in caught.value.message
    assert "return 1 / 0: ZeroDivisionError: division by zero" in caught.value.message
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    flow_run = runs.find(chain.ws, kind="flow")[0]
    failed = runs.find(chain.ws, kind="step", name="report")[0]
    assert (flow_run.status, failed.status) == ("failed", "failed")
    assert failed.error["type"] == "ZeroDivisionError"
    assert "Traceback" in failed.error["traceback"]
    assert chain.events[-1].status == "failed"
    chain.code(CHAIN)
    assert statuses(chain.run()) == ["cached", "cached", "done"]
    assert chain.calls() == ["clean", "total", "report", "report"]


def test_an_error_of_ours_in_a_step_keeps_its_hint(project: Project) -> None:
    project.code(
        "from trimtab.errors import DataError\n"
        "@step\ndef a():\n    raise DataError('no column q', hint='there is p')\n"
        "@flow\ndef train():\n    return a()\n"
    )
    with pytest.raises(PipelineError, match="no column q") as caught:
        project.run()
    assert caught.value.hint == "there is p"


def test_an_output_that_cannot_be_stored_fails_the_step(project: Project) -> None:
    project.code("@step\ndef a():\n    return object()\n@flow\ndef train():\n    return a()\n")
    with pytest.raises(PipelineError, match=r"cannot store a builtins.object"):
        project.run()
    assert runs.find(project.ws, kind="step")[0].status == "failed"


def test_ctrl_c_cancels_what_runs_and_keeps_what_is_finished(chain: Project) -> None:
    chain.code(
        CHAIN.replace('    note("report")\n', '    note("report")\n    raise KeyboardInterrupt\n')
    )
    with pytest.raises(KeyboardInterrupt):
        chain.run()
    assert runs.find(chain.ws, kind="flow")[0].status == "cancelled"
    assert [one.status for one in runs.find(chain.ws, kind="step")] == [
        *("cancelled", "done", "done")
    ]
    chain.code(CHAIN)
    assert statuses(chain.run()) == ["cached", "cached", "done"]


def test_several_outputs_travel_apart(project: Project) -> None:
    project.code(
        "@step\ndef pair(n: int) -> tuple[int, str]:\n    return n, 'x' * n\n"
        "@step\ndef size(text: str) -> int:\n    return len(text)\n"
        "@step\ndef both(two) -> list:\n    return list(two)\n"
        "@flow\ndef train(n: int = 3):\n"
        "    number, text = pair(n)\n    return {'n': number, 'len': size(text), 'all': both(pair(n))}\n"
    )
    result = project.run()
    assert result.value == {"n": 3, "len": 3, "all": [3, "xxx"]}
    assert set(result.outputs) == {"n", "len", "all"}
    assert statuses(project.run()) == ["cached"] * 4


def test_a_step_that_changes_its_input_changes_it_for_nobody_else(project: Project) -> None:
    project.code(
        "import numpy as np\n"
        "@step\ndef a():\n    return [1]\n"
        "@step\ndef b():\n    return np.zeros(2)\n"
        "@step\ndef spoil(x, y) -> int:\n    x.append(2)\n    y[0] = 5\n    return len(x)\n"
        "@flow\ndef train():\n    x, y = a(), b()\n    return [spoil(x, y), x, y]\n"
    )
    value = project.run().value
    assert value[:2] == [2, [1]]
    assert value[2].tolist() == [0, 0]


def test_an_uncached_step_runs_every_time(project: Project) -> None:
    project.code(
        "@step(cache=False)\ndef a():\n    return 1\n"
        "@step\ndef b(x):\n    return x\n"
        "@flow\ndef train():\n    return b(a())\n"
    )
    assert statuses(project.run()) == ["done", "done"]
    assert statuses(project.run()) == ["done", "cached"]
    assert project.plan().steps[0].reasons == ("not cached",)


def test_declared_extras_are_part_of_the_key(project: Project) -> None:
    code = (
        "@step(extras={'version': K_VALUE})\ndef a():\n    return 1\n"
        "@step(extras=lambda scope: {'sources': sorted(scope.config.data), 'from': scope.datasets})\n"
        "def b(x):\n    return 1\n"
        "@flow\ndef train(rows: Dataset):\n    return [a(), b(rows)]\n"
    )
    project.code(code.replace("K_VALUE", "1"))
    project.run()
    project.code(code.replace("K_VALUE", "2"))
    result = project.run()
    assert statuses(result) == ["done", "cached"]
    assert result.steps[0].reasons == ("setting changed: version 1 -> 2",)
    assert result.steps[1].status == "cached"
    known = cache.get(project.ws, result.steps[1].key)
    assert known.components["extra:from"] == '["rows"]'


def test_a_file_that_a_step_reads_is_part_of_its_result(project: Project) -> None:
    project.write("words.txt", "one")
    (project.folder / "parts").mkdir()
    project.code(
        "from pathlib import Path\nimport os\nHERE = Path(__file__).parent\n"
        "@step\ndef a():\n    (HERE / 'out.tmp').write_text('x')\n"
        "    names = sorted(os.listdir(HERE / 'parts'))\n"
        "    return [(HERE / 'words.txt').read_text(), (HERE / 'out.tmp').read_text(), names]\n"
        "@flow\ndef train():\n    return a()\n"
    )
    project.run()
    assert set(cache.last(project.ws, ["a"])["a"].observed) == {"file:words.txt", "folder:parts"}
    assert project.plan().nothing_to_do
    project.write("words.txt", "two")
    assert project.plan().steps[0].reasons == ("file changed: words.txt",)
    assert project.run().value[0] == "two"
    project.write("parts/new", "")
    assert project.plan().steps[0].reasons == ("folder changed: parts",)
    project.run()
    (project.folder / "words.txt").unlink()
    assert project.plan().steps[0].reasons == ("file changed: words.txt",)


def test_what_a_step_does_unseen_makes_its_key_weak(project: Project, monkeypatch) -> None:
    project.code(
        "import sqlite3, subprocess, sys\n"
        "@step\ndef a():\n    sqlite3.connect('other.db').close()\n"
        "    subprocess.run([sys.executable, '-c', ''])\n    return 1\n"
        "@flow\ndef train():\n    return a()\n"
    )
    monkeypatch.chdir(project.folder)
    weak = project.run().steps[0].weak
    assert weak == ("opens the database other.db", "starts another program")
    assert project.plan().steps[0].weak == weak


def test_a_result_that_is_gone_from_the_store_is_made_again(chain: Project) -> None:
    result = chain.run()
    chain.ws.blobs.path(result.outputs["result"]).unlink()
    assert chain.plan().steps[2].reasons == ("what it made is gone from the store",)
    again = chain.run()
    assert statuses(again) == ["cached", "cached", "done"]
    assert again.value == "sum: 30"


@pytest.mark.slow
def test_two_runs_at_once_repeat_nothing(chain: Project) -> None:
    chain.code(
        CHAIN.replace(
            '    note("total")\n', '    note("total")\n    __import__("time").sleep(0.4)\n'
        )
    )
    load.load_flow("pipeline:train", chain.folder)
    results, waited = [], threading.Event()

    def listen(event) -> None:
        if isinstance(event, StepWaiting):
            waited.set()

    def go() -> None:
        from trimtab.pipeline import driver

        results.append(driver.run(chain.ws, chain.config, on_event=listen))

    threads = [threading.Thread(target=go) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.value for result in results] == ["sum: 30"] * 3
    assert sorted(chain.calls()) == ["clean", "report", "total"]
    assert waited.is_set()


def test_a_run_whose_process_died_is_marked_and_its_step_taken_over(chain: Project) -> None:
    key = plan.plan(chain.ws, chain.config).steps[0].key
    assert key == ""  # the data is not read yet
    chain.run()
    step = runs.find(chain.ws, kind="step", name="report")[0]
    cache.remove(chain.ws, step.key)
    dead = runs.start(
        chain.ws, "step", "report", key=step.key, concurrency_key=f"step:{step.key}",
        pid=2**22 + 1, tags={process.TAG: process.mark()},
    )  # fmt: skip
    assert statuses(chain.run()) == ["cached", "cached", "done"]
    found = runs.get(chain.ws, dead.id)
    assert (found.status, found.error["type"]) == ("failed", "Died")


def test_a_recycled_pid_is_not_taken_for_the_process(chain: Project) -> None:
    mine = {**process.mark(), "started": "1"}
    old = runs.start(chain.ws, "step", "x", tags={process.TAG: mine})
    own = runs.start(chain.ws, "step", "y", tags={process.TAG: process.mark()})
    far = runs.start(chain.ws, "step", "z", tags={process.TAG: {"host": "elsewhere"}})
    late = runs.start(chain.ws, "step", "z", tags={process.TAG: {"host": "elsewhere"}})
    runs.update(chain.ws, late.id, heartbeat_at=1)
    assert {one.id for one in process.reap(chain.ws)} == {old.id, late.id}
    assert {runs.get(chain.ws, one.id).status for one in (own, far)} == {"running"}


def test_earlier_code_can_be_run_again(chain: Project) -> None:
    first = chain.run()
    chain.code("broken = 1 / 0\n")
    folder = snapshot.materialise(chain.ws, first.run.code)
    assert (folder / "pipeline.py").read_text().endswith(CHAIN)
    assert snapshot.materialise(chain.ws, first.run.code) == folder
    with pytest.raises(PipelineError, match="cannot be imported at pipeline.py"):
        chain.run()
    load.forget(chain.folder)
    again = chain.run(code=first.run.code)
    assert again.nothing_to_do
    assert again.run.code == first.run.code


@pytest.mark.slow
def test_jobs_in_processes_give_the_same(chain: Project) -> None:
    chain.code(
        CHAIN
        + "@step\ndef other(rows: pl.DataFrame) -> int:\n    return rows.height\n"
        + "@flow\ndef wide(rows: Dataset):\n    a = clean(rows)\n    return [total(a), other(a)]\n"
    )
    result = chain.run(flow="pipeline:wide", executor="process")
    assert result.value == [{"x": 30}, 2]
    assert statuses(result) == ["done"] * 3
    assert chain.run(flow="pipeline:wide").nothing_to_do
    step = runs.find(chain.ws, kind="step", name="total")[0]
    assert step.pid != os.getpid()
    assert any(one.name == LOG for one in runs.links(chain.ws, step.id))


@pytest.mark.slow
def test_a_failure_in_a_process_is_told_like_any_other(chain: Project) -> None:
    chain.code(CHAIN.replace('    note("clean")\n', '    raise ValueError("bad rows")\n'))
    with pytest.raises(PipelineError, match=r"step clean failed at pipeline.py:\d+: .*bad rows"):
        chain.run(executor="process")
    chain.code(CHAIN.replace('    note("clean")\n', "    __import__('os')._exit(7)\n"))
    with pytest.raises(PipelineError, match="ended with exit code 7 and left no result"):
        chain.run(executor="process")
    assert {one.status for one in runs.find(chain.ws, kind="step")} == {"failed"}


def test_an_executor_that_nobody_registered(chain: Project) -> None:
    with pytest.raises(NotFoundError, match="no executor called 'proces', did you mean 'process'"):
        chain.run(executor="proces")
    assert isinstance(chain.events[0], FlowStarted)
    assert runs.find(chain.ws, kind="flow")[0].status == "failed"


def test_events_come_in_order(chain: Project) -> None:
    chain.run()
    kinds = [type(event) for event in chain.events]
    assert kinds == [FlowStarted, *[StepStarted, StepFinished] * 3, FlowFinished]
    assert chain.events[0].steps == ("clean", "total", "report")


def test_a_frame_is_loaded_only_when_a_step_needs_it(chain: Project, monkeypatch) -> None:
    chain.run()
    loaded = []
    real = pl.read_parquet
    monkeypatch.setattr(pl, "read_parquet", lambda *a, **k: (loaded.append(1), real(*a, **k))[1])
    assert statuses(chain.run({"title": "other"})) == ["cached", "cached", "done"]
    assert not loaded
