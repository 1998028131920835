"""Fields of requests, limits of texts, tokens of pages."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.interop.mlflow import limits, pages, wire
from trimtab.interop.mlflow.fault import STATUS, Fault
from trimtab.interop.mlflow.files import checked
from trimtab.interop.mlflow.wire import Asked


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [(1, 1), ("7", 7), ("-7", -7), (5.0, 5), (2**63 - 1, 2**63 - 1), (str(-(2**63)), -(2**63))],
)
def test_integers(given_value, expected):
    assert Asked({"x": given_value}).integer("x") == expected


@pytest.mark.parametrize("value", [1.5, "1.5", 2**63, True, [1], {}, "x", "१", "9" * 30, "--1"])
def test_what_is_no_integer(value):
    with pytest.raises(Fault, match="Invalid value .* for parameter 'x' supplied"):
        Asked({"x": value}).integer("x")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, 1.0), (True, 1.0), ("1.5", 1.5), ("Infinity", math.inf), ("-Infinity", -math.inf)],
)
def test_numbers(value, expected):
    assert Asked({"x": value}).number("x") == expected


def test_nan_in_either_spelling():
    assert math.isnan(Asked({"x": "NaN"}).number("x"))
    assert math.isnan(wire.body(b'{"x": NaN}').number("x"))
    assert wire.body(b'{"x": -Infinity}').number("x") == -math.inf


@pytest.mark.parametrize("value", ["abc", "1e999", [1], {}, 10**400])
def test_what_is_no_number(value):
    with pytest.raises(Fault):
        Asked({"x": value}).number("x")


@pytest.mark.parametrize("name", ["text", "integer", "number"])
def test_what_has_to_be_there(name):
    needed = {} if name == "number" else {"needed": True}
    with pytest.raises(Fault, match="Missing value for required parameter 'x'"):
        getattr(Asked({}), name)("x", **needed)


@pytest.mark.parametrize("data", [b"{", b"[]", b"5", b'{"x": 1e400}', b"\xff", b"[" * 100_000])
def test_bodies_that_are_none(data):
    with pytest.raises(Fault):
        wire.body(data)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_body_or_a_fault(data):
    with contextlib.suppress(Fault):
        assert isinstance(wire.body(data).fields, dict)


def test_what_leaves():
    assert wire.number(1.5) == 1.5
    assert wire.number(math.nan) == "NaN"
    assert wire.number(-math.inf) == -1.7976931348623157e308
    assert wire.encode({"a": 9_007_199_254_740_993}) == b'{"a":9007199254740993}'


def test_no_fault_of_a_request_is_tried_again():
    again = {408, 429, 500, 502, 503, 504}
    ours = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE"}
    assert {code for code, status in STATUS.items() if status in again} == ours


@pytest.mark.parametrize("key", ["a", "a/b", "größe", "a b", "a:b", "a.b-c_d", "k" * 250])
def test_keys(key):
    assert limits.name(key, "key", "key") == key
    assert limits.is_name(key)


@pytest.mark.parametrize("key", ["a//b", "../a", "/a", ".", "a/", "a%", "k" * 251, "a\n", "a\0"])
def test_what_is_no_key(key):
    with pytest.raises(Fault):
        limits.name(key, "key", "key")
    assert not limits.is_name(key)


@pytest.mark.parametrize("alias", ["", "a b", "latest", "LATEST", "v1", "V22", "a" * 256, "a/b"])
def test_what_is_no_alias(alias):
    with pytest.raises(Fault):
        limits.alias(alias)


def test_pages():
    found, token = pages.page(list(range(5)), 2, "")
    assert (found, pages.start(token)) == ([0, 1], 2)
    found, token = pages.page(list(range(5)), 2, pages.after(4))
    assert (found, token) == ([4], "")


@given(st.text(max_size=40))
def test_any_text_is_a_token_or_a_fault(token):
    with contextlib.suppress(Fault):
        assert pages.start(token) >= 0


@pytest.mark.parametrize("path", ["", "a", "a/b.txt", "größe/x y.txt", "a%20b"])
def test_paths(path):
    assert checked(path) == path


@pytest.mark.parametrize(
    "path",
    [
        *("..", "a/../b", "/a", "a//b", "a/", "./a", "a\0b", "a\\b", "c:/x", "%2e%2e/x", "a%2Fb"),
        *("a\nb", "x" * 256, "/".join("a" * 65)),
    ],
)
def test_what_is_no_path(path):
    with pytest.raises(Fault):
        checked(path)
