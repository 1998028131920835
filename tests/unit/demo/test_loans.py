from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy import stats

from trimtab.demo.loans import (
    AFTER,
    BEFORE,
    CALM,
    NEIGHBOURHOODS,
    NUMBERS,
    PURPOSES,
    SHIFTED,
    WORDS,
    World,
    as_first_delivered,
    log_odds,
)

WORLD = World(seed=7)
LIVE = [
    "application_id",
    "applied_at",
    "group",
    "neighbourhood",
    *NUMBERS,
    *WORDS,
    "repaid",
]
LAWS = {"calm": BEFORE, "covariate": BEFORE, "concept": AFTER, "both": AFTER}


@pytest.fixture(scope="module")
def past():
    return WORLD.history(40_000)


@pytest.fixture(scope="module")
def live():
    return {shift: WORLD.applications(0, 40_000, shift=shift) for shift in LAWS}


def test_the_same_seed_gives_the_same_rows():
    assert_frame_equal(WORLD.history(500), World(seed=7).history(500))
    again = World(seed=7).applications(3, 200, shift="both")
    assert_frame_equal(WORLD.applications(3, 200, shift="both"), again)


def test_another_seed_or_day_gives_other_rows():
    day = WORLD.applications(0, 200)
    assert not day["income"].equals(World(seed=8).applications(0, 200)["income"])
    assert not day["income"].equals(WORLD.applications(1, 200)["income"])
    assert not day["income"].equals(WORLD.history(200)["income"])


def test_columns_types_and_ids(past, live):
    assert live["calm"].columns == LIVE
    assert past.columns == [*LIVE[:-1], "approved", "repaid"]
    assert past.schema["applied_at"] == pl.Datetime("us", "UTC")
    assert all(past.schema[name] == pl.Float64 for name in NUMBERS)
    assert past.schema["repaid"] == past.schema["approved"] == pl.Boolean
    days = [WORLD.applications(day, 100)["application_id"] for day in range(12)]
    ids = pl.concat([past["application_id"], *days])
    assert ids.n_unique() == len(ids)


def test_history_ends_where_live_days_begin():
    past = WORLD.history(2_000)
    assert past["applied_at"].is_sorted()
    assert past["applied_at"].min() >= WORLD.start
    assert past["applied_at"].max() < WORLD.start + timedelta(days=WORLD.days)
    assert WORLD.midnight(0) == WORLD.start + timedelta(days=WORLD.days)
    for day in (0, 5):
        moments = WORLD.applications(day, 300)["applied_at"]
        assert moments.is_sorted()
        assert moments.min() >= WORLD.midnight(day)
        assert moments.max() < WORLD.midnight(day + 1)


def test_no_rows_and_a_day_in_the_history():
    assert WORLD.applications(0, 0).schema == WORLD.applications(0, 5).schema
    with pytest.raises(ValueError, match="day -1 lies in the history"):
        WORLD.applications(-1)


def test_odds_of_a_row_worked_by_hand():
    row = {"income": 4000.0, "debt": 9000.0, "years": 3.0, "purpose": "home", "region": "west"}
    by_hand = (
        2.0
        + 1.1 * math.log(4000 / 2700) / 0.4
        - 1.3 * math.log(9000 / 6000) / 0.8
        + 0.9 * (3.0 - 6.7) / 5
        + 0.5
        - 0.2
    )
    rows = pl.DataFrame([row, {**row, "years": None, "purpose": None}])
    without = by_hand - 0.9 * (3.0 - 6.7) / 5 - 0.5
    assert log_odds(rows, BEFORE) == pytest.approx([by_hand, without])


@pytest.mark.parametrize("shift", LAWS)
def test_repayment_follows_its_law_at_every_odds(live, shift):
    assert worst_bin(live[shift], LAWS[shift]) < 4


@pytest.mark.parametrize("shift", ["concept", "both"])
def test_a_concept_switch_breaks_the_law_before(live, shift):
    assert worst_bin(live[shift], BEFORE) > 20


@pytest.mark.parametrize(("one", "other"), [("calm", "concept"), ("covariate", "both")])
def test_a_concept_switch_leaves_the_inputs_as_they_are(live, one, other):
    assert_frame_equal(live[one].drop("repaid"), live[other].drop("repaid"))
    assert not live[one]["repaid"].equals(live[other]["repaid"])


@pytest.mark.parametrize("shift", LAWS)
@pytest.mark.parametrize("column", ["group", "neighbourhood"])
def test_who_one_is_and_where_one_lives_has_no_effect_on_repayment(live, shift, column):
    excess = surprise(live[shift], "repaid", LAWS[shift])
    by = live[shift].select(column).with_columns(excess).group_by(column)
    scores = by.agg(pl.col("excess").sum() / pl.col("variance").sum().sqrt())
    assert scores["excess"].abs().max() < 4


def test_past_decisions_held_the_neighbourhood_against_people(past):
    alike = past.filter(pl.Series(np.abs(log_odds(past, BEFORE) - 2.0) < 0.5))
    rates = dict(alike.group_by("group").agg(pl.col("approved").mean()).iter_rows())
    assert rates["A"] > 0.7
    assert rates["B"] < 0.35
    homes = alike.filter(group="A").group_by(pl.col("neighbourhood").is_in(NEIGHBOURHOODS["B"]))
    same_group = dict(homes.agg(pl.col("approved").mean()).iter_rows())
    assert same_group[True] < 0.25 < 0.75 < same_group[False]


def test_shares(past, live):
    assert (past["group"] == "B").mean() == pytest.approx(0.45, abs=0.01)
    with_b = past["neighbourhood"].is_in(NEIGHBOURHOODS["B"])
    assert ((past["group"] == "B") == with_b).mean() == pytest.approx(0.92, abs=0.01)
    assert past["neighbourhood"].n_unique() == 10
    assert past["approved"].mean() == pytest.approx(0.53, abs=0.03)
    for shift, people in {"calm": CALM, "covariate": SHIFTED}.items():
        found = live[shift]["purpose"].drop_nulls().value_counts(normalize=True)
        shares = dict(found.iter_rows())
        for purpose, share in zip(PURPOSES, people.purposes, strict=True):
            assert shares[purpose] == pytest.approx(share, abs=0.01)
        assert live[shift]["years"].mean() == pytest.approx(2 * people.years_scale, abs=0.1)


@pytest.mark.parametrize("shift", LAWS)
def test_some_years_and_purposes_are_left_out_whatever_their_value(live, shift):
    rows = live[shift]
    nulls = {name: rows[name].null_count() / len(rows) for name in rows.columns}
    assert nulls.pop("years") == pytest.approx(0.04, abs=0.005)
    assert nulls.pop("purpose") == pytest.approx(0.03, abs=0.005)
    assert set(nulls.values()) == {0.0}
    told = rows.group_by(pl.col("years").is_null()).agg(pl.col("income").log().mean())
    assert abs(told["income"][0] - told["income"][1]) < 0.05


def test_calm_days_are_distributed_as_the_history(past, live):
    assert smallest_p(past, live["calm"]) > 1e-3
    assert smallest_p(past.head(20_000), past.tail(20_000)) > 1e-3


def test_a_covariate_shift_moves_the_inputs(live):
    assert smallest_p(live["calm"], live["covariate"]) < 1e-100


def test_the_first_delivery_is_shorter_and_partly_mistyped():
    past = WORLD.history(8_000)
    first = as_first_delivered(past)
    both = first.join(past, on="application_id", suffix="_now")
    changed = both.filter(pl.col("debt") != pl.col("debt_now"))
    assert len(first) == len(both) == 7_200
    assert len(changed) == 9
    assert (changed["debt"] == 10 * changed["debt_now"]).all()
    assert_frame_equal(first.drop("debt"), past.head(7_200).drop("debt"))


def surprise(rows, column, law):
    """Outcome less its probability, and the variance of that, by row."""
    p = 1 / (1 + np.exp(-log_odds(rows, law)))
    return pl.Series("excess", rows[column].to_numpy() - p), pl.Series("variance", p * (1 - p))


def worst_bin(rows, law):
    """The greatest |z| of outcomes against the law over twenty bins of its odds."""
    excess, variance = surprise(rows, "repaid", law)
    order = np.argsort(log_odds(rows, law), kind="stable")
    bins = np.array_split(order, 20)
    return max(abs(excess[b].sum()) / math.sqrt(variance[b].sum()) for b in bins)


def smallest_p(one, other):
    """The smallest p-value over the columns: Kolmogorov-Smirnov for numbers, chi-square for words."""
    numbers = [
        stats.ks_2samp(one[name].drop_nulls(), other[name].drop_nulls()).pvalue for name in NUMBERS
    ]
    words = []
    for name in ("group", "neighbourhood", *WORDS):
        counts = [dict(rows[name].value_counts().iter_rows()) for rows in (one, other)]
        values = sorted(counts[0], key=str)
        table = [[count.get(value, 0) for value in values] for count in counts]
        words.append(stats.chi2_contingency(table).pvalue)
    return min(*numbers, *words)
