"""The hash chain under evidence, verdicts and state changes: one chain per project.

An entry's hash is BLAKE3 in the ledger context over canonical JSON of
`[previous, seq, time, kind, body]`. The head moves by compare-and-swap in the transaction that
writes the entry. An unanchored chain proves nothing against somebody who rewrites all of it: keep
a head elsewhere and give it to `verify`. docs/formats/ledger.md is the specification.
"""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from trimtab import hashing, ids
from trimtab.errors import ConflictError, IntegrityError
from trimtab.store import tables
from trimtab.store.database import from_row
from trimtab.store.records import Evidence, LedgerEntry, Verdict
from trimtab.store.workspace import Workspace

GENESIS = ""


def entry_hash(previous: str, seq: int, time: int, kind: str, body: str) -> str:
    """The hash of an entry."""
    return hashing.digest("ledger", hashing.canonical([previous, seq, time, kind, body]))


def append(ws: Workspace, kind: str, body: Any) -> int:
    """Chain an entry and return its sequence number, from 1; joins the open transaction."""
    text = hashing.canonical(body).decode()
    heads = tables.ledger_heads
    with ws.transaction() as tx:
        row = tx.execute(
            sa.select(heads.c.seq, heads.c.hash).where(heads.c.project == ws.project)
        ).first()
        seq, previous = (row.seq + 1, row.hash) if row else (1, GENESIS)
        time = ids.now()
        new = entry_hash(previous, seq, time, kind, text)
        values = {"seq": seq, "hash": new}
        if row is None:
            tx.execute(heads.insert().values(project=ws.project, **values))
        else:
            moved = tx.execute(
                heads.update()
                .where(heads.c.project == ws.project, heads.c.seq == seq - 1)
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
    heads = tables.ledger_heads
    with ws.reading() as db:
        row = db.execute(
            sa.select(heads.c.seq, heads.c.hash).where(heads.c.project == ws.project)
        ).first()
    return (int(row.seq), str(row.hash)) if row else (0, GENESIS)


def find(ws: Workspace, *, kind: str | None = None, limit: int = 1000) -> list[LedgerEntry]:
    """Entries, newest first."""
    query = sa.select(tables.ledger).where(tables.ledger.c.project == ws.project)
    if kind is not None:
        query = query.where(tables.ledger.c.kind == kind)
    with ws.reading() as db:
        rows = db.execute(query.order_by(tables.ledger.c.seq.desc()).limit(limit)).all()
    return [from_row(LedgerEntry, row) for row in rows]


def verify(ws: Workspace, *, expect: str = "") -> int:
    """Re-hash the chain and compare the tables that repeat it; returns the number of entries.

    `expect` is a head hash kept elsewhere; it must be in the chain. Raises IntegrityError naming
    the first entry, or row, that is not what the chain says.
    """
    previous, seq, seen = GENESIS, 0, False
    chained: dict[str, Any] = {}
    with ws.reading() as db:
        rows = db.execute(
            sa.select(tables.ledger)
            .where(tables.ledger.c.project == ws.project)
            .order_by(tables.ledger.c.seq)
        )
        for row in rows:
            seq += 1
            if row.seq != seq:
                raise IntegrityError(f"ledger entry {seq} is missing; the next one is {row.seq}")
            actual = entry_hash(previous, row.seq, row.time, row.kind, row.body)
            if row.previous != previous or row.hash != actual:
                raise IntegrityError(
                    f"ledger entry {seq} ({row.kind} of {ids.iso(row.time)}) was changed",
                    hint="restore .trimtab/store.db from a backup taken before it",
                )
            previous = row.hash
            seen = seen or previous == expect
            if row.kind in ("evidence", "verdict"):
                chained.update((one["id"], one) for one in msgspec.json.decode(row.body))
        if head(ws) != (seq, previous):
            raise IntegrityError(
                f"the ledger's head is not its last entry, {seq}: entries were removed"
            )
        if expect and not seen:
            raise IntegrityError(f"the chain does not hold the expected head {expect}")
        _verify_rows(ws, db, chained)
    return seq


def _verify_rows(ws: Workspace, db: sa.Connection, chained: dict[str, Any]) -> None:
    for table, kind in ((tables.evidence, Evidence), (tables.verdicts, Verdict)):
        rows = db.execute(
            sa.select(table).where(table.c.project == ws.project).order_by(table.c.seq)
        )
        for row in rows:
            stored = msgspec.json.decode(hashing.canonical(from_row(kind, row)))
            if stored != chained.pop(row.id, None):
                raise IntegrityError(
                    f"{table.name} row {row.id} is not what ledger entry {row.seq} says: it was changed",
                    hint="the ledger holds the true text: `trimtab doctor --json` shows the entry",
                )
    for missing in chained:
        raise IntegrityError(f"row {missing} is in the ledger but no longer in its table")
