"""The hash chain under evidence, verdicts and state changes: one chain per project.

An entry's hash is BLAKE3 in the ledger context over canonical JSON of
`[previous, seq, time, kind, body]`. The head moves by compare-and-swap in the transaction that
writes the entry. An unanchored chain proves nothing against somebody who rewrites all of it: keep
a head elsewhere and give it to `verify`. docs/formats/ledger.md is the specification.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from trimtab import hashing, ids
from trimtab.errors import ConflictError, IntegrityError
from trimtab.store import tables
from trimtab.store.chained import Chained
from trimtab.store.database import from_row, snapshot
from trimtab.store.records import LedgerEntry
from trimtab.store.workspace import Workspace

GENESIS: Final = ""
_HINT: Final = "restore .trimtab/store.db from a backup taken before it"


def entry_hash(previous: str, seq: int, time: int, kind: str, body: str) -> str:
    """The hash of an entry."""
    return hashing.digest("ledger", hashing.canonical([previous, seq, time, kind, body]))


def append(ws: Workspace, kind: str, body: Any) -> int:
    """Chain an entry and return its sequence number, from 1; joins the open transaction."""
    text = hashing.canonical(body).decode()
    heads = tables.ledger_heads
    with ws.transaction() as tx:
        last, previous = _head(tx, ws.project)
        seq = int(last) + 1
        time = ids.now()
        new = entry_hash(previous, seq, time, kind, text)
        values = {"seq": seq, "hash": new}
        if last == 0:
            tx.execute(heads.insert().values(project=ws.project, **values))
        else:
            moved = tx.execute(
                heads.update()
                .where(heads.c.project == ws.project, heads.c.seq == last)
                .values(**values)
            )
            if moved.rowcount != 1:
                raise ConflictError("the ledger's head moved meanwhile", hint="try again")
        tx.execute(
            tables.ledger.insert().values(
                project=ws.project,
                seq=seq,
                time=time,
                kind=kind,
                body=text,
                previous=previous,
                hash=new,
            )
        )
    return seq


def head(ws: Workspace) -> tuple[int, str]:
    """The last entry's sequence number and hash; (0, "") for an empty ledger."""
    with ws.reading() as db:
        seq, last = _head(db, ws.project)
    return int(seq), str(last)


def find(ws: Workspace, *, kind: str | None = None, limit: int = 1000) -> list[LedgerEntry]:
    """Entries, newest first."""
    query = sa.select(tables.ledger).where(tables.ledger.c.project == ws.project)
    if kind is not None:
        query = query.where(tables.ledger.c.kind == kind)
    with ws.reading() as db:
        rows = db.execute(query.order_by(tables.ledger.c.seq.desc()).limit(limit)).all()
    return [from_row(LedgerEntry, row) for row in rows]


def states(ws: Workspace, without: Sequence[str]) -> list[LedgerEntry]:
    """Every entry but those of some kinds, oldest first: the states that things went through."""
    query = sa.select(tables.ledger).where(
        tables.ledger.c.project == ws.project, tables.ledger.c.kind.not_in(list(without))
    )
    with ws.reading() as db:
        return [
            from_row(LedgerEntry, row) for row in db.execute(query.order_by(tables.ledger.c.seq))
        ]


def verify(ws: Workspace, *, expect: str = "") -> int:
    """Re-hash the chain and compare the tables that repeat it; returns the number of entries.

    `expect` is a head hash kept elsewhere; it must be in the chain. Raises IntegrityError naming
    the first entry, or row, that is not what the chain says. Writers may go on meanwhile: it looks
    at one moment.
    """
    previous, seq, seen = GENESIS, 0, False
    chained = Chained()
    with snapshot(ws.engine) as db:
        for row in db.execute(
            sa.select(tables.ledger)
            .where(tables.ledger.c.project == ws.project)
            .order_by(tables.ledger.c.seq)
        ):
            seq += 1
            if row.seq != seq:
                raise IntegrityError(
                    f"ledger entry {seq} is missing; the next one is {row.seq}", hint=_HINT
                )
            if (row.previous, row.hash) != (previous, _hash_of(previous, row)):
                raise IntegrityError(f"ledger entry {seq} was changed", hint=_HINT)
            previous = row.hash
            seen = seen or previous == expect
            chained.note(seq, row.kind, row.body)
        if _head(db, ws.project) != (seq, previous):
            raise IntegrityError(
                f"the ledger's head is not its last entry, {seq}: entries were removed", hint=_HINT
            )
        if expect and not seen:
            raise IntegrityError(
                f"the chain does not hold the expected head {expect}",
                hint="the chain was cut or rewritten since that head was kept",
            )
        chained.check(db, ws.project)
    return seq


def _hash_of(previous: str, row: Any) -> str:
    try:
        return entry_hash(previous, row.seq, row.time, row.kind, row.body)
    except UnicodeError:  # text that is not UTF-8 any more
        return ""


def _head(db: sa.Connection, project: str) -> tuple[Any, Any]:
    heads = tables.ledger_heads
    row = db.execute(sa.select(heads.c.seq, heads.c.hash).where(heads.c.project == project)).first()
    return (row.seq, row.hash) if row else (0, GENESIS)
