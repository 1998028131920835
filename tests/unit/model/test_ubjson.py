"""UBJSON is looked through: what is whole passes, no claim beyond the end does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.model import ubjson


def key(name):
    return b"i" + bytes([len(name)]) + name


@pytest.mark.parametrize(
    "body",
    [
        b"",
        key(b"a") + b"Z" + key(b"b") + b"T" + key(b"c") + b"i\x05",
        key(b"a") + b"Si\x03abc" + key(b"n") + b"Hi\x011",
        key(b"a") + b"[i\x01I\x00\x02d\x00\x00\x00\x00]",
        key(b"a") + b"[$d#i\x02" + b"\x00" * 8,
        key(b"a") + b"[$d#L" + b"\x00" * 8,
        key(b"a") + b"[#i\x02TF",
        key(b"a") + b"{" + key(b"b") + b"[[]]}",
        key(b"a") + b"{#i\x01" + key(b"b") + b"D" + b"\x00" * 8,
        key(b"a") + b"[$[#i\x02]]",
    ],
)
def test_what_is_whole_passes(body):
    assert ubjson.is_object(b"{" + body + b"}")
    for cut in range(len(body) + 1):
        assert not ubjson.is_object((b"{" + body + b"}")[:cut])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}}",
        b"{" + key(b"a") + b"?" + b"}",
        b"{" + key(b"a") + b"[$d#l\x80\x00\x00\x00" + b"}",
        b"{" + key(b"a") + b"[$d#L\x00\x00\x00\x00\x80\x00\x00\x00" + b"\x00" * 64 + b"}",
        b"{" + key(b"a") + b"[$Z#L\x00\x00\x00\x00\x80\x00\x00\x00" + b"}",
        b"{" + key(b"a") + b"SL\x7f" + b"\xff" * 7 + b"}",
        b"{" + key(b"a") + b"[$d" + b"}",
        b"{" + key(b"a") + b"[" * 100_000,
    ],
    ids=[
        "empty", "no object", "more", "no kind", "negative", "gigabytes", "of nothing", "a text",
        "no count", "deep",
    ],
)  # fmt: skip
def test_what_is_not_there_is_refused(data):
    assert not ubjson.is_object(data)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=60))
def test_any_bytes_are_answered(data):
    assert ubjson.is_object(b"{" + data) in {True, False}
