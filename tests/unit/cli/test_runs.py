import csv
import json

import pytest

from trimtab.store import metrics, runs, trees
from trimtab.store.records import Point
from trimtab.store.workspace import open_workspace


@pytest.fixture
def made(project):
    """A project with thirty trials and two flows that differ."""
    ws = open_workspace(project, "houses")
    with ws.transaction():
        for number in range(30):
            params = {"depth": number % 6, "model": {"opt": "adam" if number % 2 else "sgd"}}
            run = runs.start(ws, "trial", "fit", parent="0" * 32, params=params)
            value = number % 6 + 3 * (number % 2) + number / 100
            metrics.append(ws, run.id, [Point(key="auc", step=0, time=0, value=value)])
            runs.finish(ws, run.id, "done")
    code = [
        trees.put_files(
            ws.blobs, {"a.py": ws.blobs.put(text), "b.bin": ws.blobs.put(b"\xff" + text)}
        )
        for text in (b"one\n", b"two\n")
    ]
    flows = [runs.start(ws, "flow", "train", params={"n": {"m": n}}, code=code[n]) for n in (0, 1)]
    ws.close()
    return [one.id for one in flows]


def test_runs_are_found_ordered_and_paged(call, made):
    first = call(
        "runs", "ls", "--where", "metrics.auc > 2 AND (params.depth < 5 OR params.model.opt = 'adam')",
        "--order-by", "metrics.auc desc", "--columns", "metrics.auc, params.depth", "--limit", 5,
    )  # fmt: skip
    assert first.code == 0
    values = [float(line.split()[1]) for line in first.out.splitlines()[2:]]
    assert len(values) == 5
    assert values == sorted(values, reverse=True)
    token = first.err.split("--after ")[1].strip()
    rest = call(
        "runs", "ls", "--where", "metrics.auc > 2 AND (params.depth < 5 OR params.model.opt = 'adam')",
        "--order-by", "metrics.auc desc", "--after", token, "--json",
    )  # fmt: skip
    assert rest.body["next"] == ""
    assert len(rest.body["runs"]) + 5 == rest.body["matched"]
    shown = [rest.body["metrics"][run["id"]]["auc"] for run in rest.body["runs"]]
    assert max(shown) < values[-1]


def test_a_wrong_filter_is_shown_where_it_is_wrong(call, made):
    ended = call("runs", "ls", "--where", "metrics.auc > 2 AND statuss = 'done'")
    assert ended.code == 2
    lines = ended.err.splitlines()
    assert lines[0] == "error: a run has no 'statuss'"
    assert lines[1][lines[2].index("^") :].startswith("statuss")
    assert lines[3] == "hint: did you mean 'status'?"
    assert call("runs", "ls", "--columns", "metrics").code == 2
    assert call("runs", "ls", "--after", "zz").code == 2


def test_a_key_that_no_run_has_is_said_on_stderr(call, made):
    ended = call("runs", "ls", "--where", "metrics.acu > 2")
    assert ended.out == "no run is so\n"
    assert ended.err == "no run has metrics.acu: did you mean 'auc'?\n"


def test_runs_are_grouped(call, made):
    ended = call(
        "runs", "group", "--by", "params.depth", "--show", "max(metrics.auc) count",
        "--where", "kind = 'trial'", "--order-by", "max(metrics.auc) desc",
    )  # fmt: skip
    rows = [line.split() for line in ended.out.splitlines()[2:]]
    assert [row[0] for row in rows] == ["5", "3", "4", "1", "2", "0"]
    assert {row[2] for row in rows} == {"5"}
    moments = call("runs", "group", "--by", "kind", "--show", "max(started) std(started)")
    assert "1970" not in moments.out  # how far moments lie apart is a span


@pytest.mark.slow
def test_names_of_strangers_are_printed_as_they_are_and_steer_no_terminal(call, project):
    ws = open_workspace(project, "houses")
    one, other = (
        runs.start(ws, "run", "[/b]\x1b[2J", params={"[/k]": f"\x9b{number}"})
        for number in range(2)
    )
    ws.close()
    for asked in (
        ["runs", "ls"],
        ["runs", "ls", "--columns", "params.`[/k]`"],
        ["runs", "group", "--by", "params.`[/k]`, name"],
        ["runs", "show", one.id],
        ["diff", one.id, other.id],
        ["why", one.id],
    ):
        found = call(*asked)
        assert found.code == 0, asked
        assert not {"\x1b", "\x9b"} & set(found.out + found.err)
        assert "[/" in found.out
    wrong = call("runs", "ls", "--where", "name = '\x1b[2J' or or")
    assert wrong.code == 2
    assert "\x1b" not in wrong.err


@pytest.mark.slow
def test_params_that_explain_a_metric_are_named(call, made):
    found = call("runs", "importance", "--metric", "auc", "--json").body
    assert {one["param"] for one in found["shares"]} == {"depth", "model.opt"}
    text = call("runs", "importance", "--metric", "auc", "--where", "kind = 'trial'")
    assert "30 runs" in text.out
    few = call("runs", "importance", "--metric", "auc", "--where", "params.depth = 1")
    assert few.code == 6
    assert "too few runs: 5" in few.err


def test_runs_are_written_to_a_file(call, made, project):
    ended = call("runs", "export", "--where", "kind = 'trial'", "--to", "runs.csv")
    assert ended.out.startswith("runs.csv: 30 runs, ")
    with (project / "runs.csv").open(encoding="utf-8", newline="") as file:
        assert {row["kind"] for row in csv.DictReader(file)} == {"trial"}
    call("runs", "export", "--to", "runs.jsonl")
    lines = (project / "runs.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[0])["params"] == {"n": {"m": 1}}
    assert call("runs", "export", "--to", "runs.xls").code == 2


def test_two_runs_are_compared(call, made):
    ended = call("diff", made[0], made[1], "--patch")
    assert ended.code == 0
    assert "n.m" in ended.out
    assert "-one\n+two\n" in ended.out
    assert "b.bin: no text" in ended.out
    body = call("diff", made[0][:16], made[1], "--json").body
    assert body["params"] == {"n.m": [0, 1]}
    assert call("diff", made[0], "0" * 32).code == 4
