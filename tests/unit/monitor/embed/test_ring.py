"""The ring of logged rows: each row comes out once, whole, and no more than there is room for."""

from __future__ import annotations

import struct
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.monitor.embed.ring import Ring
from trimtab.monitor.embed.rows import Layout, from_packed

ONE = Layout(numbers=("number",), words=(), order=("number",))
MIXED = Layout(numbers=("who", "number"), words=("town",), order=("who", "number", "town"))


class Made:
    """A ring with what it refused and how often it called."""

    def __init__(self, layout=ONE, enough=4, limit=10):
        self.layout, self.refused, self.calls = layout, [], 0
        self.ring = Ring(layout, (enough, limit), self.refuse, self.wake)

    def refuse(self, rows, predictions):
        self.refused.append((rows, predictions))

    def wake(self):
        self.calls += 1

    def numbers(self, most=1_000):
        """What comes out, packed rows first."""
        packed, odd = self.ring.take(most), self.ring.take_odd(most)
        columns = from_packed(self.layout, packed.numbers, packed.words)
        return columns["number"].tolist() + [row["number"] for row in odd.rows]


def test_a_row_waits_packed_with_its_answer_and_the_time_of_the_last_look():
    made = Made(MIXED)
    row = {"number": 2, "town": "A", "another": [1], "who": 1.5}
    made.ring.log(row, 0.5)
    row["number"] = 3.0
    made.ring.log({"who": True, "number": np.float32(0.5), "town": None}, "yes")
    taken = made.ring.take(10)
    assert taken.numbers == [struct.pack("2d", 1.5, 2.0), struct.pack("2d", 1.0, 0.5)]
    assert (taken.answers, taken.words) == ([0.5, "yes"], [["A", None]])
    assert taken.times[0] == taken.times[1] > 0
    assert (len(made.ring), made.refused, made.ring.take(1).words) == (0, [], [[]])


@pytest.mark.parametrize("numbers", [(), ("a",), ("a", "b")], ids=["none", "one", "two"])
@pytest.mark.parametrize("words", [(), ("c",), ("c", "d")], ids=["none", "one", "two"])
def test_any_layout_packs_and_unpacks(numbers, words):
    layout = Layout(numbers=numbers, words=words, order=numbers + words)
    made = Made(layout)
    for value in (1.0, 2.0, 3.0):
        made.ring.log(dict.fromkeys(numbers, value) | dict.fromkeys(words, f"{value}"), 0)
    taken = made.ring.take(10)
    found = from_packed(layout, taken.numbers, taken.words)
    assert {name: found[name].tolist() for name in numbers} == {
        name: [1.0, 2.0, 3.0] for name in numbers
    }
    assert {name: found[name].tolist() for name in words} == {
        name: ["1.0", "2.0", "3.0"] for name in words
    }


@pytest.mark.parametrize("odd", [None, "many", [1], 10**400], ids=["null", "text", "list", "huge"])
def test_what_cannot_be_packed_is_copied_as_it_is(odd):
    made = Made()
    row = {"number": odd}
    made.ring.log(row, 0.5)
    row["number"] = 1.0
    made.ring.log({}, 0.5)
    made.ring.add(np.arange(2.0), None, 7)
    assert (len(made.ring), made.ring.take(10).times, made.refused) == (3, [], [])
    taken = made.ring.take_odd(10)
    assert taken.rows[:2] == [{"number": odd}, {}]
    assert (taken.answers, taken.times[2]) == ([0.5, 0.5, None], 7)
    assert taken.of(dict).rows == [{"number": odd}, {}]
    assert taken.of(np.ndarray).times == [7]
    assert (len(made.ring), made.ring.take_odd(10).rows) == (0, [])


def test_what_is_no_row_with_an_answer_goes_the_slow_way():
    made = Made()
    odd = [
        ({"number": 1.0}, None),
        ([{"number": 1.0}], [0.5]),
        ({"number": [1.0]}, np.ones(1)),
        (np.ones(2), 0.5),
    ]
    for rows, predictions in odd:
        made.ring.log(rows, predictions)
    assert [rows for rows, _ in made.refused] == [rows for rows, _ in odd]
    assert len(made.ring) == 0


@given(
    enough=st.integers(1, 6),
    more=st.integers(0, 6),
    steps=st.lists(st.one_of(st.sampled_from(["log", "odd"]), st.integers(0, 8)), max_size=60),
)
def test_rows_come_out_once_and_in_order_and_it_calls_when_enough_wait(enough, more, steps):
    made = Made(enough=enough, limit=enough + more)
    logged, taken, kept, called = 0, [], 0, False
    for step in steps:
        if isinstance(step, str):
            logged += 1
            before = made.calls
            made.ring.log({"number": logged if step == "log" else 10**400 * logged}, 0.5)
            kept += kept < enough + more
            assert made.calls - before == (kept >= enough and not called), "once, when enough wait"
            called = kept >= enough
        else:
            some = made.numbers(step)
            kept -= len(some)
            taken += some
            called = kept >= enough
        assert len(made.ring) == kept
    taken += made.numbers()
    every = taken + [row["number"] for row, _ in made.refused]
    plain = [one for one in taken if one < 100]
    assert plain == sorted(plain)
    assert sorted(one if one < 100 else one // 10**400 for one in every) == list(
        range(1, logged + 1)
    )


def test_it_calls_at_every_number_of_its_room_but_the_last():
    made = Made()
    made.ring = Ring(ONE, (2, 5, 6), made.refuse, made.wake)
    called = []
    for number in range(8):
        made.ring.log({"number": number}, 0.5)
        called.append(made.calls)
    assert called == [0, 1, 1, 1, 2, 2, 2, 2]
    assert (made.numbers(4), len(made.refused)) == ([0, 1, 2, 3], 2)
    assert made.calls == 4, "enough are left, for each of two takings"
    for number in range(3):
        made.ring.log({"number": number}, 0.5)
    assert made.calls == 5


def test_a_row_that_comes_while_others_are_taken_hides_no_later_call():
    made = Made()
    for number in range(4):
        made.ring.log({"number": number}, 0.5)
    said, near = [], made.ring._set_near

    def late(length):
        if not said:
            said.append(threading.Thread(target=made.ring.take, args=(100,)))
            said[0].start()
            said[0].join(0.2)
        near(length)

    made.ring._set_near = late
    made.ring.log({"number": 10**400}, 0.5)
    said[0].join()
    assert len(made.ring) == 1
    before = made.calls
    for number in range(3):
        made.ring.log({"number": number}, 0.5)
    assert (len(made.ring), made.calls - before) == (4, 1)


def test_a_hurried_ring_calls_at_the_next_row_alone():
    made = Made()
    made.ring.log({"number": 1}, 0.5)
    made.ring.hurry()
    assert made.calls == 0
    made.ring.log({"number": 2}, 0.5)
    made.ring.log({"number": 3}, 0.5)
    assert (made.calls, made.numbers()) == (1, [1, 2, 3])
    made.ring.hurry()
    made.numbers()
    made.ring.log({"number": 4}, 0.5)
    assert made.calls == 1, "what it hurried for was taken"


def test_many_threads_and_one_that_takes_lose_and_double_nothing():
    made = Made(MIXED, 64, 100_000)
    taken = []

    def work(who):
        for number in range(4_000):
            town = None if number % 7 else "A"
            made.ring.log({"who": who, "number": number, "town": town}, 0.5)

    threads = [threading.Thread(target=work, args=(who,)) for who in range(4)]
    for one in threads:
        one.start()
    while any(one.is_alive() for one in threads) or len(made.ring):
        some = made.ring.take(50)
        assert all(answer == 0.5 for answer in some.answers)
        assert all(time > 100 for time in some.times)
        columns = from_packed(MIXED, some.numbers, some.words)
        for who, number, town in zip(*(columns[name].tolist() for name in columns), strict=True):
            assert town == (None if number % 7 else "A")
            taken.append((who, number))
    assert made.refused == []
    for who in range(4):
        assert [number for one, number in taken if one == who] == list(range(4_000))


def test_after_the_end_every_row_goes_the_slow_way():
    made = Made()
    made.ring.log({"number": 1.0}, 0.5)
    made.ring.shut()
    for _ in range(6):
        made.ring.log({"number": 1.0}, 0.5)
        made.ring.look()
    assert (len(made.numbers()), len(made.refused)) == (1, 6)
    made.ring.log({"number": 1.0}, 0.5)
    assert len(made.refused) == 7
