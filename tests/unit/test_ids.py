"""Ids sort in the order they were made; times go there and back without loss."""

import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab import ids
from trimtab.errors import ConfigError

micros = st.integers(
    min_value=ids.from_datetime(datetime(1, 1, 2, tzinfo=UTC)),
    max_value=ids.from_datetime(datetime(9999, 12, 30, tzinfo=UTC)),
)


def test_ids_sort_in_the_order_they_were_made() -> None:
    made = [ids.new_id() for _ in range(20_000)]
    assert all(a < b for a, b in pairwise(made))


def test_an_id_is_a_uuid_of_version_7() -> None:
    before = time.time_ns() // 1_000_000
    made = ids.new_id()
    assert ids.is_id(made)
    assert made[12] == "7"
    assert made[16] in "89ab"
    # The counter may run ahead of the clock by the milliseconds that a burst of ids took.
    assert abs(int(made[:12], 16) - before) < 60_000


@pytest.mark.parametrize("count", [0, 1, 2, 33, 9_000])
def test_ids_of_a_batch_are_like_those_made_one_by_one(count: int) -> None:
    first, made, last = ids.new_id(), ids.new_ids(count), ids.new_id()
    assert len(set(made)) == count
    assert all(a < b for a, b in pairwise([first, *made, last]))
    assert all(ids.is_id(one) and one[12] == "7" and one[16] in "89ab" for one in made)
    assert all(abs(ids.made_at(one) - ids.made_at(first)) < 60_000_000 for one in made)


def test_an_id_tells_when_it_was_made() -> None:
    assert abs(ids.made_at(ids.new_id()) - ids.now()) < 60_000_000


def test_threads_never_share_an_id() -> None:
    made: list[list[str]] = [[] for _ in range(8)]

    def work(into: list[str]) -> None:
        into.extend(ids.new_id() for _ in range(2_000))

    threads = [threading.Thread(target=work, args=(one,)) for one in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one for part in made for one in part}) == 16_000
    assert all(part == sorted(part) for part in made)


def test_ids_keep_their_order_when_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    first = ids.new_id()
    monkeypatch.setattr(ids, "now_ns", lambda: 0)
    assert ids.new_id() > first


@pytest.mark.parametrize("text", ["", "a" * 31, "a" * 33, "A" * 32, "g" * 32, "a" * 32 + "\n"])
def test_what_is_no_id(text: str) -> None:
    assert not ids.is_id(text)


@given(micros)
def test_micros_to_datetime_and_back(value: int) -> None:
    moment = ids.to_datetime(value)
    assert moment.tzinfo is UTC
    assert ids.from_datetime(moment) == value


@given(micros)
def test_micros_to_text_and_back(value: int) -> None:
    text = ids.iso(value)
    assert text.endswith("Z")
    assert ("." in text) == (value % 1_000_000 != 0)
    assert ids.parse_time(text) == value


@given(st.datetimes(), st.integers(-14 * 60, 14 * 60))
def test_zones_do_not_change_the_moment(naive: datetime, offset: int) -> None:
    zone = timezone(timedelta(minutes=offset))
    there = naive.replace(tzinfo=zone)
    shifted = ids.from_datetime(naive) - offset * 60_000_000
    assert ids.from_datetime(there) == shifted


def test_a_naive_time_counts_as_utc() -> None:
    assert ids.from_datetime(datetime(1970, 1, 1, 0, 0, 1)) == 1_000_000
    assert ids.parse_time("1970-01-02") == 86_400_000_000
    assert ids.iso(0) == "1970-01-01T00:00:00Z"


def test_what_is_no_time() -> None:
    with pytest.raises(ValueError, match="isoformat"):
        ids.parse_time("yesterday")


def test_now_is_now() -> None:
    before = time.time_ns() // 1_000
    assert before <= ids.now() <= time.time_ns() // 1_000


_SAYS = """
import sys
from trimtab import ids
for line in sys.stdin:
    print(ids.now(), ids.new_id(), flush=True)
"""


def test_a_clock_file_moves_the_time_of_a_process_and_its_ids_still_ascend(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    ids.set_offset(clock, 0)
    env = {**os.environ, ids.CLOCK: str(clock)}
    day, made = 86_400_000_000, []
    with subprocess.Popen(
        [sys.executable, "-c", _SAYS], env=env, text=True, bufsize=1,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as child:  # fmt: skip
        assert child.stdin is not None
        assert child.stdout is not None
        for offset in (0, 20 * 7 * day, 20 * 7 * day - day // 24, -day):
            ids.set_offset(clock, offset)
            before = ids.now()
            child.stdin.write("\n")
            told, made_id = child.stdout.readline().split()
            assert before + offset <= int(told) <= ids.now() + offset
            made.append(made_id)
        child.stdin.close()
    assert made == sorted(made)
    # After the clock went back an id carries the latest time that there was.
    assert made[1][:12] <= made[3][:12]


@pytest.mark.parametrize("content", [None, b"1234"])
def test_a_clock_that_is_none_is_refused(tmp_path: Path, content: bytes | None) -> None:
    clock = tmp_path / "clock"
    if content is not None:
        clock.write_bytes(content)
    with pytest.raises(ConfigError, match="names no clock file"):
        ids._clock(str(clock))


def test_without_a_clock_file_time_costs_what_the_machines_costs() -> None:
    assert ids._clock("") is time.time_ns
