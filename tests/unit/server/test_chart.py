import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trimtab.server.chart import HEIGHT, STRETCHES, WIDTH, chart, drawn
from trimtab.store.series.chart import curve
from trimtab.store.series.points import Series


def points(values, step=True):
    at = np.arange(len(values))
    series = Series(at if step else at * 0, at, np.array(values, dtype=np.float64))
    return curve("loss", series, stretches=STRETCHES, by="step" if step else "time")


def test_a_series_becomes_a_line_with_its_ends():
    drawn = chart(points([3.0, 2.0, 1.0]))
    assert (drawn.last, drawn.low, drawn.high) == ("1", "1", "3")
    assert drawn.lines == ["6.0,6.0 160.0,48.0 314.0,90.0"]
    assert drawn.steps == "steps 0 to 2"


def test_a_series_without_steps_is_drawn_against_time():
    drawn = chart(points([1.0, 2.0], step=False))
    assert drawn.lines == ["6.0,90.0 314.0,6.0"]
    assert drawn.steps == "2 points"


def test_a_constant_and_a_single_point_lie_in_the_middle():
    assert chart(points([5.0, 5.0])).lines == ["6.0,48.0 314.0,48.0"]
    assert chart(points([5.0])).dots == [(160.0, 48.0)]


def test_a_series_without_a_finite_value_has_no_range():
    drawn = chart(points([math.nan, math.inf, -math.inf]))
    assert (drawn.low, drawn.high, drawn.lines, drawn.dots) == ("–", "–", [], [])
    assert drawn.last == "-∞"


def test_a_series_breaks_where_it_is_not_finite():
    drawn = chart(points([1.0, 2.0, math.nan, 3.0, math.inf, 4.0, 5.0]))
    assert len(drawn.lines) == 2
    assert len(drawn.dots) == 2


def test_a_series_of_nothing_finite_is_an_empty_picture():
    drawn = chart(points([math.nan, math.inf]))
    assert drawn.lines == []
    assert drawn.last == "∞"


@given(st.lists(st.floats(-1e9, 1e9) | st.just(math.nan), min_size=1, max_size=3000))
def test_thinning_keeps_order_ends_and_extremes(values):
    kept = drawn(points(values))
    assert len(kept) <= 600
    assert [at for at, _ in kept] == sorted({at for at, _ in kept})
    assert kept[0][0] == 0
    assert kept[-1][0] == len(values) - 1
    finite = [value for value in values if math.isfinite(value)]
    if finite:
        shown = [value for _, value in kept if math.isfinite(value)]
        assert min(shown) == min(finite)
        assert max(shown) == max(finite)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=2, max_size=50))
def test_every_point_is_inside_of_the_picture(values):
    drawn = chart(points(values))
    places = [pair.split(",") for line in drawn.lines for pair in line.split()]
    places += [(str(x), str(y)) for x, y in drawn.dots]
    assert all(0 <= float(x) <= WIDTH and 0 <= float(y) <= HEIGHT for x, y in places)
