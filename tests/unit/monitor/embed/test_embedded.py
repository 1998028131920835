"""The monitor inside somebody else's process: nothing lost in silence, nothing unbounded."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections import OrderedDict, defaultdict
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest

import trimtab
from trimtab import ids
from trimtab.errors import UsageError
from trimtab.monitor.drift import episodes
from trimtab.monitor.embed import embedded, spool
from trimtab.monitor.embed import rows as turning
from trimtab.profile import profile as profiles
from trimtab.profile import reference as references


def ordinary(rows=3000, seed=0, shift=0.0):
    random = np.random.default_rng(seed)
    return {
        "income": random.normal(3000 + 400 * shift, 400, rows),
        "years": random.integers(0, 30, rows).astype(float),
        "town": random.choice(["A", "B"], rows).astype(object),
    }


def rows_of(columns):
    names = list(columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def plain(columns):
    return [{k: v if isinstance(v, str) else float(v) for k, v in row.items()}
            for row in rows_of(columns)]  # fmt: skip


def watcher(**given):
    return trimtab.Monitor.against(ordinary(), **given)


def test_three_lines_watch_a_table():
    monitor = watcher()
    for row in plain(ordinary(1000, 1, shift=0.6)):
        monitor.log(row)
    found = monitor.findings()
    assert [one.kind for one in found.findings] == ["data drift"]
    assert found.rows == 1000
    monitor.close()


def test_calm_rows_are_calm():
    with watcher() as monitor:
        for row in plain(ordinary(1000, 1)):
            monitor.log(row)
        assert monitor.findings().findings == ()


def test_rows_arrays_mappings_and_frames_count_the_same():
    columns = ordinary(500, 2)
    expected = profiles.count(references.fit_reference(ordinary()).bins, columns)
    ways = {
        "rows": lambda m: [m.log(row) for row in plain(columns)],
        "a list": lambda m: m.log(plain(columns)),
        "columns": lambda m: m.log(columns),
        "polars": lambda m: m.log(pl.DataFrame(columns | {"town": columns["town"].tolist()})),
    }
    for name, way in ways.items():
        with watcher() as monitor:
            way(monitor)
            monitor.flush()
            (counted,) = monitor._counted.windows.values()
            assert np.array_equal(counted.counts, expected.counts), name


def test_numbers_may_come_as_an_array_in_order():
    table = {"a": np.arange(100.0), "b": np.arange(100.0)[::-1].copy()}
    with trimtab.Monitor.against(table) as monitor:
        for row in np.stack([table["a"], table["b"]], axis=1):
            monitor.log(row)
        monitor.log(np.ones((5, 2)))
        assert monitor.rows == 105
        with pytest.raises(UsageError, match="2 inputs"):
            monitor.log(np.ones((5, 3)))


class Frame:
    """A frame whose columns are an array, as those of pandas are an index: neither is true or false."""

    def __init__(self, columns):
        self.kept, self.columns = columns, np.array(list(columns), dtype=object)

    def __getitem__(self, name):
        return self.kept[name]


def test_a_frame_may_call_its_columns_by_an_array():
    with trimtab.Monitor.against(Frame(ordinary())) as monitor:
        monitor.log(Frame(ordinary(500, 2)))
        expected = profiles.count(references.fit_reference(ordinary()).bins, ordinary(500, 2))
        assert monitor.rows == 500
        (counted,) = monitor._counted.windows.values()
        assert np.array_equal(counted.counts, expected.counts)


MOMENTS = np.datetime64("2026-01-01", "h") + np.arange(3000)


@pytest.mark.parametrize(
    ("when", "held"),
    [
        (MOMENTS, "datetime64[h]"),
        (MOMENTS.tolist(), "datetime"),
        ([None, *MOMENTS.astype("datetime64[D]").tolist()[1:]], "date"),
        (pl.Series(MOMENTS.astype("datetime64[us]")), "datetime64[us]"),
        (MOMENTS - MOMENTS[0], "timedelta64[h]"),
    ],
    ids=["numpy", "datetimes", "dates", "polars", "spans"],
)
def test_a_column_of_times_is_said_to_be_not_watched(when, held, caplog):
    with caplog.at_level(logging.WARNING, "trimtab.monitor"):
        monitor = trimtab.Monitor.against(ordinary() | {"when": when})
    assert f"column when is not watched, it holds {held}: log numbers or words" in caplog.text
    assert caplog.text.count("not watched") == 1
    with monitor:
        for row in plain(ordinary(100, 1)):
            monitor.log(row | {"when": MOMENTS[0].item()})
        assert (monitor.rows, monitor.findings().measures[-1].feature) == (100, "town")


def test_embeddings_are_said_to_be_not_watched(caplog):
    vectors = np.random.default_rng(0).normal(size=(len(ordinary()["town"]), 4))
    with caplog.at_level(logging.WARNING, "trimtab.monitor"):
        monitor = trimtab.Monitor.against(ordinary() | {"vector": vectors})
    assert "column vector is not watched, it holds vectors" in caplog.text
    with monitor:
        monitor.log(ordinary(100, 1) | {"vector": vectors[:100]})
        assert (monitor.rows, monitor.dropped) == (100, 0)


def test_a_column_of_which_nothing_is_known_is_watched(caplog):
    with trimtab.Monitor.against(ordinary() | {"note": [None] * 3000}) as monitor:
        monitor.log(ordinary(300, 1) | {"note": ["now"] * 300})
        assert any("note" in one.text for one in monitor.findings().findings)
    assert "not watched" not in caplog.text


class Nullable:
    """A series as pandas has them, with a null that equals nothing and has no truth."""

    def __init__(self, values, null):
        self.values, self.null = np.array(values, dtype=object), null

    def to_numpy(self):
        return self.values

    def isna(self):
        return np.array([one is self.null for one in self.values])


def test_a_null_of_pandas_is_a_missing_value():
    null = object()
    towns = [null if row % 10 == 0 else "A" for row in range(3000)]
    with trimtab.Monitor.against(ordinary() | {"town": Nullable(towns, null)}) as monitor:
        for row, usual in enumerate(plain(ordinary(600, 1))):
            monitor.log(usual | {"town": None if row % 10 == 0 else "A"})
        assert monitor.findings().findings == ()


def test_a_row_is_any_mapping_and_a_list_may_hold_arrays():
    table = {"a": np.arange(100.0), "b": np.arange(100.0)[::-1].copy()}
    expected = profiles.count(references.fit_reference(table).bins, table)
    pairs = np.stack([table["a"], table["b"]], axis=1)
    ways = {
        "mappings": lambda m: [m.log(MappingProxyType({"a": a, "b": b}), 0.5) for a, b in pairs],
        "arrays": lambda m: m.log(list(pairs)),
    }
    for name, way in ways.items():
        with trimtab.Monitor.against(table) as monitor:
            way(monitor)
            assert monitor.rows == 100, name
            (counted,) = monitor._counted.windows.values()
            assert np.array_equal(counted.counts, expected.counts), name


class Pair(NamedTuple):
    income: float
    years: float


@pytest.mark.parametrize(
    "rows",
    [[Pair(1.0, 2.0)], Pair(1.0, 2.0), [[1.0, 2.0]], [1.0, 2.0], object(), [None]],
    ids=["named tuples", "a named tuple", "lists", "numbers", "an object", "nothing"],
)
def test_what_is_no_row_is_refused_and_counts_nowhere(rows):
    with watcher() as monitor:
        with pytest.raises(UsageError, match="is no row") as refused:
            monitor.log(rows)
        assert "row._asdict()" in refused.value.hint
        assert (monitor.rows, monitor.dropped) == (0, 0)


def test_a_row_is_copied():
    with watcher() as monitor:
        row = plain(ordinary(1))[0]
        for _ in range(100):
            monitor.log(row)
        row["income"] = float("inf")
        monitor.flush()
        (counted,) = monitor._counted.windows.values()
        codes = monitor._reference.bins.feature("income").groups()["infinite"]
        assert counted.counts[list(codes)].sum() == 0


def notes(count, seed, longer=1):
    random = np.random.default_rng(seed)
    words = np.array(["late", "paid", "called", "letter", "office", "moved", "broken", "again"])
    return [
        " ".join(random.choice(words, random.integers(4, 9) * longer)) + f" {number}"
        for number in range(count)
    ]


def test_free_text_is_watched_by_what_is_made_of_it():
    """Its texts never occur again; that is no news, and that they are twice as long is."""
    with trimtab.Monitor.against({"note": notes(3_000, 1), "x": np.arange(3_000.0)}) as monitor:
        for row, note in enumerate(notes(500, 2)):
            monitor.log({"note": note, "x": float(row * 6)}, 0.5)
        assert [one for one in monitor.findings().findings if "note" in one.text] == []
    with trimtab.Monitor.against({"note": notes(3_000, 1), "x": np.arange(3_000.0)}) as monitor:
        for row, note in enumerate(notes(500, 2, longer=2)):
            monitor.log({"note": note, "x": float(row * 6)}, 0.5)
        moved = {each.feature for one in monitor.findings().findings for each in one.features}
        assert "note:length" in moved


class Array(np.ndarray):
    pass


def test_rows_of_subclasses_count_and_stay_as_they_are():
    table = {"a": np.arange(100.0), "b": np.arange(100.0)}
    lazy, ordered = defaultdict(float, a=1.0), OrderedDict(a=2.0, b=3.0)
    with trimtab.Monitor.against(table) as monitor:
        for row in (lazy, ordered, np.ones(2).view(Array)):
            monitor.log(row, 0.5)
            monitor.log(row)
        assert (monitor.rows, monitor.dropped) == (6, 0)
        (counted,) = monitor._counted.windows.values()
        codes = monitor._reference.bins.feature("b").groups()["missing"]
        assert counted.counts[monitor._reference.bins.spans()["b"]][list(codes)].sum() == 2
    assert dict(lazy) == {"a": 1.0}


def test_odd_values_are_counted_and_never_raised():
    odd = [None, "many", float("nan"), float("inf"), 1e308, [1], 10**400, True, np.float32(3)]
    with watcher() as monitor:
        for value in odd:
            monitor.log({"income": value, "years": 1.0, "town": value}, 0.5)
        monitor.log({})
        monitor.log({"another": 1})
        assert monitor.rows == len(odd) + 2
        assert monitor.dropped == 0


def test_what_does_not_fit_is_dropped_counted_and_said(caplog):
    monitor = watcher(limit=100)
    with monitor._lock, caplog.at_level(logging.WARNING, "trimtab.monitor"):
        for row in plain(ordinary(250)):
            monitor.log(row)
        assert monitor.dropped == 150
        assert len(monitor._ring) == 100
        monitor.flush()
    assert monitor.rows == 100
    assert "150 rows were dropped" in caplog.text
    monitor.close()


class Refuses:
    def __float__(self):
        raise RuntimeError("no number today")


def test_rows_whose_values_raise_are_dropped_counted_and_said(caplog):
    with watcher() as monitor, caplog.at_level(logging.WARNING, "trimtab.monitor"):
        monitor.log({"income": Refuses(), "years": 1.0, "town": "A"}, 0.5)
        monitor.flush()
        monitor.log({"income": 1.0, "years": 1.0, "town": "A"}, 0.5)
        assert (monitor.rows, monitor.dropped) == (1, 1)
    assert "1 rows could not be read and were dropped: no number today" in caplog.text


class Unhashable(str):
    __slots__ = ()

    def __hash__(self):
        raise RuntimeError("no name today")


def watcher_of_a_model(place=None, every=10.0):
    reference = references.fit_reference(ordinary() | {"__score__": np.linspace(0, 1, 3000)})
    monitor = trimtab.Monitor.__new__(trimtab.Monitor)
    layout = turning.layout_of(reference)
    subject = turning.Subject(reference=reference, layout=layout, model="a model", place=place)
    monitor._begin(subject, "1d", every, 20_000)
    return monitor


@pytest.mark.parametrize(
    ("more", "answer"),
    [
        ({}, (1, 2, 3)),
        ({}, 10**400),
        ({"income": Refuses()}, 0.5),
        ({"town": Unhashable("A")}, 0.5),
    ],
    ids=["three answers", "a huge answer", "no number", "no word"],
)
def test_a_row_that_cannot_be_read_takes_no_other_with_it(more, answer, monkeypatch, caplog):
    monkeypatch.setattr(embedded, "_LOOK_SECONDS", 1e6)
    usual = plain(ordinary(40))
    odd = [row | {"years": None} for row in usual]
    with watcher_of_a_model() as monitor, caplog.at_level(logging.WARNING, "trimtab.monitor"):
        for row in [*usual, *odd]:
            monitor.log(row, 0.5)
        monitor.log(usual[0] | more, answer)
        for row in [*odd, *usual]:
            monitor.log(row, 0.5)
        assert (monitor.rows, monitor.dropped) == (160, 1)
    assert "1 rows could not be read and were dropped" in caplog.text


@pytest.mark.parametrize(
    "answer", [np.bool_(True), np.int32(1), np.float16(1), np.ones(2), [0.2, 1.0]],
    ids=["bool", "int32", "float16", "array", "list"],
)  # fmt: skip
def test_one_row_may_have_any_answer_that_a_model_gives(answer):
    with watcher_of_a_model() as monitor:
        monitor.log(plain(ordinary(1))[0], answer)
        if isinstance(answer, np.ndarray):
            answer[:] = np.nan
        assert (monitor.rows, monitor.dropped) == (1, 0)
        (counted,) = monitor._counted.windows.values()
        assert counted.high[-1] == 1.0


def test_an_answer_that_is_none_is_dropped_with_what_it_should_be(caplog):
    with watcher_of_a_model() as monitor, caplog.at_level(logging.WARNING, "trimtab.monitor"):
        monitor.log(plain(ordinary(1))[0], [0.7, "yes"])
        assert (monitor.rows, monitor.dropped) == (0, 1)
    assert "an answer is a score, a decision or a tuple (score, decision)" in caplog.text


def test_no_rows_count_as_none():
    with watcher() as monitor:
        monitor.log([])
        assert (monitor.rows, monitor.dropped, monitor._counted.windows) == (0, 0, {})


def test_a_batch_larger_than_what_may_wait_is_counted_at_once():
    with watcher(limit=100) as monitor:
        monitor.log(ordinary(5000))
        assert (monitor.rows, monitor.dropped) == (5000, 0)


def test_logging_after_the_end_is_an_error():
    monitor = watcher()
    monitor.close()
    monitor.close()
    with pytest.raises(UsageError, match="closed"):
        monitor.log(plain(ordinary(1))[0])


def test_predictions_must_be_as_many_as_rows():
    with watcher() as monitor, pytest.raises(UsageError, match="3 predictions for 5 rows"):
        monitor.log(ordinary(5), [1, 2, 3])


def test_many_threads_lose_nothing():
    monitor = watcher(limit=1_000_000)
    rows = plain(ordinary(2000))

    def work():
        for row in rows:
            monitor.log(row)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert (monitor.rows, monitor.dropped) == (16_000, 0)
    monitor.close()


def test_rows_are_counted_without_being_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "_LOOK_SECONDS", 0.01)
    monitor = watcher_of_a_model(tmp_path, every=0.05)
    for row in plain(ordinary(20)):
        monitor.log(row)
    end = time.monotonic() + 20
    while not monitor._counted.windows and time.monotonic() < end:
        time.sleep(0.01)
    assert sum(one.rows for one in monitor._counted.windows.values()) == 20
    monitor.close()


@pytest.mark.parametrize("as_table", [False, True], ids=["rows", "tables"])
def test_what_fills_the_room_is_counted_before_the_next_look(as_table, monkeypatch):
    monkeypatch.setattr(embedded, "_LOOK_SECONDS", 1e6)
    monitor = watcher(limit=50, every=1e6)
    for _ in range(4):
        some = ordinary(25)
        for piece in [some] if as_table else plain(some):
            monitor.log(piece)
        end = time.monotonic() + 5
        while monitor._ring and time.monotonic() < end:
            time.sleep(0.01)
    assert (monitor.rows, monitor.dropped) == (100, 0)
    monitor.close()


def test_rows_of_several_looks_are_counted_together_as_in_one_table(monkeypatch):
    monkeypatch.setattr(embedded, "_LOOK_SECONDS", 1e6)
    odd = [None, "many", 10**400, True, 3, np.float32(2.5), float("inf")]
    rows = plain(ordinary(40, 3))
    rows += [{"income": one, "years": 2, "town": one if one is None else str(one)} for one in odd]
    table = {name: np.array([row[name] for row in rows], dtype=object) for name in rows[0]}
    expected = profiles.count(references.fit_reference(ordinary()).bins, table)
    with watcher(every=1e6) as monitor:
        for number, row in enumerate(rows):
            monitor.log(row, 0.5)
            if number % 9 == 8:
                monitor._work()
        assert not monitor._counted.windows, "too few to be counted yet"
        assert monitor.rows == len(rows)
        (counted,) = monitor._counted.windows.values()
        assert np.array_equal(counted.counts, expected.counts)
        assert (counted.totals, counted.rows) == (expected.totals, expected.rows)


def test_a_row_counts_in_the_window_of_its_look(monkeypatch):
    monkeypatch.setattr(embedded, "_LOOK_SECONDS", 1e6)
    clock = [7_000_000_000]
    monkeypatch.setattr("trimtab.ids.now_ns", lambda: clock[0])
    with watcher(window="1h", every=1e6) as monitor:
        for hour, count in ((0, 3), (0, 4), (1, 5), (3, 2), (2, 1)):
            clock[0] = (hour * 3600 + 7) * 1_000_000_000
            monitor._ring.look()
            for row in plain(ordinary(count)):
                monitor.log(row, 0.5)
            if hour != 1:
                monitor._work()
        monitor.flush()
        seen = {start // 3_600_000_000: one.rows for start, one in monitor._counted.windows.items()}
        assert seen == {0: 7, 1: 5, 2: 1, 3: 2}
        assert monitor._counted.newest[3 * 3_600_000_000] == (3 * 3600 + 7) * 1_000_000


def test_what_waits_as_columns_is_bounded(monkeypatch):
    monkeypatch.setattr(embedded, "_LOOK_SECONDS", 1e6)
    with watcher(limit=40, every=1e6) as monitor:
        for row in plain(ordinary(200)):
            monitor.log(row | {"income": None}, 0.5)
            if len(monitor._ring) == 7:
                monitor._work()
            assert sum(len(one.times) for one in monitor._counted.turned) < 20
        assert (monitor.rows, monitor.dropped) == (200, 0)


def asked(monitor, rows):
    """An event loop that logs rows and does something else after each."""

    async def serve():
        for row in rows:
            monitor.log(row, 0.5)
            await asyncio.sleep(0)

    asyncio.run(serve())


def who_counts(monitor, monkeypatch):
    """The names of the threads that count, one for each time."""
    names = []

    def count(seconds=math.inf, count=monitor._counted.count):
        names.append(threading.current_thread().name)
        count(seconds)

    monkeypatch.setattr(monitor._counted, "count", count)
    return names


def test_an_event_loop_counts_what_it_logs_between_its_requests(monkeypatch):
    monkeypatch.setattr(embedded, "_LOOK_SECONDS", 1e6)
    monkeypatch.setattr(embedded, "_PIECE_SECONDS", 1e6)
    with watcher(limit=100) as monitor:
        names = who_counts(monitor, monkeypatch)
        asked(monitor, plain(ordinary(120)))
        assert names == ["MainThread"] * 2
        assert len(monitor._ring) < 50
        assert (monitor.rows, monitor.dropped) == (120, 0)


def in_pieces(monitor, rows, until):
    """An event loop that logs rows and goes on with something else until that is true."""

    async def serve():
        for row in rows:
            monitor.log(row, 0.5)
        turns, end = 0, time.monotonic() + 20
        while not until() and time.monotonic() < end:
            turns += 1
            await asyncio.sleep(0)
        return turns

    return asyncio.run(serve())


def test_an_event_loop_goes_on_with_its_requests_between_two_pieces_of_a_count(monkeypatch):
    monkeypatch.setattr(embedded, "_LOOK_SECONDS", 1e6)
    monkeypatch.setattr(embedded, "_PIECE_SECONDS", 0.0)
    with watcher(limit=100) as monitor:
        names = who_counts(monitor, monkeypatch)
        turns = in_pieces(monitor, plain(ordinary(50)), lambda: monitor._counted.windows)
        assert set(names) == {"MainThread"}
        assert turns >= len(names) - 1 >= 4, "a pause after each of three columns at least"
        assert not monitor._counted.begun
        assert (monitor.rows, monitor.dropped) == (50, 0)


def test_who_asks_in_the_middle_of_a_count_has_all_of_it(monkeypatch):
    monkeypatch.setattr(embedded, "_LOOK_SECONDS", 1e6)
    monkeypatch.setattr(embedded, "_PIECE_SECONDS", 0.0)
    with watcher(limit=100) as monitor:
        rows = plain(ordinary(60))
        in_pieces(monitor, rows[:50], lambda: monitor._counted.begun)
        assert (monitor._counted.windows, len(monitor._ring)) == ({}, 0)
        for row in rows[50:]:
            monitor.log(row | {"income": None}, 0.5)
        monitor.log(rows[:5], [0.5] * 5)
        table = {name: np.array([row[name] for row in rows], dtype=object) for name in rows[0]}
        table["income"] = np.append(table["income"][:50], [None] * 10)
        table = {name: np.append(one, one[:5]) for name, one in table.items()}
        expected = profiles.count(references.fit_reference(ordinary()).bins, table)
        assert monitor.rows == 65
        (counted,) = monitor._counted.windows.values()
        assert np.array_equal(counted.counts, expected.counts)
        assert (counted.totals, monitor.dropped) == (expected.totals, 0)


def test_rows_that_are_dropped_in_the_middle_of_a_count_are_counted(monkeypatch):
    monkeypatch.setattr(embedded, "_LOOK_SECONDS", 1e6)
    monkeypatch.setattr(embedded, "_PIECE_SECONDS", 0.0)
    with watcher(limit=100) as monitor:
        rows = plain(ordinary(51))
        in_pieces(monitor, rows[:50], lambda: monitor._counted.begun)
        monitor.log(rows[50] | {"income": Refuses()}, 0.5)
        assert (monitor.rows, monitor.dropped) == (50, 1)


def test_a_count_that_an_event_loop_left_is_finished_by_the_thread(monkeypatch):
    monkeypatch.setattr(embedded, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(embedded, "_PIECE_SECONDS", 0.0)
    with watcher(limit=100) as monitor:
        in_pieces(monitor, plain(ordinary(50)), lambda: monitor._counted.begun)
        end = time.monotonic() + 20
        while not monitor._counted.windows and time.monotonic() < end:
            time.sleep(0.01)
        assert sum(one.rows for one in monitor._counted.windows.values()) == 50


def test_a_count_in_pieces_that_raises_loses_its_own_rows_alone(monkeypatch, caplog):
    monkeypatch.setattr(embedded, "_LOOK_SECONDS", 1e6)
    monkeypatch.setattr(embedded, "_PIECE_SECONDS", 0.0)
    with watcher(limit=100) as monitor:
        steps = monitor._counted._counter.steps

        def failing(columns):
            yield
            if "gone" in columns["town"]:
                raise ValueError("no such town")
            return (yield from steps(columns))

        monkeypatch.setattr(monitor._counted._counter, "steps", failing)
        rows = plain(ordinary(50))
        rows[7]["town"] = "gone"
        in_pieces(monitor, rows, lambda: monitor._counted.windows)
        assert (monitor.rows, monitor.dropped) == (49, 1)
        assert "no such town" in caplog.text


def test_an_event_loop_leaves_to_the_thread_what_cannot_be_packed(monkeypatch):
    monkeypatch.setattr(embedded, "_LOOK_SECONDS", 1e6)
    with watcher(limit=100) as monitor:
        asked(monitor, [row | {"income": None} for row in plain(ordinary(50))])
        end = time.monotonic() + 20
        while monitor._ring and time.monotonic() < end:
            time.sleep(0.01)
        assert not monitor._ring
        assert (monitor.rows, monitor.dropped) == (50, 0)


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 100])
def test_who_logs_without_letting_its_event_loop_go_on_loses_nothing(limit, monkeypatch):
    monkeypatch.setattr(embedded, "_LOOK_SECONDS", 1e6)

    async def cell():
        for row in plain(ordinary(300)):
            monitor.log(row, 0.5)

    with watcher(limit=limit) as monitor:
        asyncio.run(cell())
        assert (monitor.rows, monitor.dropped) == (300, 0)


def test_an_event_loop_that_ends_first_leaves_its_rows_to_the_thread(monkeypatch):
    monkeypatch.setattr(embedded, "_LOOK_SECONDS", 0.01)
    with watcher(limit=100) as monitor:
        loop = asyncio.new_event_loop()
        loop.call_soon(lambda: [monitor.log(row, 0.5) for row in plain(ordinary(50))])
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()
        end = time.monotonic() + 20
        while monitor._ring and time.monotonic() < end:
            time.sleep(0.01)
        assert not monitor._ring
        assert (monitor.rows, monitor.dropped) == (50, 0)


def test_a_thread_that_imports_asyncio_just_now_disturbs_no_row(monkeypatch):
    monkeypatch.setattr(embedded, "_LOOK_SECONDS", 1e6)
    with watcher(limit=100) as monitor:
        monkeypatch.setitem(sys.modules, "asyncio", ModuleType("asyncio"))
        for row in plain(ordinary(50)):
            monitor.log(row, 0.5)
        assert (monitor.rows, monitor.dropped) == (50, 0)


def test_few_rows_that_nobody_waits_for_stay_until_they_are_enough_or_asked_for(monkeypatch):
    monkeypatch.setattr(embedded, "_LOOK_SECONDS", 1e6)
    with watcher(every=0.0) as monitor:
        for row in plain(ordinary(9)):
            monitor.log(row, 0.5)
        monitor._work()
        monitor._work()
        assert (len(monitor._ring), monitor._counted.windows) == (9, {})
        assert monitor.rows == 9


def test_few_rows_are_counted_by_the_next_request_or_without_one_by_the_thread(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(embedded, "_LOOK_SECONDS", 1e6)
    monkeypatch.setattr(embedded, "_PIECE_SECONDS", 1e6)
    with watcher_of_a_model(tmp_path, every=0.0) as monitor:
        rows = plain(ordinary(9))
        asked(monitor, rows[:3])
        monitor._work()
        assert len(monitor._ring) == 3, "the next request may count them"
        asked(monitor, rows[3:5])
        assert (len(monitor._ring), monitor._counted.windows != {}) == (1, True)
        asked(monitor, rows[5:])
        monitor._work()
        monitor._work()
        assert (len(monitor._ring), monitor.rows) == (0, 9)


def test_what_is_left_holds_the_rows_that_waited(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "_LOOK_SECONDS", 1e6)
    with watcher_of_a_model(place=tmp_path, every=0.0) as monitor:
        monitor.log({"income": 3000.0, "years": 2.0, "town": "a"}, 0.5)
        monitor._work()
        assert not list(tmp_path.iterdir()), "the next request may count it first"
        monitor._work()
        assert len(list(tmp_path.iterdir())) == 1
        assert not monitor._counted.unsent


@pytest.mark.parametrize("gone", [True, False], ids=["moved", "no folder"])
def test_what_cannot_be_left_is_said_and_at_the_end_dropped(tmp_path, caplog, gone):
    """A project that was moved is not made anew where it was: nobody would look there."""
    root = tmp_path / "project"
    place = root / "monitors" / "shop"
    if not gone:
        root.mkdir()
        place.parent.write_text("no folder")
    with caplog.at_level(logging.WARNING, "trimtab.monitor"):
        monitor = watcher_of_a_model(place)
        monitor.log(plain(ordinary(1))[0], 0.5)
        assert (monitor.rows, monitor.dropped) == (1, 0)
        assert "it is tried again" in caplog.text
        caplog.clear()
        monitor.close()
        assert monitor.dropped == 1
    assert "1 rows could not be left and are lost" in caplog.text
    assert "tried again" not in caplog.text
    assert root.exists() != gone


def test_a_forked_child_begins_afresh():
    monitor = watcher()
    monitor.log(plain(ordinary(1))[0])
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            for row in plain(ordinary(7)):
                monitor.log(row)
            os.write(writer, str(monitor.rows).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 10) == b"7"
    assert monitor.rows == 1
    monitor.close()


def log_some(monitor, count):
    for row in plain(ordinary(count)):
        monitor.log(row, 0.5)


def test_a_child_of_multiprocessing_leaves_its_rows_when_it_ends(tmp_path):
    with watcher_of_a_model(tmp_path) as monitor:
        log_some(monitor, 3)
        context = multiprocessing.get_context("fork")
        child = context.Process(target=log_some, args=(monitor, 7))
        child.start()
        child.join()
        assert child.exitcode == 0
        (path,) = tmp_path.iterdir()
        assert spool.read(path).rows == 7
        assert monitor.rows == 3


_CHILD = """
import multiprocessing, sys

def log_some(place):
    import numpy
    from trimtab.monitor.embed.embedded import Monitor
    from trimtab.monitor.embed import rows
    from trimtab.profile import reference as references
    reference = references.fit_reference({"x": numpy.arange(100.0)})
    monitor = Monitor.__new__(Monitor)
    layout = rows.layout_of(reference)
    subject = rows.Subject(reference=reference, layout=layout, model="a model", place=place)
    monitor._begin(subject, "1d", 10.0, 20_000)
    for _ in range(7):
        monitor.log({"x": 1.0}, 0.5)

if __name__ == "__main__":
    from pathlib import Path
    child = multiprocessing.get_context("fork").Process(target=log_some, args=(Path(sys.argv[1]),))
    child.start()
    child.join()
    sys.exit(child.exitcode)
"""


def test_a_child_that_makes_its_own_monitor_leaves_its_rows_when_it_ends(tmp_path):
    """Its parent has never heard of one, as that of a pool's workers."""
    script = tmp_path / "child.py"
    script.write_text(_CHILD)
    subprocess.run([sys.executable, str(script), str(tmp_path / "left")], check=True, timeout=60)
    (path,) = (tmp_path / "left").iterdir()
    assert spool.read(path).rows == 7


def test_what_was_closed_is_closed_in_a_forked_child():
    monitor = watcher()
    monitor.close()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            monitor.log(plain(ordinary(1))[0], 0.5)
            os.write(writer, b"taken")
        except UsageError:
            os.write(writer, f"refused, {monitor.rows}".encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 20) == b"refused, 0"


def test_a_monitor_that_nobody_holds_ends():
    monitor = watcher()
    before = {one for one in threading.enumerate() if one.name == "trimtab-monitor"}
    assert before
    del monitor
    gc.collect()
    end = time.monotonic() + 20
    while before & set(threading.enumerate()) and time.monotonic() < end:
        time.sleep(0.02)
    assert len(before & set(threading.enumerate())) < len(before)


class TestSpool:
    def part(self, rows=5, **more):
        bins = references.fit_reference(ordinary()).bins
        counted = profiles.count(bins, ordinary(rows, 9))
        return spool.Part(
            model="blake3:" + "1" * 64, start=0, end=10, rows=rows,
            profile=profiles.encode(counted), **more,
        )  # fmt: skip

    def test_a_part_reads_back(self, tmp_path):
        path = spool.write(tmp_path, self.part(dropped=3))
        assert spool.read(path) == self.part(dropped=3)

    def test_a_part_of_version_2_is_read(self):
        part = spool.read(Path(__file__).parents[3] / "golden" / "window-part-v2.bin")
        assert (part.start, part.end, part.rows) == (0, 86_400_000_000, 200)
        assert (part.newest, part.dropped) == (7, 3)
        assert profiles.decode(part.profile).rows == 200

    def test_parts_add_up_once_whatever_dies(self, tmp_path, monkeypatch):
        from trimtab.store import operations
        from trimtab.store.workspace import open_workspace

        ws = open_workspace(tmp_path, "demo")
        place = spool.folder(ws.root, "shop")
        spool.write(place, self.part(5))
        path = spool.write(place, self.part(7, dropped=2))
        kept = path.read_bytes()
        assert spool.take(ws, "shop") == [
            (
                "shop: 2 rows were dropped: more were logged than could be counted, or they could not be "
                "read, as that server's log says"
            )
        ]
        path.write_bytes(kept)  # a pass that died before it removed it
        assert spool.take(ws, "shop") == []
        (window,) = operations.windows(ws, endpoint="shop")
        assert (window.rows, window.features["dropped"]) == (12, 2)
        assert profiles.decode(ws.blobs.read(window.profile)).rows == 12
        ws.close()

    def test_rows_that_were_all_dropped_are_said_once_and_are_no_window(self, tmp_path, caplog):
        from trimtab.store import operations
        from trimtab.store.workspace import open_workspace

        ws = open_workspace(tmp_path, "demo")
        with caplog.at_level(logging.WARNING, "trimtab.monitor"):
            monitor = watcher_of_a_model(spool.folder(ws.root, "shop"))
            monitor.log(plain(ordinary(1))[0], [0.7, "yes"])
            monitor.flush()
            monitor.flush()
            monitor.close()
        assert caplog.text.count("1 rows were dropped") == 1
        (said,) = spool.take(ws, "shop")
        assert said.startswith("shop: 1 rows were dropped")
        assert operations.windows(ws, endpoint="shop") == []
        assert spool.take(ws, "shop") == []
        ws.close()

    def test_rows_of_a_version_that_is_not_watched_are_said(self, tmp_path):
        from trimtab.store import operations
        from trimtab.store.records import Endpoint
        from trimtab.store.workspace import open_workspace

        ws = open_workspace(tmp_path, "demo")
        routes = {"routes": [{"model": "blake3:" + "2" * 64, "label": "goods@v2"}]}
        operations.save_endpoint(
            ws, Endpoint(name="shop", target="embedded", state="embedded", routes=routes)
        )
        spool.write(spool.folder(ws.root, "shop"), self.part(5))
        (said,) = spool.take(ws, "shop")
        assert said.startswith("shop: 5 rows of another version are counted and not judged")
        assert "goods@v2" in said
        ws.close()

    def test_a_folder_of_another_user_stops_no_pass_and_counts_once(self, tmp_path, monkeypatch):
        from trimtab.store import operations
        from trimtab.store.workspace import open_workspace

        def refuse(path, *given, **named):
            raise PermissionError(13, "Permission denied", str(path))

        ws = open_workspace(tmp_path, "demo")
        place = spool.folder(ws.root, "shop")
        spool.write(place, self.part(5))
        with monkeypatch.context() as patched:
            patched.setattr(Path, "read_bytes", refuse)
            (said,) = spool.take(ws, "shop")
            assert "cannot be read and waits: Permission denied" in said
        with monkeypatch.context() as patched:
            patched.setattr(Path, "unlink", refuse)
            for rows in (5, 12, 12):
                (said,) = spool.take(ws, "shop")
                assert f"let the controller's user write in {place}" in said
                (window,) = operations.windows(ws, endpoint="shop")
                assert window.rows == rows
                if window.rows == 5:
                    spool.write(place, self.part(7))
        assert spool.take(ws, "shop") == []
        assert list(place.iterdir()) == []
        (window,) = operations.windows(ws, endpoint="shop")
        assert window.rows == 12
        ws.close()

    def test_a_damaged_part_is_put_aside_and_named(self, tmp_path):
        from trimtab.store.workspace import open_workspace

        ws = open_workspace(tmp_path, "demo")
        place = spool.folder(ws.root, "shop")
        path = spool.write(place, self.part())
        path.write_bytes(path.read_bytes()[:-3])
        (said,) = spool.take(ws, "shop")
        assert "put aside" in said
        assert [one.suffix for one in place.iterdir()] == [".damaged"]
        ws.close()


@pytest.mark.parametrize(
    ("shifts", "form", "since"),
    [
        ([0.8], "", 0),
        ([0, 0, 0, 0.8, 0.8], "sudden", 3),
        ([0] * 5 + [0.12 * step for step in range(1, 9)], "gradual", 5),
        ([0, 0, 0, 0.8, 0.8, 0, 0, 0, 0.8, 0.8], "recurring", 8),
        ([0, 0, 0, 0.8, 0.8, 0, 0], "sudden", 3),
    ],
    ids=["one window", "sudden", "gradual", "recurring", "over"],
)
def test_findings_say_how_a_change_came_over_the_windows_in_memory(
    monkeypatch, shifts, form, since
):
    clock = [1_780_272_000_000_000_000]
    monkeypatch.setattr("trimtab.ids.now_ns", lambda: clock[0])
    starts = []
    with watcher(window="1d") as monitor:
        for day, shift in enumerate(shifts):
            starts.append(clock[0] // 1000)
            monitor.log(ordinary(1500, 60 + day, shift=shift))
            clock[0] += 86_400_000_000_000
        (found,) = monitor.findings().findings
    assert (found.kind, found.form) == ("data drift", form)
    assert found.since in starts
    assert abs(starts.index(found.since) - since) <= 1
    said = f"Data drift ({form}" if form else "Data drift in "
    assert found.text.startswith(said)
    assert f"since {ids.iso(found.since)}: income" in found.text
    assert (episodes.AGAIN in found.text) == (shifts[-1] == 0)
    if form == "recurring":
        spell = (ids.iso(starts[3]), ids.iso(starts[5]))
        assert "as from {} to {}".format(*spell) in found.text
