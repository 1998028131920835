"""The rows of a turn as one table: scored together, and as the log takes them.

`of` gives the shortest way that a route has: cell by cell for a graph whose rows are logged as they
came, and else what every request goes through. None is said of a table with a row that needs a look
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from trimtab.model.several import packed
from trimtab.model.signature import Class
from trimtab.serve import job
from trimtab.serve.protocols.parse import Checked
from trimtab.serve.router import Route
from trimtab.serve.shell.fast import Row


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """Scored rows; `numbers`, `words` and `context` are their columns as a frame of the log has them."""

    scores: list[float]
    decisions: list[Class]
    runs: int
    numbers: dict[str, bytes]
    words: dict[str, list[str | None]]
    context: dict[str, list[Any]]
    unseen: dict[str, int]


Score = Callable[[Sequence[Row]], Outcome | None]
"""Rows to what came of them; raises TrimtabError where the model fails."""


def of(route: Route) -> Score:
    """How the rows of a route with one score per row become a table."""
    model = route.model
    if model.several is None or route.rules:
        return lambda rows: _checked(route, rows)
    fast, most, predict = route.fast, route.most, model.several().predict
    numbers, words = model.signature.numbers, model.signature.words
    split, end = len(numbers), len(numbers) + len(words)

    def score(rows: Sequence[Row]) -> Outcome | None:
        columns = list(zip(*rows, strict=True))
        unseen = fast.unseen_in(columns)
        if unseen is None:
            return None
        count = len(rows)
        scores: list[float] = []
        decisions: list[Class] = []
        for start in range(0, count, most):
            found = predict(rows[start : start + most] if count > most else rows)
            if found is None:
                return None
            scores += found[0]
            decisions += found[1]
        return Outcome(
            scores,
            decisions,
            -(-count // most),
            dict(zip(numbers, packed("d", columns[:split]), strict=True)),
            # As tuples, which the log writes as lists.
            dict(zip(words, columns[split:end], strict=True)),  # type: ignore[arg-type]
            fast.sent(columns[end:]) if len(columns) > end else {},
            unseen,
        )

    return score


def columns_of(
    route: Route, checked: Checked
) -> tuple[dict[str, bytes], dict[str, list[str | None]], dict[str, list[Any]]]:
    """The columns as they may be logged."""
    names = route.model.signature.numbers
    if not route.rules:
        whole, width = checked.numbers.tobytes(), 8 * checked.count
        pieces = [whole[at : at + width] for at in range(0, len(whole), width)]
        return dict(zip(names, pieces, strict=True)), checked.words, checked.context
    numbers, words, context = route.rules.apply(
        dict(zip(names, checked.numbers, strict=True)), checked.words, checked.context
    )
    packed = {name: values.tobytes() for name, values in numbers.items()}
    return packed, dict(words), dict(context)


def _checked(route: Route, rows: Sequence[Row]) -> Outcome | None:
    checked = route.fast.matrix(rows)
    if checked is None:
        return None
    outputs, runs = job.predict(route, checked)
    scores: list[float] = outputs.score.tolist()
    return Outcome(scores, outputs.decision, runs, *columns_of(route, checked), checked.unseen)
