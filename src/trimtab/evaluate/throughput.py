"""Evidence of how many requests a second an endpoint answered."""

from __future__ import annotations

import math

import numpy as np

from trimtab.errors import DataError
from trimtab.evaluate import intervals, sequential
from trimtab.evaluate.estimate import Estimate, finite
from trimtab.evaluate.evidence import About, from_estimate
from trimtab.evaluate.latency import Values
from trimtab.evaluate.scored import Floats
from trimtab.store.records import Evidence, Validity


def capacity_evidence(
    rates: Values,
    *,
    subject: str,
    window: str = "",
    run: str = "",
    now: int | None = None,
    level: float = 0.95,
    validity: Validity = "fixed",
    metric: str = "capacity",
    details: dict[str, object] | None = None,
) -> Evidence:
    """The mean of `rates` (answers a second in equal parts of the measurement) with its interval.

    Student's where it is looked at once, the asymptotic confidence sequence else. Raises DataError
    below two parts.
    """
    values: Floats = np.asarray(rates, dtype=np.float64).ravel()
    n = len(values)
    if n < 2 or not np.isfinite(values).all():
        raise DataError("the throughput needs at least two parts of a measurement")
    factor = (
        intervals.student_factor(level, n)
        if validity == "fixed"
        else sequential.asymptotic_factor(n, level)
    )
    mean = float(values.mean())
    half = factor * float(values.std(ddof=1)) / math.sqrt(n)
    estimate = Estimate(
        value=mean,
        lo=max(mean - half, 0.0),
        hi=finite(mean + half),
        n=n,
        method="student" if validity == "fixed" else "asymptotic-sequence",
        details=details or {},
    )
    about = About(subject=subject, window=window, run=run, now=now)
    return from_estimate(estimate, metric, "", about, level=level, validity=validity)
