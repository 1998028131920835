"""What a package is held against: rows with the original's own answers.

Golden rows (which the package carries), withheld rows, and training rows, because boosting puts its
thresholds exactly on these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trimtab.errors import ModelError
from trimtab.model import describe, parity
from trimtab.model.decide import decide
from trimtab.model.estimator import Ask, answerable
from trimtab.model.golden import Golden
from trimtab.model.load import LoadedModel
from trimtab.model.parity import Parity
from trimtab.model.signature import Signature
from trimtab.tune.candidate import Candidate
from trimtab.tune.frames import features as prepare

MAX_WITHHELD: Final = 50_000
MAX_TRAIN: Final = 10_000
SCALE_ROWS: Final = 2_000
MAX_VALUES: Final = 50


@dataclass(frozen=True)
class Witness:
    """`rows` as the original gets them and its `answers`; the first `golden` are the golden
    rows, the last `fitted` are training rows.

    `groups` are the values of the columns that the comparison is sliced by, one per row; `scale`
    is the unit of a difference.
    """

    rows: pl.DataFrame
    answers: NDArray[np.float64]
    golden: int
    fitted: int
    groups: dict[str, list[Any]]
    scale: float

    @property
    def fitted_rows(self) -> pl.DataFrame:
        """The training rows among them."""
        return self.rows[self.rows.height - self.fitted :]

    def golden_rows(self, signed: Signature) -> Golden:
        """The golden rows with the columns that `signed` takes."""
        rows, scores = self.rows[: self.golden], self.answers[: self.golden]
        columns = {
            c.name: rows[c.name].to_list()
            if c.kind == "text"
            else rows[c.name].fill_nan(None).to_list()
            for c in signed.inputs
        }
        return Golden(
            columns=columns,
            scores=scores.tolist(),
            decisions=decide(signed, scores),
            scale=self.scale,
        )

    def hold(self, model: LoadedModel) -> Parity:
        """How far the model's answers are from the original's; raises ModelError where it fails."""
        signed = model.signature
        got = model.predict(arrays(self.rows, signed))
        decisions = (
            None if signed.task == "regression" else (decide(signed, self.answers), got.decision)
        )
        return parity.compare(
            self.answers, got.score, decisions, scale=self.scale, groups=self.groups
        )


def arrays(rows: pl.DataFrame, signed: Signature) -> dict[str, NDArray[Any]]:
    """Prepared rows as `LoadedModel.predict` takes them."""
    return {
        c.name: np.array(rows[c.name].to_list(), dtype=object)
        if c.kind == "text"
        else rows[c.name].to_numpy()
        for c in signed.inputs
    }


def feed(rows: pl.DataFrame, signed: Signature) -> dict[str, NDArray[Any]]:
    """Prepared rows as a packed graph takes them."""
    found: dict[str, NDArray[Any]] = {}
    if signed.numbers:
        found["numbers"] = rows.select(signed.numbers).to_numpy().astype(np.float32)
    if signed.words:
        found["words"] = rows.select(signed.words).to_numpy().astype(object)
    return found


def call(
    ask: Ask, candidate: Candidate, signed: Signature, *, train: pl.DataFrame, by: Sequence[str]
) -> Witness:
    """Ask the original about golden, withheld and `train` rows; `by` are columns to slice by.

    Raises ModelError where it answers none of the golden rows.
    """
    names = [c.name for c in signed.inputs]
    by = [name for name in by if name in candidate.withheld.columns]
    wanted = list(dict.fromkeys((*names, *by)))
    withheld = describe.admissible(candidate.withheld.head(MAX_WITHHELD), signed).select(wanted)
    fitted = describe.admissible(train.sample(min(MAX_TRAIN, train.height), seed=0), signed).select(
        [name for name in wanted if name in train.columns]
    )
    golden = describe.golden_rows(signed, train, candidate.withheld)
    raw = pl.concat([golden, withheld, fitted], how="diagonal_relaxed")
    frame = prepare(raw, candidate.features)
    kept, answers = answerable(ask, frame)
    count = int((kept < golden.height).sum())
    if not count:
        raise ModelError("the estimator answers none of its own training rows")
    return Witness(
        rows=frame[kept],
        answers=answers,
        golden=count,
        fitted=int((kept >= raw.height - fitted.height).sum()),
        groups=_groups(raw[kept], signed, by),
        scale=_scale(ask, candidate, signed),
    )


def _groups(rows: pl.DataFrame, signed: Signature, by: Sequence[str]) -> dict[str, list[Any]]:
    """Texts and booleans that the model takes, and what is declared of few values."""
    names = [c.name for c in signed.inputs if c.kind != "number"]
    names += [name for name in by if rows[name].n_unique() <= MAX_VALUES]
    return {name: rows[name].cast(pl.String).to_list() for name in dict.fromkeys(names)}


def _scale(ask: Ask, candidate: Candidate, signed: Signature) -> float:
    """A regression's differences are judged in standard deviations of its answers in training."""
    if signed.task != "regression":
        return 1.0
    rows = prepare(candidate.train.head(SCALE_ROWS), candidate.features)
    values = answerable(ask, rows)[1]
    spread = float(values.std()) if len(values) else 0.0
    return max(spread, 1e-9 * max(1.0, float(np.abs(values).max(initial=0.0))))
