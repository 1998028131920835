"""Evidence of an endpoint: latency quantiles, error rate and the cost of a thousand predictions.

`serve` and `bench` bring the numbers; here they get intervals, for one look or for many.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import DataError, UsageError
from trimtab.evaluate import intervals, sequential
from trimtab.evaluate.estimate import UNKNOWN, Estimate, finite
from trimtab.evaluate.evidence import About, from_estimate
from trimtab.evaluate.scored import Floats
from trimtab.store.records import Evidence, Validity

Values = Sequence[float] | NDArray[Any]


def quantile_evidence(
    values_ms: Values,
    quantile: str,
    *,
    subject: str,
    window: str = "",
    run: str = "",
    now: int | None = None,
    level: float = 0.95,
    validity: Validity = "fixed",
    metric: str = "latency_ms",
) -> Evidence:
    """A quantile such as "p99" between two order statistics; raises DataError, UsageError.

    The interval assumes independent values and nothing on their distribution. Where the sample is
    too small to bound the quantile from above, `hi` is unknown and `details["rows_needed"]` says
    how many values would do.
    """
    share = quantile_share(quantile)
    values = np.sort(_measured(values_ms, metric))
    n, is_fixed = len(values), validity == "fixed"
    ranks = intervals.order_ranks if is_fixed else sequential.quantile_ranks
    lower, upper = ranks(share, n, level)
    estimate = Estimate(
        value=float(values[max(math.ceil(share * n - 1e-9) - 1, 0)]),
        lo=float(values[lower - 1]) if lower else 0.0,
        hi=float(values[upper - 1]) if upper <= n else UNKNOWN,
        n=n,
        method="order-statistics" if is_fixed else "beta-binomial-mixture",
        details={"rows_needed": _rows_to_bound(share, n, level, validity)} if upper > n else {},
    )
    about = About(subject=subject, window=window, run=run, now=now)
    return from_estimate(estimate, metric, quantile, about, level=level, validity=validity)


def rate_evidence(
    errors: int,
    requests: int,
    *,
    subject: str,
    window: str = "",
    run: str = "",
    now: int | None = None,
    level: float = 0.95,
    validity: Validity = "fixed",
    metric: str = "error_rate",
) -> Evidence:
    """The share of requests that failed; raises DataError where there were none."""
    if not 0 <= errors <= requests or not requests:
        raise DataError(f"{errors} errors in {requests} requests have no rate")
    share, is_fixed = errors / requests, validity == "fixed"
    if is_fixed:
        lo, hi = intervals.wilson(share, requests, intervals.normal_factor(level))
    else:
        lo, hi = sequential.share_interval(errors, requests, level)
    estimate = Estimate(
        value=share,
        lo=lo,
        hi=hi,
        n=requests,
        method="wilson" if is_fixed else "beta-binomial-mixture",
        details={"errors": errors},
    )
    about = About(subject=subject, window=window, run=run, now=now)
    return from_estimate(estimate, metric, "", about, level=level, validity=validity)


def cost_evidence(
    seconds: Values,
    rows: Values | int,
    *,
    price_per_hour: float,
    subject: str,
    window: str = "",
    run: str = "",
    now: int | None = None,
    level: float = 0.95,
    validity: Validity = "fixed",
    metric: str = "cost_per_1000",
) -> Evidence:
    """Price of 1,000 predictions; raises UsageError without a price, DataError without 2 calls.

    `seconds` (calls,) is the time that the priced machine was held by each call, and `rows` the
    predictions that it answered. The interval is that of a ratio of means by linearisation
    (Cochran, Sampling Techniques, 1977, section 6.4).
    """
    if not price_per_hour > 0:
        raise UsageError(
            "the cost of predictions needs a price", hint="set price_per_hour in [serve]"
        )
    held = _measured(seconds, "seconds")
    answered = np.broadcast_to(np.asarray(rows, dtype=np.float64), held.shape)
    n, total = len(held), float(answered.sum())
    if n < 2 or not total > 0:
        raise DataError("the cost of predictions needs at least two calls that answered rows")
    each, price = float(held.sum()) / total, price_per_hour / 3600 * 1000
    error = float((held - each * answered).std(ddof=1)) * n / total / math.sqrt(n)
    factor = (intervals.student_factor if validity == "fixed" else _anytime_factor)(level, n)
    estimate = Estimate(
        value=price * each,
        lo=price * max(each - factor * error, 0.0),
        hi=finite(price * (each + factor * error)),
        n=n,
        method="ratio-of-means",
        details={"price_per_hour": price_per_hour, "rows": int(total)},
    )
    about = About(subject=subject, window=window, run=run, now=now)
    return from_estimate(estimate, metric, "", about, level=level, validity=validity)


def quantile_share(quantile: str) -> float:
    """The share that a quantile's name stands for: 0.99 for "p99"; raises UsageError."""
    try:
        share = float(quantile.removeprefix("p")) / 100
    except ValueError:
        share = math.nan
    if not quantile.startswith("p") or not 0 < share < 1:
        raise UsageError(f"{quantile!r} is not a quantile", hint="write p50, p99 or p99.9")
    return share


def _rows_to_bound(share: float, n: int, level: float, validity: Validity) -> int:
    if validity == "fixed":
        return max(math.ceil(math.log((1 - level) / 2) / math.log(share)), n + 1)
    rows = n
    while sequential.quantile_ranks(share, rows, level)[1] > rows:
        rows += max(rows // 10, 1)
    return rows


def _anytime_factor(level: float, n: int) -> float:
    return sequential.asymptotic_factor(n, level)


def _measured(values: Values, name: str) -> Floats:
    array = np.asarray(values, dtype=np.float64).ravel()
    if not len(array):
        raise DataError(f"there are no values of {name} to measure")
    bad = np.flatnonzero(~np.isfinite(array) | (array < 0))
    if bad.size:
        raise DataError(f"value {bad[0]} of {name} is {array[bad[0]]}, which is no duration")
    return array
