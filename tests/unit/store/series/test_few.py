"""A few points are the same bytes whichever way they are encoded."""

from __future__ import annotations

import math
import struct

from hypothesis import given
from hypothesis import strategies as st

from trimtab.store.series import batch, few, points

INT64 = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.binary(min_size=8, max_size=8).map(lambda data: struct.unpack("<d", data)[0])
ROW = st.tuples(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf]) | FLOATS,
    st.integers(0, 9) | INT64,
    st.integers(-3, 3) | INT64,
)


@given(st.lists(ROW, min_size=1, max_size=40))
def test_the_bytes_are_those_of_arrays(rows):
    found = few.encode(rows)
    assert found == batch.encode(points.of_rows(rows))
    back = batch.decode(found)
    assert [back.keys[number] for number in back.key] == [row[0] for row in rows]
    assert back.points.step.tolist() == [row[3] for row in rows]
    assert back.points.time.tolist() == [row[2] for row in rows]
    assert back.points.value.tobytes() == struct.pack(f"<{len(rows)}d", *[row[1] for row in rows])
