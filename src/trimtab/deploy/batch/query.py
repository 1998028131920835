"""The result of an SQL query as a file: read once, row by row, so that a resumed job scores the
same rows and no transaction stays open while it does.

SQLite needs nothing, PostgreSQL psycopg 3.
"""

from __future__ import annotations

import contextlib
import datetime
import decimal
import importlib
import sqlite3
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

import msgspec

from trimtab.errors import DataError, MissingExtraError, NotFoundError, UsageError

SCHEMES: Final = ("sqlite", "postgresql", "postgres")
_FETCH: Final = 5_000
_HINT: Final = "write sqlite:///file.db?query=SELECT … or postgresql://host/name?query=SELECT …"


def is_query(source: str) -> bool:
    """Whether a source is an address with a query and no path."""
    return source.partition("://")[0] in SCHEMES and "://" in source


def spool(source: str, into: Path, booleans: Sequence[str] = ()) -> int:
    """Write every row of a query as NDJSON; returns how many.

    SQLite has no booleans: in the columns `booleans` its 0 and 1 are false and true.
    Raises UsageError for an address without a query, NotFoundError for no such file,
    MissingExtraError without a driver, DataError where the database refuses.
    """
    parts = urlsplit(source)
    asked = parse_qs(parts.query)
    query = asked.pop("query", [""])[0].strip()
    if not query:
        raise UsageError(f"{_shown(source)} has no query", hint=_HINT)
    count = 0
    with into.open("wb") as stream:
        for row in _rows(source, query, booleans):
            stream.write(msgspec.json.encode(row) + b"\n")
            count += 1
    return count


def _rows(source: str, query: str, booleans: Sequence[str]) -> Iterator[dict[str, Any]]:
    is_sqlite = source.startswith("sqlite:")
    read, coded = (_sqlite, booleans) if is_sqlite else (_postgresql, ())
    with contextlib.closing(read(source, query)) as found:
        names: Sequence[str] = next(found)
        repeated = [name for place, name in enumerate(names) if name in names[:place]]
        if repeated:
            raise DataError(
                f"the query gives two columns called {repeated[0]!r}", hint="name one with AS"
            )
        for row in found:
            yield {
                name: bool(value) if name in coded and value in (0, 1) else _plain(name, value)
                for name, value in zip(names, row, strict=True)
            }


def _sqlite(source: str, query: str) -> Generator[Any, None, None]:
    """Column names, then rows."""
    parts = urlsplit(source)
    # sqlite:///loans.db is relative, sqlite:////srv/loans.db absolute, as SQLAlchemy writes them.
    path = Path(unquote(parts.path.removeprefix("/")))
    if parts.netloc or not parts.path.strip("/"):
        raise UsageError(f"{_shown(source)} names no file", hint=_HINT)
    if not path.is_file():
        raise NotFoundError(f"there is no database {path}")
    try:
        address = f"file:{path.resolve().as_posix().replace('?', '%3f').replace('#', '%23')}"
        with contextlib.closing(sqlite3.connect(f"{address}?mode=ro", uri=True)) as database:
            cursor = database.execute(query)
            if cursor.description is None:
                raise DataError("the query gives no rows", hint="write a SELECT")
            yield [one[0] for one in cursor.description]
            yield from cursor
    except sqlite3.Error as error:
        raise DataError(f"{path} refused the query: {error}") from error


def _postgresql(source: str, query: str) -> Generator[Any, None, None]:
    try:
        psycopg = importlib.import_module("psycopg")  # a driver that few need
    except ImportError as error:
        raise MissingExtraError(
            "reading PostgreSQL needs psycopg, which is not installed here",
            hint="pip install 'psycopg[binary]'",
        ) from error
    parts = urlsplit(source)
    rest = "&".join(x for x in parts.query.split("&") if not x.startswith("query="))
    address = urlunsplit(parts._replace(scheme="postgresql", query=rest))
    try:
        # A named cursor lives on the server: the rows come as they are asked for.
        with psycopg.connect(address) as database, database.cursor(name="trimtab") as cursor:
            database.read_only = True
            cursor.itersize = _FETCH
            cursor.execute(query)
            first = cursor.fetchmany(_FETCH)
            yield [one.name for one in cursor.description or ()]
            while first:
                yield from first
                first = cursor.fetchmany(_FETCH)
    except psycopg.Error as error:
        raise DataError(f"{_shown(source)} refused the query: {error}") from error


def _plain(name: str, value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    raise DataError(
        f"column {name!r} of the query holds {type(value).__name__} values",
        hint="select plain columns of numbers, booleans, texts and times",
    )


def _shown(source: str) -> str:
    """The address without its password and query."""
    if source.startswith("sqlite:"):
        return source.partition("?")[0]
    parts = urlsplit(source)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))


def describe(source: str) -> str:
    """What an address may be called in a report."""
    return _shown(source)
