"""The short way there and back for what is sent most: `{"row": {...}}` or `{"rows": [...]}` in JSON,
and a tensor per column.

The row's type is made from the signature, so that decoding it checks names and types at once and
rows of many requests become one matrix. What it does not take, for whatever reason, goes the
ordinary way (`typed`, `parse.Checker`), which answers the same or says exactly what is wrong.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from operator import contains
from typing import Annotated, Any, Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.model.load import Outputs
from trimtab.model.signature import Class, Column, Signature
from trimtab.serve.protocols import parse
from trimtab.serve.protocols.parse import Checked
from trimtab.serve.reply import Response

_TEXT: Final = Annotated[str, msgspec.Meta(max_length=parse.MAX_TEXT)]
_KIND: Final[dict[str, Any]] = {"number": float, "boolean": bool, "text": _TEXT}
_CELLS: Final[dict[str, set[type]]] = {"number": {int, float}, "boolean": {bool}, "text": {str}}
_ODD: Final = re.compile(r'["\\\x00-\x1f]')  # what the decoder takes in no name
_CONTEXT: Final = bool | int | float | _TEXT | None | msgspec.UnsetType

NOT_TAKEN: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What the short way raises for a body that it does not take."""
_FLOAT64: Final = np.dtype("<f8")

_encode: Final = msgspec.json.Encoder().encode

Row = tuple[Any, ...]


class Taken(msgspec.Struct, frozen=True, gc=False):
    """Rows that were decoded: the cells in the order numbers, words, context."""

    rows: tuple[Row, ...]
    ids: tuple[str, ...] | None


class _Decided(msgspec.Struct, gc=False):
    id: str
    decision: Class
    score: float


class _Valued(msgspec.Struct, gc=False):
    id: str
    value: float


class _Reply(msgspec.Struct, gc=False):
    model: str
    model_version: str
    request_id: str
    predictions: list[Any]


class Fast:
    """Decodes and packs rows of one signature."""

    def __init__(self, signature: Signature) -> None:
        numbers = [c for c in signature.inputs if c.kind != "text"]
        words = [c for c in signature.inputs if c.kind == "text"]
        self.kinds = {c.name: c.kind for c in signature.inputs}
        self._numbers = len(numbers)
        self._words = tuple(c.name for c in words)
        self._context = tuple(c.name for c in signature.context)
        self._known = tuple(
            (c.name, place, frozenset(c.categories) | {None}, c.closed)
            for place, c in enumerate(words, start=len(numbers))
            if c.categories
        )
        self.columns = tuple(c.name for c in (*numbers, *words))
        self.orders: dict[tuple[tuple[str, ...], tuple[str, ...]], Callable[[Any], Any]] = {}
        self._cells = tuple((c.name, _CELLS[c.kind] | ({type(None)} if c.nullable else set()))
                            for c in (*numbers, *words))  # fmt: skip
        self._kinds = tuple(kinds for _, kinds in self._cells)
        self._unset = (msgspec.UNSET,) * len(self._context)
        # Field names are made up: a column's may be no name of Python.
        fields: list[Any] = [(f"c{i}", _type(c)) for i, c in enumerate([*numbers, *words])]
        fields += [
            (f"c{i}", _CONTEXT, msgspec.field(default=msgspec.UNSET))
            for i, _ in enumerate(signature.context, start=len(fields))
        ]
        names = [c.name for c in (*numbers, *words, *signature.context)]
        kind = None if any(map(_ODD.search, names)) else _row(fields, names)
        self._decoder = kind and msgspec.json.Decoder(_request(kind))
        self._alone = kind and msgspec.json.Decoder(_one(kind))

    def read(self, body: bytes) -> Taken | None:
        """The rows of a body, or None where it is not for the short way."""
        if self._decoder is None:
            return None
        try:
            request: Any = self._decoder.decode(body)
        except NOT_TAKEN:
            return None
        as_tuple = msgspec.structs.astuple
        unset = msgspec.UNSET
        if request.row is not unset:
            if request.rows is not unset or request.ids is not unset:
                return None
            if request.id is unset:
                return Taken((as_tuple(request.row),), None)
            if not request.id.isprintable():
                return None
            return Taken((as_tuple(request.row),), (request.id,))
        rows, ids = request.rows, None if request.ids is unset else request.ids
        if rows is unset or not 0 < len(rows) <= parse.MAX_ROWS or request.id is not unset:
            return None
        if ids is not None and not (
            len(ids) == len(rows) == len(set(ids)) and all(map(str.isprintable, ids))
        ):
            return None
        return Taken(tuple(map(as_tuple, rows)), ids)

    def alone(self, bodies: Sequence[bytes]) -> tuple[list[Row], Sequence[str]]:
        """The row of each body that holds one and nothing else; raises one of `NOT_TAKEN`."""
        if self._alone is None:
            raise msgspec.DecodeError("a column has a name that no decoder takes")
        decode, as_tuple = self._alone.decode, msgspec.structs.astuple
        return [as_tuple(decode(body).row) for body in bodies], ("",) * len(bodies)

    def one(self, body: bytes) -> tuple[Row, str]:
        """The same of one body, and no name."""
        if self._alone is None:
            raise msgspec.DecodeError("a column has a name that no decoder takes")
        return msgspec.structs.astuple(self._alone.decode(body).row), ""

    def lines(self, columns: Mapping[str, list[Any]]) -> Taken | None:
        """Rows that came as one list per input, all equally long, or None where one needs a look."""
        cells = []
        for name, kinds in self._cells:
            column = columns.get(name)
            if column is None or not kinds.issuperset(map(type, column)):
                return None
            if str in kinds and any(text and len(text) > parse.MAX_TEXT for text in column):
                return None
            cells.append(column)
        if len(columns) != len(cells) or not 0 < len(cells[0]) <= parse.MAX_ROWS:
            return None
        return Taken(tuple([(*row, *self._unset) for row in zip(*cells, strict=True)]), None)

    def line(self, cells: Sequence[Any]) -> Row | None:
        """A row that came as one cell per column of `columns`, or None where one needs a look."""
        if not all(map(contains, self._kinds, map(type, cells))):
            return None
        if any(text and len(text) > parse.MAX_TEXT for text in cells[self._numbers :]):
            return None
        return (*cells, *self._unset)

    def unseen(self, row: Row) -> Sequence[str] | None:
        """Columns in which a row holds a text that training did not see; None where one is closed."""
        found: list[str] = []
        for name, place, known, closed in self._known:
            if row[place] not in known:
                if closed:
                    return None
                found.append(name)
        return found

    def unseen_in(self, columns: Sequence[Sequence[Any]]) -> dict[str, int] | None:
        """How many such texts each column of a table holds."""
        found: dict[str, int] = {}
        for name, place, known, closed in self._known:
            if not known.issuperset(columns[place]):
                if closed:
                    return None
                found[name] = sum(cell not in known for cell in columns[place])
        return found

    def pack(self, taken: list[Taken]) -> Checked | None:
        """The rows of several requests in order, or None where one needs to be looked at alone."""
        if len(taken) > 1 or len(taken[0].rows) > 1:
            return self.matrix([row for one in taken for row in one.rows])
        return self.matrix(taken[0].rows)

    def matrix(self, rows: Sequence[Row]) -> Checked | None:
        """Decoded rows as a table, or None where a cell needs to be looked at alone."""
        count = len(rows)
        cells = list(zip(*rows, strict=True))
        split = self._numbers
        matrix = _numbers(rows[0][:split] if count == 1 else None, cells[:split], count)
        if matrix is None:
            return None
        unseen = self.unseen_in(cells)
        if unseen is None:
            return None
        end = split + len(self._words)
        return Checked(
            count=count,
            numbers=matrix,
            words={
                name: list(column)
                for name, column in zip(self._words, cells[split:end], strict=True)
            },
            context=self.sent(cells[end:]),
            unseen=unseen,
        )

    def sent(self, cells: Sequence[tuple[Any, ...]]) -> dict[str, list[Any]]:
        """Context columns that came, a list each."""
        if not cells:
            return {}
        unset = msgspec.UNSET
        return {
            name: [None if cell is unset else cell for cell in column]
            for name, column in zip(self._context, cells, strict=True)
            if any(cell is not unset for cell in column)
        }


def _numbers(
    alone: Row | None, cells: list[tuple[Any, ...]], count: int
) -> NDArray[np.float64] | None:
    """A matrix [columns, rows], None where a number is beyond a 32-bit float; `alone` is one row."""
    flat = list(chain.from_iterable(cells)) if alone is None else alone
    try:
        try:
            data = struct.pack(f"<{len(flat)}d", *flat)
            matrix = np.frombuffer(data, _FLOAT64).reshape(len(cells), count)
        except struct.error:  # a null
            matrix = np.array(cells, dtype=np.float64)
        else:
            if alone:  # plain Python finds the greatest of few sooner
                fits = max(flat) <= parse.FLOAT32 and min(flat) >= -parse.FLOAT32
                return matrix if fits else None
    except OverflowError:  # an integer beyond 64-bit floats
        return None
    return None if (np.abs(matrix) > parse.FLOAT32).any() else matrix  # False for NaN, a null


def _row(fields: list[Any], names: list[str]) -> Any:
    return msgspec.defstruct(
        "Row",
        fields,
        rename={f"c{i}": name for i, name in enumerate(names)}.get,
        forbid_unknown_fields=True,
        frozen=True,
        gc=False,
    )


def _one(kind: Any) -> Any:
    return msgspec.defstruct("One", [("row", kind)], forbid_unknown_fields=True, gc=False)


def _type(column: Column) -> Any:
    kind = _KIND[column.kind]
    return kind | None if column.nullable else kind


def _request(kind: Any) -> Any:
    name: Any = Annotated[str, msgspec.Meta(min_length=1, max_length=parse.MAX_ID)]
    unset = msgspec.UNSET
    fields = {"row": kind, "rows": list[kind], "id": name, "ids": tuple[name, ...]}
    return msgspec.defstruct(
        "Request",
        [(key, value | msgspec.UnsetType, unset) for key, value in fields.items()],
        forbid_unknown_fields=True,
        frozen=True,
    )


class Asked(Protocol):
    """What a reply needs to know of a request."""

    request: str
    ids: tuple[str, ...]


def replies(
    name: str, label: str, signature: Signature, outputs: Outputs, jobs: Sequence[Asked]
) -> list[Response]:
    """The responses of `/predict` to requests that were scored together, as `typed.write` has them.

    Not for a model of more than two classes.
    """
    is_number, start = signature.task == "regression", 0
    scores, decisions, found = outputs.score.tolist(), outputs.decision, []
    for job in jobs:
        ids, end = job.ids, start + len(job.ids)
        listed: list[Any]
        if is_number:
            listed = list(map(_Valued, ids, scores[start:end]))
        elif end - start == 1:
            listed = [_Decided(ids[0], decisions[start], scores[start])]
        else:
            listed = list(map(_Decided, ids, decisions[start:end], scores[start:end]))
        found.append(Response(200, _encode(_Reply(name, label, job.request, listed))))
        start = end
    return found
