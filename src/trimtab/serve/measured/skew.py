"""Training rows replayed through an endpoint: does it see what training saw, and answer alike?

The features are compared as the endpoint logged them, cell by cell and exactly; the answers with
those of the offline path, within the limits of packaging. What differs is named by column and kind
and counted; no value leaves this module.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab import ids
from trimtab.errors import ModelError
from trimtab.model import parity
from trimtab.model.signature import Class, Signature

CONTRACT: Final = "replay"
"""The contract, and the log beside the prediction log, of rows that no client asked about."""
PATH: Final = "/replay"

Answer = tuple[Class | None, Any]
"""Decision (None for a regression) and score, scores or value."""

Predict = Callable[[dict[str, NDArray[Any]]], Sequence[Answer]]
"""Columns as a loaded model takes them to an answer for each row."""

_MOST_PAIRS: Final = 2_000
_NEAR: Final = 1e-6
_HOURS: Final = 26
_QUARTER: Final = 900
_EPOCH: Final = 1e8


class Training(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of training. `sent` are their cells as a client sends them, `features` the same cells as
    training saw them (whole numbers as such, null where missing).

    `scores` and `decisions` are those of the offline path; differences count in units of `scale`.
    """

    sent: dict[str, list[Any]]
    features: dict[str, list[Any]]
    scores: list[Any]
    decisions: list[Class]
    scale: float = 1.0

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.scores)


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A row that the endpoint answered with an error; `column` is "" where it named none."""

    status: int
    column: str = ""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What an endpoint made of the rows: a column of cells (null where missing) for each that it
    logged, and an answer for each row.
    """

    columns: dict[str, list[Any]]
    answers: list[Answer | Refused]


class Skew(msgspec.Struct, frozen=True, kw_only=True):
    """`off` of `rows` differ: `columns` counts by column and kind, `predictions` the answers.

    `hidden` columns were not compared, since they may not be logged as they are.
    """

    rows: int
    off: int
    columns: dict[str, dict[str, int]] = {}
    predictions: int = 0
    hidden: tuple[str, ...] = ()

    @property
    def refusal(self) -> str:
        """What differs, or ""."""
        said = [
            f"column {name!r}: " + ", ".join(f"{_KINDS[kind]} in {count:,}" for kind, count in
                                             sorted(kinds.items(), key=lambda x: -x[1]))
            for name, kinds in sorted(self.columns.items(), key=lambda x: -sum(x[1].values()))
        ]  # fmt: skip
        if self.predictions and not self.columns:
            said.append(f"{self.predictions:,} answers differ, and no column explains it")
        return f"of {self.rows:,} training rows, {'; '.join(said)}" if said else ""


_KINDS: Final = {
    "refused": "refused",
    "missing": "not logged",
    "type": "of another type",
    "filled": "a value where training saw none",
    "emptied": "none where training saw a value",
    "spelling": "spelled otherwise",
    "category": "another text",
    "precision": "rounded",
    "time zone": "shifted by a time zone",
    "value": "another number",
    "swapped": "read in another column's place",
}


def compare(
    training: Training, seen: Seen, signature: Signature, *, hidden: Sequence[str] = (),
    predict: Predict | None = None,
) -> Skew:  # fmt: skip
    """Hold what an endpoint saw and answered against training.

    `predict` asks the package: where answers differ though every cell agrees, it tells which two
    columns stand in each other's place.
    """
    off = np.zeros(training.rows, dtype=bool)
    columns: dict[str, dict[str, int]] = {}

    def count(column: str, kind: str, row: int) -> None:
        kinds = columns.setdefault(column, {})
        kinds[kind] = kinds.get(kind, 0) + 1
        off[row] = True

    for row, answer in enumerate(seen.answers):
        if isinstance(answer, Refused):
            count(answer.column or "?", "refused", row)
    answered = [i for i, one in enumerate(seen.answers) if not isinstance(one, Refused)]
    for column in signature.inputs:
        if column.name in hidden:
            continue
        logged = seen.columns.get(column.name)
        for row in answered:
            mine = training.features[column.name][row]
            kind = "missing" if logged is None else difference(mine, logged[row], column.kind)
            if kind:
                count(column.name, kind, row)
    wrong = [row for row in answered if _differs(training, row, seen.answers[row], signature)]
    if len(wrong) > _allowed(training.rows):
        off[wrong] = True
        if not columns and predict is not None:
            for name in _swapped(training, signature, predict):
                columns[name] = {"swapped": len(wrong)}
    else:
        wrong = []
    return Skew(
        rows=training.rows,
        off=int(off.sum()),
        columns=columns,
        predictions=len(wrong),
        hidden=tuple(hidden),
    )


def difference(mine: Any, logged: Any, kind: str) -> str:
    """How a logged cell differs from training's, "" where it is the same."""
    if mine is None or logged is None:
        return "" if mine is logged else "filled" if mine is None else "emptied"
    if isinstance(mine, str) != isinstance(logged, str):
        return "type"
    if isinstance(mine, str):
        return "" if mine == logged else _of_texts(mine, logged)
    if kind == "boolean":
        return "" if float(mine) == float(logged) else "value"
    return _of_numbers(mine, float(logged))


def _of_texts(mine: str, logged: str) -> str:
    if _plain(mine) == _plain(logged):
        return "spelling"
    try:
        apart = abs(ids.parse_time(mine) - ids.parse_time(logged)) / 1e6
    except (ValueError, OverflowError):
        return "category"
    return "time zone" if _is_zone(apart) else "category"


def _plain(text: str) -> str:
    """A text without what spellings differ in: case, accents' encoding, spaces and punctuation."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(one for one in folded if one.isalnum())


def _of_numbers(mine: float, logged: float) -> str:
    # Exact, whole numbers beyond 2**53 too: Python compares an int with a float by value.
    if mine == logged:
        return ""
    apart = abs(float(mine) - logged)
    if abs(float(mine)) > _EPOCH and any(_is_zone(apart / unit) for unit in (1.0, 1e3, 1e6)):
        return "time zone"
    return "precision" if apart <= _NEAR * abs(float(mine)) else "value"


def _is_zone(seconds: float) -> bool:
    return 0 < seconds <= _HOURS * 3600 and math.isclose(seconds % _QUARTER, 0.0, abs_tol=1e-6)


def _differs(training: Training, row: int, answer: Answer | Refused, signature: Signature) -> bool:
    """Whether an answer is outside of what packaging allows."""
    assert not isinstance(answer, Refused)  # those are counted apart
    decision, score = answer
    mine = np.atleast_1d(np.asarray(training.scores[row], dtype=np.float64))
    theirs = np.atleast_1d(np.asarray(score, dtype=np.float64))
    if mine.shape != theirs.shape:
        return True
    apart = float(np.abs(mine - theirs).max()) / training.scale
    if not apart <= parity.FAR:
        return True
    # A decision may flip where the score sits on the threshold, and only there.
    flips = signature.task != "regression" and decision != training.decisions[row]
    return flips and apart > parity.CLOSE


def _allowed(rows: int) -> int:
    return max(1, int(parity.SHARE * rows))


def _swapped(training: Training, signature: Signature, predict: Predict) -> tuple[str, ...]:
    """Two columns whose exchange gives training's answers, () where there are none.

    Of two answers that both explain it, the one that leaves fewer rows off is taken.
    """
    arrays = _arrays(training.features, signature)
    kinds: dict[bool, list[str]] = {True: [], False: []}
    for column in signature.inputs:
        kinds[column.kind == "text"].append(column.name)
    pairs = [pair for names in kinds.values() for pair in combinations(names, 2)]
    best: tuple[int, tuple[str, ...]] = (_allowed(training.rows) + 1, ())
    for one, other in pairs[:_MOST_PAIRS]:
        try:
            answers = predict({**arrays, one: arrays[other], other: arrays[one]})
        except ModelError:  # values that the model cannot take in this place
            continue
        left = sum(_differs(training, row, x, signature) for row, x in enumerate(answers))
        if left < best[0]:
            best = (left, (one, other))
    return best[1]


def _arrays(features: Mapping[str, list[Any]], signature: Signature) -> dict[str, NDArray[Any]]:
    return {
        c.name: np.array([x or "" for x in features[c.name]], dtype=object)
        if c.kind == "text"
        else np.array(features[c.name], dtype=np.float64)
        for c in signature.inputs
    }


Send = Callable[[dict[str, Any]], tuple[int, Any]]
"""One request body of the typed contract to a status and the decoded answer."""


def ask(training: Training, send: Send, name: str, *, batch: int = 64, single: int = 32) -> list[
    Answer | Refused
]:  # fmt: skip
    """Send every row as a client does: the first ones alone, then in batches; ids are `name-ROW`."""
    found: list[Answer | Refused] = []
    bounds = [*range(min(single, training.rows)), *range(single, training.rows, batch)]
    for start, end in zip(bounds, [*bounds[1:], training.rows], strict=True):
        places = range(start, end)
        status, answer = _send(training, send, name, places)
        if status == 200:
            found += [_answer(one) for one in answer["predictions"]]
        elif len(places) == 1:
            found.append(_refused(status, answer))
        else:
            for place in places:
                status, answer = _send(training, send, name, range(place, place + 1))
                one = _answer(answer["predictions"][0]) if status == 200 else None
                found.append(one or _refused(status, answer))
    return found


def _send(training: Training, send: Send, name: str, places: range) -> tuple[int, Any]:
    rows = [{key: cells[i] for key, cells in training.sent.items()} for i in places]
    if len(rows) == 1:
        return send({"row": rows[0], "id": f"{name}-{places[0]}"})
    return send({"rows": rows, "ids": [f"{name}-{i}" for i in places]})


def _answer(one: Mapping[str, Any]) -> Answer:
    if "value" in one:
        return None, one["value"]
    return one["decision"], [*one["scores"].values()] if "scores" in one else one["score"]


def _refused(status: int, answer: Any) -> Refused:
    error = answer.get("error") if isinstance(answer, dict) else None
    column = error.get("column") if isinstance(error, dict) else None
    return Refused(status=status, column=column or "")
