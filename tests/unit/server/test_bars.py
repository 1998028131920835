import math

from hypothesis import given
from hypothesis import strategies as st

from trimtab.config import Requirement
from trimtab.server.bars import WIDTH, bar, scale
from trimtab.store.records import Verdict

AUC = Requirement(metric="roc_auc", min=0.76)


def verdict(value, lo=None, hi=None, **given_fields):
    return Verdict(
        id="1", requirement="", text="roc_auc >= 0.76", metric="roc_auc", subject="", place="gate",
        status="pass", reason="", value=value, lo=lo, hi=hi, **given_fields,
    )  # fmt: skip


def test_the_bound_the_interval_and_the_value_stand_in_order():
    one = verdict(0.80, 0.78, 0.82)
    drawn = bar(AUC, one, scale(AUC, [one]))
    assert drawn.bounds[0] < drawn.lo < drawn.value < drawn.hi
    assert drawn.allowed == (drawn.bounds[0], WIDTH - 4)
    assert "0.8 [0.78, 0.82]" in drawn.label


def test_an_upper_bound_allows_what_is_left_of_it():
    latency = Requirement(metric="latency_ms", quantile="p99", max=20.0)
    one = verdict(8.0, 7.0, 9.0)
    drawn = bar(latency, one, scale(latency, [one]))
    assert drawn.allowed == (4, drawn.bounds[0])
    assert drawn.hi < drawn.bounds[0]


def test_one_scale_serves_all_places():
    far, near = verdict(0.6, 0.5, 0.7), verdict(0.8, 0.79, 0.81)
    on = scale(AUC, [far, near])
    assert bar(AUC, far, on).bounds == bar(AUC, near, on).bounds
    assert bar(AUC, far, on).value < bar(AUC, near, on).value


def test_an_interval_without_an_end_is_cut_and_not_closed():
    one = verdict(0.8, -math.inf, math.inf)
    drawn = bar(AUC, one, scale(AUC, [one]))
    assert drawn.cut_lo
    assert drawn.cut_hi


def test_what_was_not_measured_is_not_drawn():
    for one in (verdict(None), verdict(math.nan)):
        assert scale(AUC, [one]) is None
        assert bar(AUC, one, None) is None
    assert bar(AUC, None, scale(AUC, [verdict(1.0)])) is None


def test_a_requirement_that_is_gone_still_shows_what_was_measured():
    one = verdict(0.8, 0.7, 0.9)
    drawn = bar(None, one, scale(None, [one]))
    assert drawn.bounds == []
    assert drawn.lo < drawn.value < drawn.hi


numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(st.tuples(numbers, numbers, numbers), numbers)
def test_everything_stays_on_the_strip(ends, bound):
    lo, value, hi = sorted(ends)
    wanted = Requirement(metric="mae", max=bound)
    one = verdict(value, lo, hi)
    drawn = bar(wanted, one, scale(wanted, [one]))
    places = [*drawn.allowed, *drawn.bounds, drawn.lo, drawn.value, drawn.hi]
    assert all(0 <= place <= WIDTH for place in places)
    assert drawn.lo <= drawn.value <= drawn.hi
