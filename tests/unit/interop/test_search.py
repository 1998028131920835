"""The columns and the bytes that a board keeps are those of its runs as they are."""

from __future__ import annotations

import contextlib
import random

import msgspec
import pytest

from trimtab.interop.mlflow import experiments, inputs, logging, runs, search, spelt, wire
from trimtab.interop.mlflow.board import Board
from trimtab.interop.mlflow.fault import Fault
from trimtab.interop.mlflow.table import EXPERIMENT, BoardTable
from trimtab.interop.mlflow.wire import Asked
from trimtab.store.workspace import open_workspace
from trimtab.track.search.columns import Several
from trimtab.track.search.table import newest
from trimtab.track.search.tree import Field

FIELDS = [
    EXPERIMENT,
    *(Field("metric", key) for key in ("loss", "auc", "none")),
    *(Field("param", key) for key in ("depth", "word")),
    Field("tag", "team"),
    *(Field("attribute", key) for key in ("run_id", "run_name", "status", "start_time", "end_time")),
    *(Field("data", key) for key in ("name", "digest", "context")),
]  # fmt: skip


@pytest.fixture
def board(tmp_path):
    ws = open_workspace(tmp_path, "demo")
    made = Board(ws)
    made.load()
    yield made
    ws.close()


def change(board, handler, **fields):
    with board.ws.transaction(), board.lock:
        answer = handler(board, Asked(fields))
        board.write()
    return answer


def held(table, field):
    column = table.any_column(field)
    if isinstance(column, Several):
        return sorted(
            (row, column.words[code])
            for row, code in zip(column.row.tolist(), column.code.tolist(), strict=True)
        )
    return [repr(column.value(row)) for row in range(len(table))]


def check(board):
    mine = board.table()
    anew = BoardTable(sorted(board.runs.values(), key=newest))
    assert [one.id for one in mine.records] == [one.id for one in anew.records]
    assert mine.deleted.tolist() == anew.deleted.tolist()
    for field in FIELDS:
        assert held(mine, field) == held(anew, field), field
    for one in mine.records:
        assert runs.spelt(board, one) == wire.encode(runs.shown(one))


def act(draw, board, made):
    """One change of one run, or a new one."""
    if not made or draw.random() < 0.2:
        asked = {"experiment_id": "0", "start_time": draw.randint(1, 5)}
        made.append(change(board, runs.create, **asked)["run"]["info"]["run_id"])
        return
    run, word = draw.choice(made), draw.choice(["a", "b", "10", "é"])
    point = {
        "key": draw.choice(["loss", "auc"]),
        "value": draw.choice([0.5, 1.5, "NaN"]),
        "timestamp": 1,
    }
    data = {"name": word, "digest": word, "source_type": "s", "source": "s"}
    tags = [{"key": "mlflow.data.context", "value": word}]
    handler, fields = draw.choice([
        (runs.set_tag, {"key": draw.choice(["team", "mlflow.runName"]), "value": word}),
        (runs.delete_tag, {"key": "team"}),
        (runs.log_parameter, {"key": "depth", "value": word}),
        (logging.metric, {**point, "step": draw.randint(0, 3)}),
        (logging.batch, {"metrics": [point], "params": [{"key": "word", "value": word}]}),
        (runs.update, {"status": draw.choice(["FINISHED", "RUNNING"]), "end_time": draw.randint(1, 9)}),
        (runs.delete, {}),
        (runs.restore, {}),
        (inputs.log_inputs, {"datasets": [{"dataset": data, "tags": tags}]}),
    ])  # fmt: skip
    with contextlib.suppress(Fault):  # a param that changes, a run that is deleted
        change(board, handler, run_id=run, **fields)


@pytest.mark.parametrize("seed", range(2))
def test_what_is_asked_is_the_board_after_every_change(board, seed):
    draw, made = random.Random(seed), []
    for _ in range(60):
        for _ in range(draw.choice([0, 1, 1, 3])):
            act(draw, board, made)
        check(board)
    number = change(board, experiments.create, name="e")["experiment_id"]
    change(board, runs.create, experiment_id=number)
    check(board)
    change(board, experiments.delete, experiment_id=number)
    check(board)
    change(board, experiments.restore, experiment_id=number)
    check(board)
    board.reset()
    board.load()
    check(board)


def test_only_some_bytes_are_kept(board, monkeypatch):
    monkeypatch.setattr(spelt, "MOST", 1_000)
    for _ in range(10):
        change(board, runs.create, experiment_id="0")
    found = msgspec.json.decode(search.search(board, Asked({"experiment_ids": ["0"]})))
    assert len(found["runs"]) == 10
    assert sum(map(len, board.spelt._kept.values())) == board.spelt._size <= 1_000


def test_a_search_that_finds_nothing_is_an_empty_object(board):
    for fields in (
        {},
        {"experiment_ids": ["0"]},
        {"experiment_ids": ["7"], "filter": "params.a = '1'"},
    ):
        assert search.search(board, Asked(fields)) == b"{}"


def test_pages_of_every_size_are_the_whole(board):
    made = [
        change(board, runs.create, experiment_id="0")["run"]["info"]["run_id"] for _ in range(5)
    ]
    whole = msgspec.json.decode(search.search(board, Asked({"experiment_ids": ["0"]})))["runs"]
    assert sorted(one["info"]["run_id"] for one in whole) == sorted(made)
    for most in (1, 2, 4, 5, 6):
        found, fields = [], {"experiment_ids": ["0"], "max_results": most}
        while True:
            page = msgspec.json.decode(search.search(board, Asked(fields)))
            found += page["runs"]
            if "next_page_token" not in page:
                break
            fields["page_token"] = page["next_page_token"]
        assert found == whole
