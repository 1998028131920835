"""An estimate as an evidence row: what was measured, of whom, when and how surely."""

from __future__ import annotations

from typing import Any, Required, TypedDict

from trimtab import ids
from trimtab.evaluate.estimate import Estimate
from trimtab.store.records import Evidence, Validity


class About(TypedDict, total=False):
    """Whose evidence it is: `subject`, `window` and `run` of the record, `now` in microseconds."""

    subject: Required[str]
    window: str
    run: str
    now: int | None


def from_estimate(
    estimate: Estimate,
    metric: str,
    statistic: str,
    about: About,
    *,
    level: float,
    validity: Validity,
    part: str = "",
    details: dict[str, Any] | None = None,
) -> Evidence:
    """The evidence row of an estimate on the slice `part`."""
    now = about.get("now")
    return Evidence(
        id=ids.new_id(),
        metric=metric,
        statistic=statistic,
        subject=about["subject"],
        slice=part,
        window=about.get("window", ""),
        value=estimate.value,
        lo=estimate.lo,
        hi=estimate.hi,
        n=estimate.n,
        level=level,
        method=estimate.method,
        validity=validity,
        run=about.get("run", ""),
        measured_at=ids.now() if now is None else now,
        details={**estimate.details, **(details or {})},
    )
