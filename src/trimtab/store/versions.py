"""Numbered versions and their aliases: `loans@v1`, `loans@latest`, `loans@champion`."""

from __future__ import annotations

import difflib
from typing import Any, Literal

import sqlalchemy as sa

from trimtab import hashing, ids
from trimtab.errors import ConflictError, NotFoundError, UsageError
from trimtab.store import ledger, refs, tables
from trimtab.store.database import from_row, insert_new, to_row
from trimtab.store.records import Version
from trimtab.store.workspace import Workspace

Kind = Literal["data", "model"]


def add(
    ws: Workspace,
    kind: Kind,
    name: str,
    digest: str,
    *,
    run: str = "",
    meta: dict[str, Any] | None = None,
) -> Version:
    """Number a digest under a name; a digest that has a number there keeps it."""
    if not name or "@" in name:
        raise UsageError(
            f"{name!r} cannot name a version", hint="a name is not empty and holds no @"
        )
    if not hashing.is_digest(digest):
        raise UsageError(f"{digest!r} is not a digest, so {name} cannot point at it")
    with ws.transaction():
        for known in find(ws, kind, name):
            if known.digest == digest:
                return known
        version = Version(
            kind=kind,
            name=name,
            number=_last(ws, kind, name) + 1,
            digest=digest,
            run=run,
            meta=meta or {},
            created_at=ids.now(),
        )
        if not insert_new(ws.engine, tables.versions, to_row(version, project=ws.project)):
            raise ConflictError(f"another process numbered {name} meanwhile", hint="try again")
        ledger.append(
            ws, "version", {"kind": kind, "name": version.label, "digest": digest, "run": run}
        )
    return version


def find(ws: Workspace, kind: Kind, name: str | None = None) -> list[Version]:
    """Versions, newest first."""
    table = tables.versions
    query = sa.select(table).where(table.c.project == ws.project, table.c.kind == kind)
    if name is not None:
        query = query.where(table.c.name == name)
    with ws.reading() as db:
        rows = db.execute(query.order_by(table.c.created_at.desc(), table.c.number.desc())).all()
    return [from_row(Version, row) for row in rows]


def marks(ws: Workspace, kind: Kind) -> tuple[int, int]:
    """How many versions there are and when the newest was made: other numbers mean other versions."""
    table = tables.versions
    query = sa.select(sa.func.count(), sa.func.max(table.c.created_at)).where(
        table.c.project == ws.project, table.c.kind == kind
    )
    with ws.reading() as db:
        count, newest = db.execute(query).one()
    return int(count), int(newest or 0)


def get(ws: Workspace, kind: Kind, reference: str) -> Version:
    """The version that `NAME`, `NAME@vN`, `NAME@ALIAS`, `NAME@latest` or a digest means.

    Raises NotFoundError saying what there is.
    """
    if hashing.is_digest(reference):
        found = [version for version in find(ws, kind) if version.digest == reference]
        if not found:
            raise NotFoundError(f"no {kind} version has digest {reference}")
        return found[0]
    name, _, label = reference.partition("@")
    known = find(ws, kind, name)
    if not known:
        names = sorted({version.name for version in find(ws, kind)})
        near = difflib.get_close_matches(name, names, n=1)
        raise NotFoundError(
            f"there is no {kind} called {name!r}"
            + (f", did you mean {near[0]!r}?" if near else ""),
            hint=f"there is: {', '.join(names) or 'none yet'}",
        )
    if label in ("", "latest"):
        return max(known, key=lambda version: version.number)
    digest = aliases(ws, kind, name).get(label)
    for version in known:
        if version.digest == digest or f"v{version.number}" == label:
            return version
    labels = [f"v{version.number}" for version in known] + sorted(aliases(ws, kind, name))
    raise NotFoundError(f"{name} has no {label!r}", hint=f"it has {', '.join(labels)}")


def set_alias(
    ws: Workspace, kind: Kind, name: str, alias: str, digest: str, *, expect: str = refs.ANY
) -> None:
    """Move an alias by compare-and-swap; the digest refs.ABSENT takes it away.

    Raises NotFoundError where the digest is no version of that name.
    """
    if not alias or "@" in alias:
        raise UsageError(f"{alias!r} cannot be an alias", hint="it is not empty and holds no @")
    if alias == "latest" or (alias[:1] == "v" and alias[1:].isdigit()):
        raise UsageError(f"{alias!r} cannot be an alias: it already means a version")
    if digest != refs.ABSENT and all(one.digest != digest for one in find(ws, kind, name)):
        raise NotFoundError(f"{digest} is no version of {kind} {name!r}")
    refs.move(ws, f"alias:{kind}", f"{name}@{alias}", digest, expect=expect)


def aliases(ws: Workspace, kind: Kind, name: str) -> dict[str, str]:
    """Alias -> digest."""
    prefix = f"{name}@"
    return {
        ref.removeprefix(prefix): digest
        for ref, digest in refs.find(ws, f"alias:{kind}").items()
        if ref.startswith(prefix)
    }


def _last(ws: Workspace, kind: Kind, name: str) -> int:
    table = tables.versions
    query = sa.select(sa.func.max(table.c.number)).where(
        table.c.project == ws.project, table.c.kind == kind, table.c.name == name
    )
    with ws.reading() as db:
        return int(db.execute(query).scalar() or 0)
