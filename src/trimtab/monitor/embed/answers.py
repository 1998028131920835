"""What a model answered, as whoever logs it has it: scores, classes, or both, as columns to count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trimtab.monitor.embed.rows import DECISION, SCORE, Layout, floats, objects
from trimtab.monitor.log.traffic import text
from trimtab.profile.columns import Column

_PAIR: Final = 2
_WHOLE: Final = (bool, int, np.bool_, np.integer)
_WANTED: Final = "an answer is a score, a decision or a tuple (score, decision)"
_SHOWN: Final = 40


def answers(layout: Layout, given: Sequence[Any]) -> dict[str, Column]:
    """The output columns of predictions: scores, decisions, or (score, decision) pairs.

    A number is a score, or where it is whole and one of the classes a decision; a text is a
    decision, several numbers the scores of the classes (that of the positive one counts, or the
    highest, whose class is the decision). An array or a list of one is what it holds. None says
    nothing, and NaN that there is no number. Raises ValueError for what is none of these.
    """
    if not layout.outputs:
        return {}
    scores: list[Any] = []
    decisions: list[Any] = []
    for one in given:
        score, decision = (one, None) if one.__class__ is float else _pair(layout, one)
        if decision is None and layout.decide is not None and score is not None:
            decision = layout.decide(score)
        scores.append(score)
        decisions.append(decision)
    numbers = floats(scores)
    if numbers.dtype != object and np.isnan(numbers).any():
        numbers = objects(scores)  # in which NaN is another thing than None
    found: dict[str, Column] = {SCORE: numbers}
    if DECISION in layout.outputs:
        found[DECISION] = objects(decisions)
    return {name: found[name] for name in layout.outputs if name in found}


def listed(predictions: Any) -> list[Any]:
    """Predictions one by one; of a frame, whose columns are classes, row by row."""
    if hasattr(predictions, "columns") and hasattr(predictions, "to_numpy"):
        predictions = np.asarray(predictions.to_numpy())
    if isinstance(predictions, np.ndarray):
        return predictions.tolist() if predictions.ndim == 1 else list(predictions)
    if hasattr(predictions, "to_list"):
        return list(predictions.to_list())
    if isinstance(predictions, Iterable) and not isinstance(predictions, str):
        return list(predictions)
    return [predictions]


def _pair(layout: Layout, one: Any) -> tuple[Any, Any]:
    """A score and a decision, either of them None; of a regression a text is a score of a wrong type."""
    if isinstance(one, tuple):
        if len(one) != _PAIR:
            raise ValueError(f"an answer of {len(one)} parts is no pair (score, decision)")
        score, decision = one
        found, told = (None, None) if score is None else _scored(layout, _alone(score))
        return found, told if decision is None else _text(decision)
    one = _alone(one)
    if one is None:
        return None, None
    if isinstance(one, str):
        return (None, one) if DECISION in layout.outputs else (one, None)
    if isinstance(one, _WHOLE) and str(one) in layout.classes:
        return None, str(one)
    return _scored(layout, one)


def _alone(one: Any) -> Any:
    """What an array or a list of one holds, as `predict` of one row answers; what an enum stands for."""
    while isinstance(one, list) and len(one) == 1:
        one = one[0]
    if isinstance(one, np.ndarray) and one.size == 1:
        one = one.reshape(-1)[0]
    return one.value if isinstance(one, Enum) else one


def _scored(layout: Layout, one: Any) -> tuple[float, str | None]:
    """The score that counts, and of scores of several classes without a positive one the decision."""
    if not isinstance(one, list | np.ndarray):
        if isinstance(one, str | bytes):
            raise ValueError(f"{_shown(one)} is no score; {_WANTED}")
        try:
            return float(one), None
        except TypeError:
            raise ValueError(f"{_shown(one)} is no score; {_WANTED}") from None
    scores: NDArray[Any] = np.ravel(np.asarray(one))
    if scores.dtype.kind not in "fiub" or not len(scores):
        raise ValueError(_WANTED)
    if layout.is_number or (layout.classes and len(scores) != len(layout.classes)):
        wanted = f"one score, or those of {len(layout.classes)} classes"
        raise ValueError(
            f"{len(scores)} numbers are no answer, which is "
            + ("one number" if layout.is_number else wanted)
        )
    if layout.positive is not None:
        return float(scores[layout.positive]), None
    score = float(scores.max())
    told = layout.classes[int(scores.argmax())] if layout.classes and not np.isnan(score) else None
    return score, told


def _shown(one: Any) -> str:
    return f"{one!r:.{_SHOWN}}"


def _text(one: Any) -> str | None:
    held = _alone(one)
    return None if held is None else text(held)
