"""A scored table: what a model said about rows, beside the truth where it is known.

Everything in this layer reads a `Scored` and nothing else, so an evaluation, a replay and a window
of production traffic are measured by the same code. Rows keep their order; sequential measures
take it as the order of arrival.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import DataError

Task = Literal["binary", "multiclass", "regression"]
Floats = NDArray[np.float64]
TASKS: Final[tuple[Task, ...]] = ("binary", "multiclass", "regression")
_SUM_TOLERANCE: Final = 1e-3


@dataclass(frozen=True, eq=False)
class Scored:
    """Rows with their scores, decisions and, where known, truth.

    | field | binary | multiclass of k classes | regression |
    |---|---|---|---|
    | truth | bool (n,), True = positive | code in 0..k-1 (n,) | float (n,) |
    | score | P(positive) (n,) | probabilities (n, k) | predicted value (n,) |
    | decision | bool (n,), True = decided positive | code (n,) | predicted value (n,) |
    | classes | (negative, positive) or () | k names | () |

    Labels written as text are turned into bools or codes by `classes`. `truth` is None where no
    labels are known, `score` is None for a model that only decides (regression takes its decision).
    `slices` are columns (n,) to group by. `baseline` and `champion` are the same rows as judged by
    another model. `biased` says why the truth is no fair sample ("" where it is). `weight` is how many
    rows each stands for where the truth of others is not known yet; metrics here do not read it, who
    gives it corrects by it. Raises DataError.
    """

    task: Task
    truth: NDArray[Any] | None
    score: NDArray[Any] | None
    decision: NDArray[Any]
    classes: tuple[str, ...] = ()
    slices: Mapping[str, NDArray[np.object_]] = field(default_factory=dict)
    baseline: Scored | None = None
    champion: Scored | None = None
    biased: str = ""
    weight: Floats | None = None

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise DataError(f"unknown task {self.task!r}", hint=f"one of {', '.join(TASKS)}")
        decision, truth = self._labels(self.decision, "decision"), None
        if self.truth is not None:
            truth = self._labels(self.truth, "truth")
        score = decision if self.task == "regression" and self.score is None else self.score
        for name, value in (("decision", decision), ("truth", truth)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "score", None if score is None else self._scores(score))
        self._check_lengths()

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.decision)

    @property
    def known_truth(self) -> NDArray[Any]:
        """The truth; raises DataError where there is none."""
        if self.truth is None:
            raise DataError("the table has no truth", hint="join labels to it first")
        return self.truth

    @property
    def known_score(self) -> Floats:
        """The scores; raises DataError where there are none."""
        if self.score is None:
            raise DataError("the table has decisions and no scores")
        return self.score

    def take(self, index: NDArray[np.bool_] | NDArray[np.intp]) -> Scored:
        """The rows of a mask or of positions, of this table and of those compared with it."""
        return replace(
            self,
            truth=None if self.truth is None else self.truth[index],
            score=None if self.score is None else self.score[index],
            decision=self.decision[index],
            slices={name: values[index] for name, values in self.slices.items()},
            baseline=None if self.baseline is None else self.baseline.take(index),
            champion=None if self.champion is None else self.champion.take(index),
            weight=None if self.weight is None else self.weight[index],
        )

    def _labels(self, values: NDArray[Any], name: str) -> NDArray[Any]:
        array = np.asarray(values)
        if array.ndim != 1:
            raise DataError(f"{name} must have one value per row, got shape {array.shape}")
        if self.task == "regression":
            return _numbers(array, name)
        missing = _first(array, _is_null)
        if missing is not None:
            raise DataError(
                f"row {missing} has no {name}", hint="leave out rows whose label has not arrived"
            )
        return (
            _flags(array, name, self.classes) if self.task == "binary" else self._codes(array, name)
        )

    def _codes(self, array: NDArray[Any], name: str) -> NDArray[np.intp]:
        known = len(self.classes)
        if known < 2:
            raise DataError("a multiclass table needs the names of its classes")
        if array.dtype.kind in "OUS":
            return _positions(array, name, self.classes)
        if array.dtype.kind not in "iu":
            raise DataError(f"{name} must hold class codes or class names, got {array.dtype}")
        numeric = all(c.lstrip("-").isdigit() for c in self.classes)
        if numeric and self.classes != tuple(str(i) for i in range(known)):
            raise DataError(
                f"{name} holds integers and the classes are named by other integers",
                hint="pass labels as text so that 1 cannot mean both the class '1' and code 1",
            )
        outside = _first(array, lambda v: not 0 <= v < known)
        if outside is not None:
            raise DataError(f"row {outside} has {name} {array[outside]}, there are {known} classes")
        return array.astype(np.intp)

    def _scores(self, values: NDArray[Any]) -> Floats:
        shape = (len(values), len(self.classes)) if self.task == "multiclass" else (len(values),)
        array = _numbers(np.asarray(values), "score", shape)
        if self.task == "regression":
            return array
        bad = _rows((array < 0) | (array > 1))
        if bad.size:
            raise DataError(
                f"row {bad[0]} has score {array[bad[0]]}, a probability lies in [0, 1]",
                hint="pass probabilities, not margins or logits",
            )
        if self.task == "multiclass":
            off = np.flatnonzero(np.abs(array.sum(axis=1) - 1) > _SUM_TOLERANCE)
            if off.size:
                raise DataError(f"the probabilities of row {off[0]} sum to {array[off[0]].sum():g}")
        return array

    def _check_lengths(self) -> None:
        columns: dict[str, Sequence[Any] | NDArray[Any] | None] = {
            "truth": self.truth,
            "score": self.score,
            "weight": self.weight,
            **self.slices,
        }
        for name, values in columns.items():
            if values is not None and len(values) != self.rows:
                raise DataError(f"{name} has {len(values)} rows, the decision has {self.rows}")
        for name, other in (("baseline", self.baseline), ("champion", self.champion)):
            if other is None:
                continue
            if other.task != self.task or other.rows != self.rows:
                raise DataError(f"the {name} must score the same rows: {other.rows} of {self.rows}")
            if not _same(self.truth, other.truth):
                raise DataError(f"the {name} has another truth than the candidate")


def _flags(array: NDArray[Any], name: str, classes: tuple[str, ...]) -> NDArray[np.bool_]:
    if array.dtype.kind == "b":
        return array
    if classes and len(classes) != 2:
        raise DataError(f"a binary table has two classes, got {len(classes)}")
    if (
        array.dtype.kind in "OUS"
        and classes
        and not all(isinstance(v, bool | np.bool_) for v in array)
    ):
        return _positions(array, name, classes).astype(np.bool_)
    other = _first(array, lambda v: v not in (0, 1))
    if other is not None:
        raise DataError(
            f"row {other} has {name} {array[other]!r}, which is neither true nor false",
            hint="compare the labels with the positive class, or name the classes",
        )
    return array.astype(np.bool_)


def _positions(array: NDArray[Any], name: str, classes: tuple[str, ...]) -> NDArray[np.intp]:
    code = {label: position for position, label in enumerate(classes)}
    found = np.fromiter((code.get(str(v), -1) for v in array), dtype=np.intp, count=len(array))
    unknown = np.flatnonzero(found < 0)
    if unknown.size:
        raise DataError(
            f"row {unknown[0]} has {name} {str(array[unknown[0]])!r}, which is no class",
            hint=f"the classes are {', '.join(classes)}",
        )
    return found


def _numbers(array: NDArray[Any], name: str, shape: tuple[int, ...] | None = None) -> Floats:
    try:
        numbers = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} must hold numbers: {error}") from error
    if shape is not None and numbers.shape != shape:
        raise DataError(f"{name} must have the shape {shape}, got {numbers.shape}")
    bad = _rows(~np.isfinite(numbers))
    if bad.size:
        raise DataError(f"row {bad[0]} has {name} {numbers[bad[0]]}, which is not a finite number")
    return numbers


def _rows(wrong: NDArray[np.bool_]) -> NDArray[np.intp]:
    return np.flatnonzero(wrong if wrong.ndim == 1 else wrong.any(axis=1))


def _first(array: NDArray[Any], wrong: Callable[[Any], bool]) -> int | None:
    # Few distinct labels and many rows: ask each distinct value once where numpy can sort them.
    if array.dtype.kind in "biufUS":
        values, position = np.unique(array, return_index=True)
        return min(
            (int(p) for v, p in zip(values, position, strict=True) if wrong(v)), default=None
        )
    return next((row for row, value in enumerate(array) if wrong(value)), None)


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, float | np.floating) and bool(np.isnan(value)))


def _same(a: NDArray[Any] | None, b: NDArray[Any] | None) -> bool:
    if a is None or b is None:
        return a is b
    return bool(np.array_equal(a, b))
