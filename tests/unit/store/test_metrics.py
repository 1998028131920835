"""Metric series: every bit comes back, in order, and damage is found."""

from __future__ import annotations

import json
import math
import struct
import zlib
from pathlib import Path

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from trimtab.errors import DataError, IntegrityError
from trimtab.store import metrics
from trimtab.store.records import Point
from trimtab.store.workspace import Workspace

GOLDEN = Path(__file__).parents[3] / "tests/golden"
INT64 = st.integers(-(2**63), 2**63 - 1)
points = st.builds(
    Point,
    key=st.text(st.characters(blacklist_categories=("Cs",)), max_size=8),
    step=INT64,
    time=INT64,
    value=st.binary(min_size=8, max_size=8).map(lambda data: struct.unpack("<d", data)[0])
    | st.floats(),
)


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


def exact(found: list[Point]) -> list[tuple]:
    return [(point.key, point.step, point.time, bits(point.value)) for point in found]


@given(st.lists(points, max_size=40))
def test_every_bit_comes_back(batch: list[Point]) -> None:
    assert exact(metrics.decode(metrics.encode(batch))) == exact(batch)


@given(st.lists(points, min_size=1, max_size=10), st.integers(0), st.integers(0, 7))
def test_a_changed_bit_is_found(batch: list[Point], position: int, bit: int) -> None:
    data = bytearray(metrics.encode(batch))
    data[position % len(data)] ^= 1 << bit
    with pytest.raises(IntegrityError):
        metrics.decode(bytes(data))


@given(st.binary(max_size=60))
def test_no_bytes_do_anything_but_refuse(data: bytes) -> None:
    for version in (b"1", b"2"):
        sealed = (_sealed(data, version), _sealed(zstandard.compress(data), version))
        for wrong in (data, b"TTM" + version + data, *sealed):
            with pytest.raises(IntegrityError):
                metrics.decode(wrong)


def _sealed(body: bytes, version: bytes = b"1") -> bytes:
    return b"TTM" + version + struct.pack("<I", zlib.crc32(body)) + body


@pytest.mark.parametrize(
    "change",
    [
        {"key": [1]},
        {"key": [-1]},
        {"step": []},
        {"value": b""},
        {"value": b"\0" * 16},
        {"time": ["x"]},
    ],
)
def test_columns_that_do_not_fit_are_refused(change: dict) -> None:
    right = {"keys": ["a"], "key": [0], "step": [1], "time": [1], "value": b"\0" * 8}
    assert metrics.decode(_sealed(zstandard.compress(msgspec.msgpack.encode(right))))
    wrong = msgspec.msgpack.encode(right | change)
    with pytest.raises(IntegrityError):
        metrics.decode(_sealed(zstandard.compress(wrong)))


def test_a_newer_format_says_so() -> None:
    with pytest.raises(IntegrityError, match="format") as caught:
        metrics.decode(b"TTM3" + metrics.encode([])[4:])
    assert "upgrade" in caught.value.hint


@pytest.mark.parametrize("version", [1, 2])
def test_the_golden_batches(version: int) -> None:
    words = json.loads((GOLDEN / "metric-batch-v1.json").read_text(encoding="utf-8"))
    found = metrics.decode((GOLDEN / f"metric-batch-v{version}.bin").read_bytes())
    assert [
        {"key": one.key, "step": one.step, "time": one.time, "bits": bits(one.value)[::-1].hex()}
        for one in found
    ] == words


def test_a_frame_that_does_not_state_its_length_is_read() -> None:
    body = metrics.encode([Point(key="a", step=1, time=2, value=3.0)])[8:]
    stream = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    again = stream.compress(zstandard.decompress(body)) + stream.flush()
    assert metrics.decode(_sealed(again, b"2")) == [Point(key="a", step=1, time=2, value=3.0)]


@pytest.mark.parametrize("step", [2**63, -(2**63) - 1])
def test_steps_and_times_are_int64(ws: Workspace, step: int) -> None:
    for wrong in (
        Point(key="a", step=step, time=0, value=1.0),
        Point(key="a", step=0, time=step, value=1.0),
    ):
        with pytest.raises(DataError, match="'a'"):
            metrics.append(ws, "r", [wrong])
    assert metrics.read(ws, "r") == []


def test_a_series_is_read_in_order(ws: Workspace, other: Workspace) -> None:
    made = [
        Point(key=key, step=step, time=9 - step, value=float(step))
        for step in (3, 1, 2)
        for key in "ba"
    ]
    metrics.append(ws, "r", made[:3])
    metrics.append(ws, "r", made[3:])
    metrics.append(ws, "r", [])
    metrics.append(ws, "other run", made)
    assert [point.step for point in metrics.read(ws, "r", "a")] == [1, 2, 3]
    assert [point.key for point in metrics.read(ws, "r")] == list("aaabbb")
    assert metrics.keys(ws, "r") == ["a", "b"]
    assert metrics.read(ws, "r", "c") == metrics.read(other, "r") == []


def test_the_latest_is_of_the_highest_step_then_time_then_the_greatest(ws: Workspace) -> None:
    for step, time, value in ((2, 5, 1.0), (2, 6, 4.0), (1, 9, 9.0), (2, 6, math.nan), (2, 6, 2.0)):
        metrics.append(ws, "r", [Point(key="a", step=step, time=time, value=value)])
    assert metrics.latest(ws, "r") == {"a": 4.0}
    assert metrics.latest(ws, "nobody") == {}
