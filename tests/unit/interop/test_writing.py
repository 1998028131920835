"""Changes are committed on the loop where nothing is in the way, and never waited for there."""

from __future__ import annotations

import asyncio
import threading

import pytest

from trimtab.interop.mlflow import writing
from trimtab.interop.mlflow.board import Board
from trimtab.interop.mlflow.fault import Fault
from trimtab.interop.mlflow.writing import Writer
from trimtab.store import states
from trimtab.store.workspace import open_workspace


@pytest.fixture
def ws(tmp_path):
    opened = open_workspace(tmp_path, "demo")
    yield opened
    opened.close()


@pytest.fixture
def board(ws):
    made = Board(ws)
    made.load()
    return made


def put(ws, name, value=1):
    """A change that says which thread made it."""

    def change():
        states.put(ws, name, value)
        return threading.current_thread().name

    return change


def names(ws):
    return sorted(states.find(ws, ""))


def test_a_quick_change_is_committed_on_the_loop(board, ws):
    async def work():
        writer = Writer(board)
        found = [await writer.do(put(ws, f"{n}"), quick=True) for n in range(3)]
        return found, await writer.do(put(ws, "slow"))

    found, slow = asyncio.run(work())
    assert set(found) == {threading.current_thread().name}
    assert slow == "mlflow-writer"
    assert names(ws) == ["0", "1", "2", "slow"]


def test_what_comes_in_one_turn_is_one_commit_and_a_fault_is_its_own(board, ws, monkeypatch):
    commits = []
    commit = Writer._commit
    monkeypatch.setattr(
        Writer,
        "_commit",
        lambda self, group, *how: commits.append(group) or commit(self, group, *how),
    )

    def refuse():
        raise Fault("no")

    async def work():
        writer = Writer(board)
        changes = [put(ws, "a"), refuse, put(ws, "b")]
        return await asyncio.gather(
            *(writer.do(one, quick=True) for one in changes), return_exceptions=True
        )

    first, second, third = asyncio.run(work())
    assert isinstance(second, Fault)
    assert first == third
    assert [len(one) for one in commits] == [3]
    assert names(ws) == ["a", "b"]


def test_nobody_waits_for_ever_where_a_turn_breaks(board, ws, monkeypatch):
    def broken():
        raise OSError("the disk is gone")

    monkeypatch.setattr(board, "is_current", broken)

    async def work():
        async with asyncio.timeout(10):
            await Writer(board).do(put(ws, "a"), quick=True)

    with pytest.raises(OSError, match="the disk is gone"):
        asyncio.run(work())
    assert names(ws) == []


def test_the_loop_goes_on_while_somebody_else_writes(board, ws, tmp_path):
    other = open_workspace(tmp_path, "demo")

    async def work():
        writer = Writer(board)
        await writer.do(put(ws, "before"), quick=True)
        with other.transaction():
            states.put(other, "theirs", 1)
            waits = asyncio.create_task(writer.do(put(ws, "after"), quick=True))
            for _ in range(20):
                await asyncio.sleep(0.001)
            assert not waits.done()
        return await waits

    assert asyncio.run(work()) == "mlflow-writer"
    assert names(ws) == ["after", "before", "theirs"]
    other.close()


def test_the_loop_goes_on_while_a_long_search_reads(board, ws):
    async def work():
        writer = Writer(board)
        is_held, may_end = threading.Event(), threading.Event()

        def search():
            with board.lock:
                is_held.set()
                may_end.wait(20)

        reader = threading.Thread(target=search)
        reader.start()
        is_held.wait(20)
        waits = asyncio.create_task(writer.do(put(ws, "a"), quick=True))
        await asyncio.sleep(0.01)
        assert not waits.done()
        may_end.set()
        found = await waits
        reader.join()
        return found

    assert asyncio.run(work()) == "mlflow-writer"


def test_the_log_is_brought_home_by_the_thread_from_time_to_time(board, ws, monkeypatch):
    monkeypatch.setattr(writing, "TURNS", 5)

    async def work():
        writer = Writer(board)
        return [await writer.do(put(ws, "a", n), quick=True) for n in range(10)]

    found = asyncio.run(work())
    assert [place for place, one in enumerate(found) if one == "mlflow-writer"] == [4, 9]


def test_what_fails_on_the_loop_has_changed_nothing(board, ws, monkeypatch):
    def break_down():
        states.put(ws, "half", 1)
        raise KeyError("x")

    async def work():
        writer = Writer(board)
        with pytest.raises(KeyError):
            await writer.do(break_down, quick=True)
        # the board is loaded anew by the thread, and the loop goes on
        return [await writer.do(put(ws, name), quick=True) for name in "ab"]

    assert asyncio.run(work()) == ["mlflow-writer", threading.current_thread().name]
    assert names(ws) == ["a", "b"]
