"""What the ledger says that other tables hold, and whether they do.

Evidence, verdicts, rollouts, incidents, versions and refs repeat what is chained, so that they can
be asked. A row that differs from its entry in one bit, is missing or was slipped in is found and
named. `ledger.verify` hands over entries that it has checked already.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final, NoReturn

import msgspec
import sqlalchemy as sa

from trimtab import hashing
from trimtab.errors import DataError, IntegrityError
from trimtab.store import tables
from trimtab.store.database import R, to_row
from trimtab.store.records import Evidence, Incident, Record, Rollout, Verdict

_BATCHES: Final[dict[str, tuple[sa.Table, type[Record]]]] = {
    "evidence": (tables.evidence, Evidence),
    "verdict": (tables.verdicts, Verdict),
}
_STATES: Final[dict[str, tuple[sa.Table, type[Record]]]] = {
    "rollout": (tables.rollouts, Rollout),
    "incident": (tables.incidents, Incident),
}
_HINT: Final = "restore .trimtab/store.db from a backup; the ledger's entry holds the true values"


def settled(kind: type[R], batch: list[R]) -> list[R]:
    """Records as they read back from the ledger's text; raises DataError where they would not."""
    try:
        return msgspec.json.decode(hashing.canonical(batch), type=list[kind], strict=False)  # type: ignore[valid-type]
    except (msgspec.ValidationError, TypeError, UnicodeError) as error:
        raise DataError(f"{kind.__name__} cannot be stored: {error}") from error


class Chained:
    """The newest chained value of every row, gathered entry by entry."""

    def __init__(self) -> None:
        self._records: dict[str, dict[str, tuple[int, Record]]] = {
            kind: {} for kind in (*_BATCHES, *_STATES)
        }
        self._versions: dict[tuple[str, str], tuple[int, str, str]] = {}
        self._refs: dict[tuple[str, str], tuple[int, str]] = {}

    def note(self, seq: int, kind: str, body: str) -> None:
        """Take an entry in; raises IntegrityError where its body is not one of its kind."""
        try:
            if kind in _BATCHES:
                for part in msgspec.json.decode(body, type=list[msgspec.Raw]):
                    self._note_record(seq, kind, _BATCHES[kind][1], part)
            elif kind in _STATES:
                self._note_record(seq, kind, _STATES[kind][1], body)
            else:
                self._note_name(seq, kind, msgspec.json.decode(body))
        except (msgspec.DecodeError, KeyError) as error:
            raise IntegrityError(f"ledger entry {seq} is not a {kind}: {error}") from error

    def _note_record(
        self, seq: int, kind: str, type_: type[Record], text: str | msgspec.Raw
    ) -> None:
        record: Any = msgspec.json.decode(text, type=type_, strict=False)
        self._records[kind][record.id] = (seq, record)

    def _note_name(self, seq: int, kind: str, body: Any) -> None:
        if kind == "version":
            key = (body["kind"], body["name"])
            self._versions[key] = (seq, body["digest"], body["run"])
        elif isinstance(body, dict) and body.keys() == {"name", "from", "to"}:
            self._refs[kind, body["name"]] = (seq, body["to"])

    def check(self, db: sa.Connection, project: str) -> None:
        """Compare a project's tables; raises IntegrityError naming the first row that differs."""
        for kind, (table, _) in _BATCHES.items():
            self._check_records(db, project, kind, table, numbered=True)
        for kind, (table, _) in _STATES.items():
            self._check_records(db, project, kind, table, numbered=False)
        self._check_versions(db, project)
        self._check_refs(db, project)

    def _check_records(
        self, db: sa.Connection, project: str, kind: str, table: sa.Table, *, numbered: bool
    ) -> None:
        expected = self._records[kind]
        for row in _raw(db, table, project):
            seq, record = expected.pop(row["id"], (0, None))
            if record is None:
                _differs(table, row["id"], "is not in the ledger: it was slipped in")
            values = to_row(record, project=project) | ({"seq": seq} if numbered else {})
            for column in table.c:
                if not _same(row[column.name], _kept(column, values[column.name], db.dialect)):
                    what = f"is not what ledger entry {seq} says: its {column.name} was changed"
                    _differs(table, row["id"], what)
        for name, (seq, _) in expected.items():
            _differs(table, name, f"is in ledger entry {seq} but no longer in its table")

    def _check_versions(self, db: sa.Connection, project: str) -> None:
        for row in _raw(db, tables.versions, project):
            label = f"{row['name']}@v{row['number']}"
            seq, digest, run = self._versions.pop((row["kind"], label), (0, "", ""))
            if (row["digest"], row["run"]) != (digest, run):
                what = f"is not what ledger entry {seq} says" if seq else "is not in the ledger"
                _differs(tables.versions, label, f"{what}: it was changed")
        for (_, label), (seq, *_) in self._versions.items():
            _differs(tables.versions, label, f"is in ledger entry {seq} but no longer in its table")

    def _check_refs(self, db: sa.Connection, project: str) -> None:
        for row in _raw(db, tables.refs, project):
            seq, digest = self._refs.pop((row["kind"], row["name"]), (0, ""))
            if row["digest"] != digest or not seq:
                what = f"does not point where ledger entry {seq} says: it was changed"
                _differs(tables.refs, f"{row['kind']} {row['name']}", what)
        for (kind, name), (seq, digest) in self._refs.items():
            if digest:
                what = f"is in ledger entry {seq} but no longer in its table"
                _differs(tables.refs, f"{kind} {name}", what)


def _raw(db: sa.Connection, table: sa.Table, project: str) -> Iterator[dict[str, Any]]:
    """The project's rows as the driver gives them: a changed value may no longer be of its type."""
    columns = [sa.type_coerce(column, sa.types.NullType()).label(column.name) for column in table.c]
    for row in db.execute(sa.select(*columns).where(table.c.project == project)):
        yield dict(row._mapping)  # noqa: SLF001 - public by its documentation


def _kept(column: sa.Column[Any], value: Any, dialect: sa.Dialect) -> Any:
    """A value as the database keeps it in that column."""
    bind = column.type.dialect_impl(dialect).bind_processor(dialect)
    kept = value if bind is None else bind(value)
    return int(kept) if isinstance(kept, bool) else kept


def _same(found: Any, expected: Any) -> bool:
    if isinstance(found, float) and isinstance(expected, float) and math.isnan(expected):
        return math.isnan(found)
    return type(found) is type(expected) and bool(found == expected)


def _differs(table: sa.Table, name: str, what: str) -> NoReturn:
    raise IntegrityError(f"{table.name} row {name} {what}", hint=_HINT)
