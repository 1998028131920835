"""Statements that run for every step: compiled once, then nothing but the driver's own work.

SQLAlchemy's way to the driver costs several times what SQLite takes for such a statement. Here its
compiled text and column types are used without what lies between; other databases go its way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec
import sqlalchemy as sa

from trimtab.store.records import Record

R = TypeVar("R", bound=Record)
V = TypeVar("V")
_Convert = Callable[[Any], Any] | None
AT_ONCE: Final = 500  # values in one statement; SQLite takes 32,766


def in_parts(values: Sequence[V]) -> Iterator[Sequence[V]]:
    """Values, such as ids, as many at a time as one statement asks about."""
    for begin in range(0, len(values), AT_ONCE):
        yield values[begin : begin + AT_ONCE]


def write(connection: sa.Connection, statement: Any, rows: Sequence[Mapping[str, Any]]) -> int:
    """Execute an insert, update or delete for every row; how many rows of the table it changed.

    The statement is one that lives on (a constant or a cached one), and all rows have the same keys.
    """
    if connection.dialect.name != "sqlite":
        # one by one and asked to: else it is not known how many rows an insert has changed
        asked = {"preserve_rowcount": True}
        done = (connection.execute(statement, dict(one), execution_options=asked) for one in rows)
        return sum(int(one.rowcount) for one in done)
    text, binds = _compiled(connection.dialect, statement, tuple(rows[0]))
    raw: Any = connection.connection.dbapi_connection
    return sum(raw.execute(text, _bound(binds, row)).rowcount for row in rows)


def read(
    connection: sa.Connection, statement: Any, values: Mapping[str, Any], kind: type[R]
) -> list[R]:
    """The rows of a select as records; columns that the record does not have are dropped."""
    fields = kind.__struct_fields__
    if connection.dialect.name != "sqlite":
        found = connection.execute(statement, dict(values)).mappings()
        return [_record(kind, {name: row[name] for name in fields}) for row in found]
    text, binds = _compiled(connection.dialect, statement, tuple(values))
    raw: Any = connection.connection.dbapi_connection
    columns = [one for one in _results(connection.dialect, statement) if one[1] in fields]
    return [
        _record(kind, {name: of(row[place]) if of else row[place] for place, name, of in columns})
        for row in raw.execute(text, _bound(binds, values)).fetchall()
    ]


def _record(kind: type[R], values: dict[str, Any]) -> R:
    return msgspec.convert(values, kind, strict=False)


def _bound(binds: tuple[tuple[str, Any, _Convert], ...], row: Mapping[str, Any]) -> list[Any]:
    values = [(row.get(name, default), convert) for name, default, convert in binds]
    return [convert(value) if convert else value for value, convert in values]


@lru_cache(maxsize=128)
def _compiled(
    dialect: sa.Dialect, statement: Any, keys: tuple[str, ...]
) -> tuple[str, tuple[tuple[str, Any, _Convert], ...]]:
    """The text for the driver, and for each of its places the name, default and conversion."""
    made = statement.compile(dialect=dialect, column_keys=None if statement.is_select else keys)
    binds = tuple(
        (name, made.params.get(name), _kept(made.binds[name].type, dialect))
        for name in made.positiontup or ()
    )
    return str(made), binds


def _kept(kind: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> _Convert:
    return kind.dialect_impl(dialect).bind_processor(dialect)


@lru_cache(maxsize=128)
def _results(dialect: sa.Dialect, statement: Any) -> list[tuple[int, str, _Convert]]:
    return [
        (place, str(column.name), column.type.dialect_impl(dialect).result_processor(dialect, None))
        for place, column in enumerate(statement.selected_columns)
    ]
