"""A retrain waits for a change that still goes on, and for nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.loop.candidate.settling import Value, judge

DAY = 86_400_000_000
ERROR = 0.027


def course(values, seed=0):
    noise = np.random.default_rng(seed).normal(0, ERROR, len(values))
    return [
        Value(day * DAY, (day + 1) * DAY, float(value + off), ERROR)
        for day, (value, off) in enumerate(zip(values, noise, strict=True))
    ]


def test_a_sudden_change_has_settled_where_it_began() -> None:
    settled = [
        judge(course([0.8] * 20 + [0.4] * 3, seed), 20 * DAY - DAY // 20) for seed in range(200)
    ]
    assert sum(one.waits == "" for one in settled) >= 190
    assert all(one.since == 20 * DAY - DAY // 20 for one in settled if not one.waits)


def test_the_window_in_which_it_was_noticed_says_nothing_of_before() -> None:
    values = [0.8] * 20 + [0.55] + [0.4] * 2
    assert judge(course(values), 20 * DAY + DAY // 3).waits == ""


@pytest.mark.parametrize("noticed", [4, 6, 8])
def test_a_gradual_change_is_waited_for_and_taught_from_its_end(noticed) -> None:
    """A ramp of 14 days from day 20 on, noticed some days into it."""
    ramp = [0.8 - 0.4 * min(max(day - 19, 0) / 14, 1) for day in range(45)]
    early = late = 0
    for seed in range(100):
        found = course(ramp, seed)
        since = (20 + noticed) * DAY
        first = next(
            last for last in range(20 + noticed, 45) if not judge(found[: last + 1], since).waits
        )
        early += first < 31
        late += first > 42
        assert judge(found[: first + 1], since).since >= since
    assert early <= 3
    assert late <= 5


def test_a_change_that_never_ends_is_not_waited_for_for_ever() -> None:
    ramp = [0.9] * 10 + [0.9 - 0.02 * day for day in range(40)]
    assert judge([*course(ramp)][: 14 + 20], 14 * DAY).waits
    assert not judge([*course(ramp)][: 14 + 21], 14 * DAY).waits


def test_a_young_model_and_one_without_labels_are_not_waited_for() -> None:
    assert judge([], 5 * DAY).waits == ""
    assert judge(course([0.8, 0.7, 0.6, 0.5, 0.4]), 3 * DAY).waits == ""
