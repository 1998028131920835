"""The end of a step in one transaction: its run, what it made and read, and what is remembered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trimtab.store import cache, runs, tables
from trimtab.store.database import insert_statement, to_row
from trimtab.store.records import Artifact, CachedStep, Link, Record
from trimtab.store.statements import write
from trimtab.store.workspace import Workspace


def finish(
    ws: Workspace,
    run: str,
    *,
    artifacts: Sequence[Artifact],
    links: Sequence[Link],
    remembered: Sequence[CachedStep],
    peak_bytes: int,
) -> None:
    """End a run as done. A remembered step takes the place of one with its key."""
    dialect = ws.engine.dialect.name
    with ws.transaction() as tx:
        if artifacts:
            write(tx, insert_statement(dialect, tables.artifacts), _rows(ws, artifacts))
        if links:
            write(tx, insert_statement(dialect, tables.links), _rows(ws, links))
        if remembered:
            write(tx, cache.replace_statement(dialect), _rows(ws, remembered))
        runs.finish(ws, run, "done", peak_bytes=peak_bytes)


def _rows(ws: Workspace, records: Sequence[Record]) -> list[dict[str, Any]]:
    return [to_row(record, project=ws.project) for record in records]
