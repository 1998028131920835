"""A seeded world of loan applications whose every equation is written down here.

It promises a history and days of traffic with the truth attached, so that what a platform finds
can be held against what was put in. It neither trains nor sends anything.

**Who applies.** `group` is B with probability 0.45, else A. `neighbourhood` is one of five where
mostly B live with probability 0.92 for B and 0.08 for A, else one of the other five, evenly within
each five: it stands in for the group. With e1, e2 standard normal, all draws independent::

    years   = Gamma(shape 2, scale S)                                       rounded to 0.1
    income  = 2700 exp(0.02 (years - 8) - 0.03 [group B] + I + 0.4 e1)      a month, whole
    debt    = 6000 exp(0.3 ln(income / 2700) + 0.8 e2)                      whole
    purpose ~ P over business, car, education, holiday, home
    region  ~ east 0.25, north 0.25, south 0.30, west 0.20

`years` is left out (null) with probability 0.04 and `purpose` with 0.03, whatever their value.
S, I and P are `CALM` or `SHIFTED`: a campaign for young people, who have worked for less time,
earn a little less and study or travel more.

**Who repays.** With z_income = ln(income / 2700) / 0.4, z_debt = ln(debt / 6000) / 0.8 and
z_years = (years - 6.7) / 5 (0 where years is null)::

    log odds of repaid = c + c_income z_income + c_debt z_debt + c_years z_years
                           + purpose's effect (0 where null) + region's effect

This is a function of the row as it is seen, so it is P(repaid | x) exactly. Neither the group nor
the neighbourhood is in it. The coefficients are `BEFORE` or `AFTER` a shock: old employers close,
so that long service turns from a safety into a risk, and inflation eats debts.

**Who was approved in the past.** The officers knew the odds L before the shock, and held the
neighbourhood against people::

    log odds of approved = (L - 0.95 - 2.2 [a neighbourhood where mostly B live]) / 0.6

| shift       | inputs    | repayment |
|-------------|-----------|-----------|
| `calm`      | `CALM`    | `BEFORE`  |
| `covariate` | `SHIFTED` | `BEFORE`  |
| `concept`   | `CALM`    | `AFTER`   |
| `both`      | `SHIFTED` | `AFTER`   |

The inputs of a day come from a stream of their own: `calm` and `concept` have the same inputs to
the bit, and so have `covariate` and `both`. In truth a lender sees only the repayment of those it
approved; this world shows all, as a lender does that approves a random share in order to learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Shift = Literal["calm", "covariate", "concept", "both"]

NUMBERS: Final = ("income", "debt", "years")
WORDS: Final = ("purpose", "region")
NEIGHBOURHOODS: Final = {
    "A": ("Abbey", "Canal", "Dockside", "Elmwood", "Hillcrest"),
    "B": ("Foundry", "Garden", "Millgate", "Quarry", "Tannery"),
}
PURPOSES: Final = {"business": -0.6, "car": 0.0, "education": 0.3, "holiday": -0.4, "home": 0.5}
REGIONS: Final = {"east": 0.0, "north": 0.0, "south": 0.2, "west": -0.2}
_REGION_SHARES: Final = (0.25, 0.25, 0.30, 0.20)
_INPUTS, _TIMES, _TRUTH, _DECISIONS = range(4)
_MICROSECONDS_A_DAY: Final = 86_400_000_000


@dataclass(frozen=True, kw_only=True)
class Applicants:
    """What may differ between two populations of applicants: S, I and P of the equations."""

    years_scale: float
    log_income: float
    purposes: tuple[float, float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Repayment:
    """What may differ between two times: c, c_income, c_debt and c_years of the equations."""

    constant: float
    income: float
    debt: float
    years: float


CALM: Final = Applicants(years_scale=4.0, log_income=0.0, purposes=(0.18, 0.30, 0.12, 0.12, 0.28))
SHIFTED: Final = Applicants(
    years_scale=2.8, log_income=-0.05, purposes=(0.14, 0.22, 0.32, 0.22, 0.10)
)
BEFORE: Final = Repayment(constant=2.0, income=1.1, debt=-1.3, years=0.9)
AFTER: Final = Repayment(constant=2.3, income=1.8, debt=-0.2, years=-1.4)


@dataclass(frozen=True, kw_only=True)
class World:
    """One world: the same seed gives the same rows, on every machine that has the same NumPy.

    The history covers `days` whole days from `start` (UTC); live day 0 begins where it ends.
    """

    seed: int = 0
    start: datetime = datetime(2025, 1, 6, tzinfo=UTC)
    days: int = 60

    def history(self, rows: int = 12_000) -> pl.DataFrame:
        """Past applications in order of time: the live columns and `approved`."""
        table = self._applications(-1, rows, "calm", "H")
        odds = log_odds(table, BEFORE)
        held_against = table["neighbourhood"].is_in(NEIGHBOURHOODS["B"]).to_numpy()
        approved = _logistic((odds - 0.95 - 2.2 * held_against) / 0.6)
        draw = self._stream(_DECISIONS, -1).random(rows)
        return table.insert_column(-1, pl.Series("approved", draw < approved))

    def applications(self, day: int, rows: int = 600, *, shift: Shift = "calm") -> pl.DataFrame:
        """Live applications of one day (from 0) in order of time, with the truth in `repaid`.

        Columns: application_id, applied_at, group, neighbourhood, income, debt, years, purpose,
        region, repaid.
        """
        if day < 0:
            raise ValueError(f"live days are counted from 0, day {day} lies in the history")
        return self._applications(day, rows, shift, f"D{day}")

    def midnight(self, day: int) -> datetime:
        """When a live day begins."""
        return self.start + timedelta(days=self.days + day)

    def _applications(self, day: int, rows: int, shift: Shift, prefix: str) -> pl.DataFrame:
        people = SHIFTED if shift in {"covariate", "both"} else CALM
        law = AFTER if shift in {"concept", "both"} else BEFORE
        begin, length = (self.start, self.days) if day < 0 else (self.midnight(day), 1)
        moments = np.sort(
            self._stream(_TIMES, day).integers(length * _MICROSECONDS_A_DAY, size=rows)
        )
        table = _people(self._stream(_INPUTS, day), rows, people).insert_column(
            0, pl.Series("applied_at", moments).cast(pl.Duration("us")) + begin
        )
        names = [f"{prefix}-{number:05d}" for number in range(rows)]
        table = table.insert_column(0, pl.Series("application_id", names, dtype=pl.String))
        repays = self._stream(_TRUTH, day).random(rows) < _logistic(log_odds(table, law))
        return table.with_columns(repaid=pl.Series(repays))

    def _stream(self, what: int, day: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, what, day + 1])


def log_odds(table: pl.DataFrame, law: Repayment) -> Floats:
    """The true log odds of repayment of each row (n,), from the row as it is seen."""
    z_income = np.log(table["income"].to_numpy() / 2700) / 0.4
    z_debt = np.log(table["debt"].to_numpy() / 6000) / 0.8
    z_years = ((table["years"] - 6.7) / 5).fill_null(0.0).to_numpy()
    purpose = table["purpose"].replace_strict(PURPOSES, return_dtype=pl.Float64).fill_null(0.0)
    region = table["region"].replace_strict(REGIONS, return_dtype=pl.Float64)
    odds = law.constant + law.income * z_income + law.debt * z_debt + law.years * z_years
    known: Floats = odds + purpose.to_numpy() + region.to_numpy()
    return known


def as_first_delivered(history: pl.DataFrame) -> pl.DataFrame:
    """A history as it was before its correction, for a diff of two versions to find.

    Its last tenth has not arrived yet, and in every 800th row the debt is ten times too large.
    """
    early = history.head(len(history) * 9 // 10)
    mistyped = pl.int_range(pl.len()) % 800 == 400
    return early.with_columns(debt=pl.when(mistyped).then(10 * pl.col("debt")).otherwise("debt"))


def _people(stream: np.random.Generator, rows: int, people: Applicants) -> pl.DataFrame:
    is_b = stream.random(rows) < 0.45
    lives_with_b = is_b == (stream.random(rows) < 0.92)
    place = stream.integers(5, size=rows)
    years = np.round(stream.gamma(2.0, people.years_scale, rows), 1)
    log_income = 0.02 * (years - 8) - 0.03 * is_b + people.log_income
    income = np.round(2700 * np.exp(log_income + 0.4 * stream.standard_normal(rows)))
    debt = np.round(6000 * (income / 2700) ** 0.3 * np.exp(0.8 * stream.standard_normal(rows)))
    columns = {
        "group": np.where(is_b, "B", "A"),
        "neighbourhood": np.where(
            lives_with_b,
            np.array(NEIGHBOURHOODS["B"])[place],
            np.array(NEIGHBOURHOODS["A"])[place],
        ),
        "income": np.maximum(income, 1.0),
        "debt": np.maximum(debt, 1.0),
        "years": years,
        "purpose": stream.choice(list(PURPOSES), rows, p=people.purposes),
        "region": stream.choice(list(REGIONS), rows, p=_REGION_SHARES),
    }
    no_years = pl.Series(stream.random(rows) < 0.04)
    no_purpose = pl.Series(stream.random(rows) < 0.03)
    return pl.DataFrame(columns).with_columns(
        years=pl.when(~no_years).then("years"), purpose=pl.when(~no_purpose).then("purpose")
    )


def _logistic(odds: Floats) -> Floats:
    probability: Floats = 1 / (1 + np.exp(-odds))
    return probability
