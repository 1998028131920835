"""Request rows against a model's signature: typed columns out, or an error naming row and column.

Every contract turns its body into `Rows`; this module alone decides what a model accepts, so two
contracts cannot differ. Error texts name columns and never repeat a value, which may be personal.
"""

from __future__ import annotations

import contextlib
import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.errors import InputError
from trimtab.model.signature import Column, Signature
from trimtab.serve.reply import Refusal

MAX_ROWS: Final = 10_000
MAX_TEXT: Final = 65_536
MAX_ID: Final = 200
FLOAT32: Final = float(np.finfo(np.float32).max)
_YEAR_2200: Final = 7_258_118_400_000_000
_NUMBERS: Final = {"number": frozenset({int, float}), "boolean": frozenset({bool})}
_LITERALS: Final = (b"NaN", b"Infinity")


@dataclass(frozen=True)
class Rows:
    """Rows as a contract read them: one list per column, nothing checked but their lengths.

    `ids` and `event_times` (microseconds) are the client's own, one per row, or None. `options` is
    what the contract wants to remember for its reply.
    """

    columns: Mapping[str, list[Any]]
    count: int
    ids: list[str] | None = None
    event_times: list[int] | None = None
    options: Any = None


class Checked(msgspec.Struct, frozen=True, eq=False, gc=False):
    """Rows that a model accepts.

    `numbers` is float64 [columns, rows] of the number and boolean inputs in the signature's order,
    NaN for null; `words` are the texts with their nulls, in order as well; `context` the columns
    that are only logged; `unseen` counts categories that training did not see, by column.
    """

    count: int
    numbers: NDArray[np.float64]
    words: dict[str, list[str | None]] = {}
    context: dict[str, list[Any]] = {}
    unseen: dict[str, int] = {}

    def take(self, start: int, end: int) -> Checked:
        """The rows from `start` up to `end`; their unseen categories are not counted again."""
        return Checked(
            count=end - start,
            numbers=self.numbers[:, start:end],
            words={name: values[start:end] for name, values in self.words.items()},
            context={name: values[start:end] for name, values in self.context.items()},
        )


class Checker:
    """Accepts rows for one signature; built once per loaded model."""

    def __init__(self, signature: Signature) -> None:
        self.inputs = signature.inputs
        self.numbers = [c for c in signature.inputs if c.kind != "text"]
        self.words = [c for c in signature.inputs if c.kind == "text"]
        self.context = signature.context
        self.names = frozenset(c.name for c in (*signature.inputs, *signature.context))
        self.known = {c.name: frozenset(c.categories) for c in signature.inputs if c.categories}

    def check(self, rows: Rows, known: Iterable[str] = ()) -> Checked:
        """Check rows; raises InputError at the first wrong cell, column by column.

        `known` are further column names that are ignored here: another model of the same endpoint
        reads them.
        """
        columns = rows.columns
        if not rows.count:
            raise InputError("the request holds no rows", hint="send at least one row")
        if not columns.keys() <= self.names:
            self._refuse_unknown(columns, self.names.union(known))
        for column in self.inputs:
            if column.name not in columns:
                raise _wrong(column, msgspec.UNSET, 0)
        checked = Checked(count=rows.count, numbers=_numbers(self.numbers, rows))
        for column in self.words:
            self._take_words(checked, column, columns[column.name])
        for column in self.context:
            if column.name in columns:
                checked.context[column.name] = _context(column, columns[column.name])
        return checked

    def _take_words(self, checked: Checked, column: Column, values: list[Any]) -> None:
        _check_words(column, values)
        checked.words[column.name] = values
        if seen := self.known.get(column.name):
            unseen = [
                i for i, value in enumerate(values) if value is not None and value not in seen
            ]
            if unseen and column.closed:
                raise InputError(
                    f"column {column.name!r} holds a category that the model was not trained on",
                    hint=f"one of: {_some(column.categories)}",
                    row=unseen[0],
                    column=column.name,
                )
            if unseen:
                checked.unseen[column.name] = len(unseen)

    def _refuse_unknown(self, columns: Mapping[str, list[Any]], known: frozenset[str]) -> None:
        for name in columns:
            if name not in known:
                near = difflib.get_close_matches(name, sorted(known), n=1)
                raise InputError(
                    f"unknown column {_short(name)!r}",
                    hint=f"did you mean {near[0]!r}?" if near else f"known: {_some(sorted(known))}",
                    row=next((i for i, v in enumerate(columns[name]) if v is not msgspec.UNSET), 0),
                    column=_short(name),
                )


def from_records(records: list[Any]) -> dict[str, list[Any]]:
    """Row objects to columns, UNSET where a row lacks one; raises InputError on a row that is none."""
    for row, record in enumerate(records):
        if not isinstance(record, dict):
            raise InputError(f"row {row} is {_json_type(record)}, not an object", row=row)
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [record.get(name, msgspec.UNSET) for record in records] for name in names}


def decode_json(body: bytes, *, nan: bool = False) -> Any:
    """A JSON body; raises Refusal 400 where malformed, InputError where it holds NaN or Infinity.

    With `nan` the word NaN, which is no JSON, is null: clients built on pandas write it so.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if nan and b"NaN" in body:
            with contextlib.suppress(ValueError, RecursionError):
                found = json.loads(body, parse_constant=_null)
                msgspec.json.encode(found)  # a lone surrogate is no text
                return found
        if isinstance(error, msgspec.ValidationError) or any(x in body for x in _LITERALS):
            _refuse_non_finite(body)
        said = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise Refusal(
            400, "bad_json", f"the body is not JSON: {said}", hint="send one JSON object in UTF-8"
        ) from None


def _null(word: str) -> None:
    if word != "NaN":
        raise ValueError(word)


def check_count(count: int) -> None:
    """Raises Refusal 413 above 10,000 rows."""
    if count > MAX_ROWS:
        raise Refusal(
            413,
            "too_many_rows",
            f"the request holds {count:,} rows, {MAX_ROWS:,} is the limit",
            hint="send several requests, or score a file with `trimtab predict`",
        )


def check_id(value: Any, row: int | None = None) -> str:
    """An id given by a client, as text; raises InputError."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not 0 < len(text) <= MAX_ID or not text.isprintable():
        raise InputError(
            f"an id must be printable text of 1 to {MAX_ID} characters", row=row, column="ids"
        )
    return text


def check_time(moment: int, row: int | None = None) -> int:
    """An event time in microseconds; raises InputError outside of 1970 to 2200."""
    if not 0 <= moment < _YEAR_2200:
        raise InputError(
            "an event time lies outside of 1970 to 2200",
            hint="send RFC 3339 text, or microseconds since 1970 as an integer",
            row=row,
            column="event_time",
        )
    return moment


def _numbers(inputs: list[Column], rows: Rows) -> NDArray[np.float64]:
    """Number and boolean columns as one checked matrix."""
    if not inputs:
        return np.empty((0, rows.count))
    lists = [rows.columns[column.name] for column in inputs]
    for column, values in zip(inputs, lists, strict=True):
        accepted = _NUMBERS[column.kind]
        if not accepted.issuperset(map(type, values)):
            for row, value in enumerate(values):
                if type(value) not in accepted and not (value is None and column.nullable):
                    raise _wrong(column, value, row)
    try:
        matrix = np.array(lists, dtype=np.float64)
    except OverflowError:  # an integer beyond 64-bit floats
        matrix = np.array([[_as_float(value) for value in values] for values in lists])
    fits = fit(matrix)
    if not fits.all():
        for place, row in np.argwhere(~fits).tolist():
            if lists[place][row] is not None:
                raise InputError(
                    f"column {inputs[place].name!r} holds a number beyond a 32-bit float",
                    hint="send null for a missing value",
                    row=row,
                    column=inputs[place].name,
                )
    return matrix


def fit(matrix: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which numbers a 32-bit float holds; False for NaN, which is how null arrives."""
    found: NDArray[np.bool_] = np.abs(matrix) <= FLOAT32
    return found


def join(parts: list[Checked]) -> Checked:
    """Rows of several requests for one model as one table, in their order."""
    if len(parts) == 1:
        return parts[0]
    unseen: dict[str, int] = {}
    for part in parts:
        for name, count in part.unseen.items():
            unseen[name] = unseen.get(name, 0) + count
    sent = dict.fromkeys(name for part in parts for name in part.context)
    return Checked(
        count=sum(part.count for part in parts),
        numbers=np.concatenate([part.numbers for part in parts], axis=1),
        words={
            name: [value for part in parts for value in part.words[name]] for name in parts[0].words
        },
        context={
            name: [
                value for part in parts for value in part.context.get(name) or [None] * part.count
            ]
            for name in sent
        },
        unseen=unseen,
    )


def _as_float(value: Any) -> float:
    try:
        return np.nan if value is None else float(value)
    except OverflowError:
        return np.inf


def _check_words(column: Column, values: list[Any]) -> None:
    for row, value in enumerate(values):
        if isinstance(value, str):
            if len(value) > MAX_TEXT:
                raise _too_long(column, value, row)
        elif value is not None or not column.nullable:
            raise _wrong(column, value, row)


def _context(column: Column, values: list[Any]) -> list[Any]:
    """Context is logged as sent: any single value, null where a row lacks it."""
    for row, value in enumerate(values):
        if isinstance(value, dict | list):
            raise _wrong(column, value, row)
        if isinstance(value, str) and len(value) > MAX_TEXT:
            raise _too_long(column, value, row)
    return [None if value is msgspec.UNSET else value for value in values]


def _too_long(column: Column, value: str, row: int) -> InputError:
    return InputError(
        f"column {column.name!r} holds a text of {len(value):,} characters",
        hint=f"{MAX_TEXT:,} is the limit",
        row=row,
        column=column.name,
    )


def _wrong(column: Column, value: Any, row: int) -> InputError:
    if value is msgspec.UNSET:
        said = "is missing"
    elif value is None:
        said = "is null, and training saw no null in it"
    else:
        said = f"is {_json_type(value)}"
    return InputError(
        f"column {column.name!r} {said}", hint=_expects(column), row=row, column=column.name
    )


def _expects(column: Column) -> str:
    what = {"number": "a number", "text": "a text", "boolean": "true or false"}[column.kind]
    return f"send {what}" + (" or null" if column.nullable else "")


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", str: "a text", int: "a number", float: "a number", list: "a list"}
    return names.get(type(value), "an object")


def _refuse_non_finite(body: bytes) -> None:
    """Find the NaN, Infinity or 1e999 that made a body invalid JSON, and name its place."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return
    path = _path_of_non_finite(value)
    if path is None:
        return
    row = next((part for part in path if isinstance(part, int)), 0)
    column = next((part for part in reversed(path) if isinstance(part, str)), None)
    raise InputError(
        "a value is NaN, infinite or too large for a 64-bit float, which JSON cannot hold",
        hint="send null for a missing value",
        row=row,
        column=column,
    )


def _path_of_non_finite(value: Any) -> list[str | int] | None:
    if isinstance(value, float) and not np.isfinite(value):
        return []
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, child in items:
        if (rest := _path_of_non_finite(child)) is not None:
            return [key, *rest]
    return None


def _short(name: str) -> str:
    return name if len(name) <= 80 else name[:77] + "..."


def _some(names: Iterable[str]) -> str:
    listed = [_short(name) for name in names]
    return ", ".join(listed[:12]) + (f" and {len(listed) - 12} more" if len(listed) > 12 else "")
