"""Values survive the store unchanged, and what cannot be stored says what to return instead."""

from __future__ import annotations

import datetime
import math
from pathlib import Path
from typing import Any as Project

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal, assert_series_equal

from trimtab.errors import IntegrityError, PipelineError
from trimtab.pipeline import codecs, outputs, values
from trimtab.pipeline.outputs import Outputs
from trimtab.store import trees


def through(project: Project, value):
    stored = outputs.store(project.ws, value)
    assert outputs.store(project.ws, value) == stored  # the same value, the same digest
    return outputs.load(project.ws, Outputs((stored.digest,), (stored.codec,)))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.slow
@given(json_values)
@settings(max_examples=200, deadline=None)
def test_json_gives_back_exactly_the_value(value) -> None:
    codec = codecs.find(value)
    back = codec.decode(codec.encode(value))
    assert repr(back) == repr(value)


@pytest.mark.parametrize("value", ["", "text \ud800 \r\n", b"", b"\0\xff", None, math.inf, 2**80])
def test_text_bytes_and_scalars(project: Project, value) -> None:
    back = through(project, value)
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        np.arange(6, dtype=np.int16).reshape(2, 3),
        np.array([1.5, np.nan]),
        np.array(["a", "bc"]),
        np.float32(1.5),
        np.array([], dtype=bool),
        np.array(["2024-01-01"], dtype="datetime64[us]"),
    ],
)
def test_numpy(project: Project, value) -> None:
    back = through(project, value)
    assert type(back) is type(value)
    assert back.dtype == value.dtype
    np.testing.assert_array_equal(back, value)
    if isinstance(back, np.ndarray) and back.size:
        back[...] = back  # a step may write into what it gets


def test_frames(project: Project) -> None:
    frame = pl.DataFrame(
        {
            "a": [1, None],
            "t": [datetime.datetime(2024, 1, 1), None],
            "s": ["x", ""],
            "l": [[1], []],
            "c": pl.Series(["x", "y"], dtype=pl.Categorical),
        }
    )
    assert_frame_equal(through(project, frame), frame)
    assert_frame_equal(through(project, frame.clear()), frame.clear())
    assert_series_equal(through(project, frame["a"]), frame["a"])


def test_files_and_folders(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "report.txt"
    file.write_text("hello")
    back = through(project, file)
    assert back.name == "report.txt"
    assert back.read_text() == "hello"
    assert back != file
    folder = tmp_path / "plots"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a.bin").write_bytes(b"1")
    assert (through(project, folder) / "deep" / "a.bin").read_bytes() == b"1"
    with pytest.raises(PipelineError, match="does not exist"):
        outputs.store(project.ws, tmp_path / "nothing")


class Odd:
    pass


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (Odd(), "return a polars frame"),
        (pl.DataFrame({"a": [1]}).lazy(), "call .collect()"),
        (np.array([object()]), "an array of objects cannot be stored"),
        ({"a": Odd()}, "inside of dicts and lists only"),
        ({1: 2}, "inside of dicts and lists only"),
        ({"a": (1, 2)}, "inside of dicts and lists only"),
    ],
)
def test_what_cannot_be_stored_is_told(project: Project, value, hint) -> None:
    with pytest.raises(PipelineError, match="cannot store a") as caught:
        outputs.store(project.ws, value)
    assert hint in caught.value.hint


def test_damaged_bytes_are_never_a_result(project: Project) -> None:
    for value in ({"a": 1}, pl.DataFrame({"a": [1, 2]})):
        stored = outputs.store(project.ws, value)
        for digest in project.ws.blobs.digests():
            path = project.ws.blobs.path(digest)
            path.chmod(0o644)
            path.write_bytes(path.read_bytes()[:-1] + b"?")
        with pytest.raises(IntegrityError):
            outputs.load(project.ws, Outputs((stored.digest,), (stored.codec,)))


def test_values_of_two_kinds_are_never_the_same_bytes(project: Project) -> None:
    stored = [outputs.store(project.ws, value) for value in (1, "1", b"1", "json\n1", b"text\n1")]
    assert len({one.digest for one in stored}) == len(stored)
    number, raw = stored[0], stored[2]
    with pytest.raises(IntegrityError, match="no value of codec 'bytes'"):
        outputs.load(project.ws, Outputs((number.digest,), (raw.codec,)))


@pytest.mark.parametrize("value", [{"a": [1, None]}, "né", b"\0\n"])
def test_small_values_in_a_tree_as_stores_of_before_had_them_are_read(
    project: Project, value
) -> None:
    codec = codecs.find(value)
    assert codecs.is_small(codec)
    file = project.ws.blobs.put(codec.encode(value))
    tree = trees.put_files(project.ws.blobs, {codec.file: file})
    assert outputs.load(project.ws, Outputs((tree,), (codec.name,))) == value


def digest(value) -> str:
    return values.digest(value, lambda code: getattr(code, "__qualname__", "?"), pytest.fail)


@pytest.mark.slow
@given(json_values, json_values)
@settings(max_examples=200, deadline=None)
def test_digests_of_values_agree_exactly_where_the_values_do(one, two) -> None:
    assert (digest(one) == digest(two)) == (repr(one) == repr(two))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (1, True),
        (1, 1.0),
        ([1], (1,)),
        ({1: 2}, {1: 3}),
        ({1, 2}, {1, 3}),
        ("1", b"1"),
        (np.array([1]), np.array([1], dtype=np.int8)),
        (np.array([[1, 2]]), np.array([1, 2])),
        (Path("a"), "a"),
        (datetime.date(2024, 1, 1), datetime.date(2024, 1, 2)),
        ([[], [1]], [[1], []]),
    ],
)
def test_values_that_differ_have_other_digests(one, two) -> None:
    assert digest(one) != digest(two)


def test_sharing_inside_a_value_does_not_count() -> None:
    shared = [1, {"a": 2}]
    assert digest([shared, shared]) == digest([[1, {"a": 2}], [1, {"a": 2}]])


@pytest.mark.slow
def test_a_value_without_end_is_told() -> None:
    said = []
    values.digest(list(range(values.MAX_PARTS + 1)), str, said.append)
    assert "more than" in said[0]


def test_a_value_that_holds_itself_has_a_digest() -> None:
    loop: list = [1]
    loop.append(loop)
    other: list = [1, [1]]
    assert digest(loop) != digest(other)
