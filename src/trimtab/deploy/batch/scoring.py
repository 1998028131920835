"""The answers of a chunk, and the rows that get none with the reason of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from trimtab.deploy.batch.chunk import Broken, Chunk
from trimtab.errors import InputError, ModelError, TrimtabError
from trimtab.model.load import LoadedModel, Outputs
from trimtab.serve.protocols.parse import Checker, Rows
from trimtab.serve.score import score, take

_Refusal = InputError | ModelError


@dataclass(frozen=True)
class Answered:
    """`good` are the places in the chunk that `outputs` answers, in order; None where none is."""

    good: list[int] = field(default_factory=list)
    outputs: Outputs | None = None
    broken: list[Broken] = field(default_factory=list)
    unseen: dict[str, int] = field(default_factory=dict)


def answer(model: LoadedModel, checker: Checker, chunk: Chunk) -> Answered:
    """Score what can be scored; no row fails for another's sake."""
    rows = Rows(columns=chunk.columns, count=len(chunk.rows))
    good, refused = list(range(rows.count)), dict[int, TrimtabError]()
    while good:
        part = take(rows, good) if refused else rows
        try:
            checked, outputs = score(model, checker, part)
        except (InputError, ModelError) as error:
            found = dict(_refused(model, checker, rows, good, error))
            if not found:  # it fails for these rows together only
                raise
            refused |= found
            good = [place for place in good if place not in refused]
        else:
            return Answered(good, outputs, _broken(chunk, refused), checked.unseen)
    return Answered(broken=_broken(chunk, refused))


def _refused(
    model: LoadedModel, checker: Checker, rows: Rows, places: Sequence[int], error: _Refusal
) -> Iterator[tuple[int, TrimtabError]]:
    """The rows that fail alone, found by halving: a few cost little, and all of them twice a row."""
    if len(places) == 1:
        yield places[0], error
        return
    middle = len(places) // 2
    for half in (places[:middle], places[middle:]):
        part = take(rows, half)
        try:
            if isinstance(error, InputError):
                checker.check(part)
            else:
                score(model, checker, part)
        except (InputError, ModelError) as found:
            yield from _refused(model, checker, rows, half, found)


def _broken(chunk: Chunk, refused: dict[int, TrimtabError]) -> list[Broken]:
    named = [
        Broken(chunk.rows[place], _column(error), _reason(error))
        for place, error in refused.items()
    ]
    return sorted([*chunk.broken, *named], key=lambda one: one.row)


def _column(error: TrimtabError) -> str:
    return error.column or "" if isinstance(error, InputError) else ""


def _reason(error: TrimtabError) -> str:
    return f"{error.message}; {error.hint}" if error.hint else error.message
