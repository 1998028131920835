"""The ring of logged rows: each row comes out once, whole, and no more than there is room for."""

from __future__ import annotations

import threading

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trimtab.monitor.ring import Ring


def ring(enough=4, limit=10):
    refused = []
    made = Ring(enough, limit, lambda rows, predictions: refused.append((rows, predictions)))
    return made, refused


def test_a_row_waits_with_its_answer_and_the_time_of_the_last_look():
    waiting, refused = ring()
    row = {"a": 1.0}
    waiting.log(row, 0.5)
    row["a"] = 2.0
    waiting.add(np.arange(2.0), None, 7)
    taken = waiting.take(10)
    assert (taken.rows[0], taken.answers, taken.times[1]) == ({"a": 1.0}, [0.5, None], 7)
    assert taken.of(dict).rows == [{"a": 1.0}]
    assert taken.of(np.ndarray).times == [7]
    assert (len(waiting), refused) == (0, [])


def test_what_is_no_row_with_an_answer_goes_the_slow_way():
    waiting, refused = ring()
    odd = [({"a": 1.0}, None), ([{"a": 1.0}], [0.5]), ({"a": [1.0]}, np.ones(1)), (np.ones(2), 0.5)]
    for rows, predictions in odd:
        waiting.log(rows, predictions)
    assert [rows for rows, _ in refused] == [rows for rows, _ in odd]
    assert len(waiting) == 0


@given(
    enough=st.integers(1, 6),
    more=st.integers(0, 6),
    steps=st.lists(st.one_of(st.just("log"), st.integers(0, 8)), max_size=60),
)
def test_rows_come_out_once_and_in_order_and_the_alarm_rings_when_enough_wait(enough, more, steps):
    waiting, refused = ring(enough, enough + more)
    logged, taken, kept = 0, [], 0
    for step in steps:
        if step == "log":
            logged += 1
            waiting.log({"number": logged}, 0.5)
            kept += kept < enough + more
            assert waiting.alarm.is_set() or kept < enough, "as soon as enough wait"
        else:
            waiting.alarm.clear()
            some = waiting.take(step)
            kept -= len(some.rows)
            taken += [row["number"] for row in some.rows]
            assert len(some.answers) == len(some.times) == len(some.rows) <= step
            while len(waiting) >= enough:  # the thread goes on until nothing waits
                taken += [row["number"] for row in waiting.take(3).rows]
                kept = len(waiting)
        assert len(waiting) == kept
    taken += [row["number"] for row in waiting.take(100).rows]
    lost = [row["number"] for row, _ in refused]
    assert taken == sorted(taken)
    assert sorted(taken + lost) == list(range(1, logged + 1))


def test_many_threads_and_one_that_takes_lose_and_double_nothing():
    waiting, refused = ring(64, 100_000)
    taken = []

    def work(who):
        for number in range(4_000):
            waiting.log({"who": who, "number": number}, 0.5)

    threads = [threading.Thread(target=work, args=(who,)) for who in range(4)]
    for one in threads:
        one.start()
    while any(one.is_alive() for one in threads) or len(waiting):
        some = waiting.take(50)
        assert all(answer == 0.5 for answer in some.answers)
        taken += [(row["who"], row["number"]) for row in some.rows]
    assert refused == []
    for who in range(4):
        assert [number for one, number in taken if one == who] == list(range(4_000))


def test_after_the_end_every_row_goes_the_slow_way():
    waiting, refused = ring()
    waiting.log({"a": 1.0}, 0.5)
    waiting.shut()
    for _ in range(6):
        waiting.log({"a": 1.0}, 0.5)
        waiting.look()
    assert (len(waiting.take(10).rows), len(refused)) == (1, 6)
    waiting.log({"a": 1.0}, 0.5)
    assert len(refused) == 7
