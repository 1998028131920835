"""Whether a few rows were repeated until they weigh more than any rows do in trusted data.

A row is its features and its label; keys and times tell copies apart and are left out. As many
trusted rows are counted as the batch has, because the more rows, the more meet by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trimtab.tune.probe import Probe, of_shares

NAME: Final = "repeated_rows"
_TOLERATED: Final = 0.05


def probe(
    batch: pl.DataFrame, trusted: pl.DataFrame, columns: Sequence[str], *, level: float, seed: int
) -> tuple[Probe, NDArray[np.bool_]]:
    """The probe, and which rows (n,) of the batch are copies beyond what trusted rows let expect.

    Where it does not refuse there are none: rows of few values repeat honestly, and without their
    copies they would be another population.
    """
    n = min(batch.height, trusted.height)
    here = _turns(batch if n == batch.height else batch.sample(n, seed=seed), columns) > 0
    before = _turns(trusted.sample(n, seed=seed), columns) > 0
    many, other = int(here.sum()), int(before.sum())
    bound = of_shares(many, n, other, n, level=level, tolerated=_TOLERATED)
    largest = int(_turns(batch, columns).max()) + 1
    bad = bound.lo > _TOLERATED
    found = Probe(
        name=NAME,
        status="fail" if bad else "pass",
        said=f"{many:,} of {n:,} rows repeat another one, the most repeated {largest:,} times"
        f" ({other:,} of as many trusted rows)",
        value=bound.value, lo=bound.lo, hi=bound.hi, p=bound.p, n=n, tolerated=_TOLERATED,
        details={"share": many / n, "trusted_share": other / n, "largest": float(largest)},
    )  # fmt: skip
    if not bad:
        return found, np.zeros(batch.height, dtype=bool)
    return found, _turns(batch, columns) >= _usual(batch, trusted, columns)


def _usual(batch: pl.DataFrame, trusted: pl.DataFrame, columns: Sequence[str]) -> NDArray[Any]:
    """How often each row of the batch (n,) would be there as often as in trusted rows, at least once."""
    known = trusted.group_by(list(columns)).len("__known__")
    counts = batch.select(columns).join(
        known, on=list(columns), how="left", nulls_equal=True, maintain_order="left"
    )["__known__"]
    scale = batch.height / trusted.height
    usual: NDArray[Any] = np.maximum(np.ceil(counts.fill_null(0).to_numpy() * scale), 1)
    return usual


def _turns(rows: pl.DataFrame, columns: Sequence[str]) -> NDArray[Any]:
    """The how manieth of its copies each row is (n,), from 0."""
    return rows.select(pl.int_range(pl.len()).over(list(columns))).to_series().to_numpy()
