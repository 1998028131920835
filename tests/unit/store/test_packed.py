"""Packed points are the dictionary that they were made of."""

from __future__ import annotations

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.store import packed
from trimtab.store.packed import Numbers, Points

keys = st.text(max_size=3)
whole = st.integers(-(2**63), 2**63 - 1)
numbers = st.dictionaries(keys, st.floats())
points = st.dictionaries(keys, st.tuples(st.floats(), whole, whole))


@given(st.one_of(st.tuples(st.just(Numbers), numbers), st.tuples(st.just(Points), points)))
def test_they_are_what_they_were_made_of(pair):
    kind, given = pair
    found = kind(given)
    assert repr(found) == repr(found.plain()) == repr(dict(found)) == repr(given)
    assert (len(found), list(found), bool(found)) == (len(given), list(given), bool(given))
    for key, value in given.items():
        assert key in found
        assert repr(found[key]) == repr(found.get(key)) == repr(value)
    assert "none of them" not in found
    assert found.get("none of them") is None
    with pytest.raises(KeyError):
        found["none of them"]


@given(st.lists(st.none() | numbers | points, max_size=6), keys)
def test_one_key_of_many(many, key):
    made = [
        None if one is None
        else (Points if any(isinstance(value, tuple) for value in one.values()) else Numbers)(one)
        for one in many
    ]  # fmt: skip
    plain = [None if one is None else one.get(key) for one in many]
    plain = [one[0] if isinstance(one, tuple) else one for one in plain]
    assert repr(packed.values(key, made)) == repr(plain)


def test_keys_are_shared_and_go_with_the_last_run_that_has_them():
    one, two = Numbers({"only here": 1.0}), Points({"only here": (1.0, 2, 3)})
    assert one.places is two.places
    del one, two
    gc.collect()
    assert ("only here",) not in packed._known
