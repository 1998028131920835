"""Groups of a column: complete, disjoint, named as text."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trimtab.evaluate.policy import MAX_GROUPS
from trimtab.evaluate.scored import Scored
from trimtab.evaluate.slices import groups

VALUES = st.one_of(st.none(), st.text(max_size=3), st.integers(-2, 2), st.just(float("nan")))


def table(values: list[object]) -> Scored:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return Scored("binary", None, None, np.zeros(len(values), dtype=bool), slices={"c": column})


@given(st.lists(VALUES, max_size=40))
def test_groups_share_out_the_rows_in_order(values) -> None:
    found = groups(table(values), "c")
    together = np.concatenate([group.index for group in found]) if found else np.array([])
    assert sorted(together) == list(range(len(values)))
    assert all((np.diff(group.index) > 0).all() for group in found)
    assert [group.value for group in found] == sorted({group.value for group in found})


def test_missing_values_are_a_group() -> None:
    found = groups(table(["A", None, float("nan"), "A", 3]), "c")
    assert [(group.name, group.rows) for group in found] == [("c=3", 1), ("c=A", 2), ("c=null", 2)]


def test_only_the_largest_of_very_many_are_kept() -> None:
    found = groups(table([f"v{i}" for i in range(300)] + ["big"] * 60), "c")
    assert len(found) == MAX_GROUPS
    assert {group.value: group.rows for group in found}["big"] == 60
    assert [group.value for group in found if group.is_judged] == ["big"]
