import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.evaluate import mismatch


def test_right_shares_are_let_be_and_wrong_ones_found():
    assert mismatch.p_value(0, 0, 0.5) == 1.0
    assert mismatch.p_value(5_030, 10_000, 0.5) > 0.5
    assert mismatch.p_value(5_300, 10_000, 0.5) < mismatch.ALARM
    assert mismatch.p_value(600, 10_000, 0.05) < mismatch.ALARM
    assert mismatch.p_value(520, 10_000, 0.05) > 0.1


@given(n=st.integers(1, 10**7), share=st.floats(0.01, 0.99), part=st.floats(0, 1))
def test_a_p_value_is_a_probability(n, share, part):
    assert 0 <= mismatch.p_value(round(n * part), n, share) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.5, 0.05])
def test_looking_after_every_request_keeps_the_level(share):
    rng = np.random.default_rng(3)
    level, found = 0.05, 0
    for _ in range(200):
        fell = (rng.random(1000) < share).cumsum()
        found += any(mismatch.p_value(int(fell[n - 1]), n, share) < level for n in range(1, 1001))
    assert found / 200 <= level
