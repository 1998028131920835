"""Whether the bytes of a store are whole: every blob re-read, every tree followed to its files.

It looks and says what it found; it mends nothing. The ledger has its own `ledger.verify`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from trimtab.errors import IntegrityError, NotFoundError, StorageError
from trimtab.store import artifacts, ledger, trees, versions
from trimtab.store.blobs import Blobs
from trimtab.store.workspace import Workspace

Progress = Callable[[int, int], None]
_SHOWN = 3


def check_blobs(ws: Workspace, *, progress: Progress | None = None) -> list[str]:
    """Re-read every blob and every version's and artifact's tree; returns what is wrong.

    Each sentence names a digest and what uses it. `progress` hears how many blobs of how many are
    done.
    """
    holders = users(ws)
    here = list(ws.blobs.digests())
    problems = []
    for done, digest in enumerate(here, start=1):
        try:
            ws.blobs.verify(digest)
        except (IntegrityError, NotFoundError, StorageError) as error:
            problems.append(f"{error.message}; {_used_by(holders.get(digest, []))}")
        if progress is not None:
            progress(done, len(here))
    missing = sorted(holders.keys() - set(here) - _erased(ws))
    return problems + [f"blob {one} is missing; {_used_by(holders[one])}" for one in missing]


def users(ws: Workspace, *, without: str = "") -> dict[str, list[str]]:
    """Digest -> names of the versions and artifacts that it is part of; one of them left out."""
    names: dict[str, list[str]] = {}
    for kind in ("data", "model"):
        for version in reversed(versions.find(ws, kind)):
            names.setdefault(version.digest, []).append(f"{kind} {version.label}")
    for artifact in artifacts.find(ws, limit=None):
        names.setdefault(artifact.digest, [f"{artifact.kind} {artifact.digest}"])
    names.pop(without, None)
    found: dict[str, list[str]] = {}
    for root, roots in names.items():
        for digest in contents(ws.blobs, root):
            found.setdefault(digest, []).extend(roots)
    return found


def _erased(ws: Workspace) -> set[str]:
    """Roots that were erased on purpose: the ledger says so."""
    entries = ledger.find(ws, kind="erase", limit=1_000_000)
    return {str(msgspec.json.decode(one.body).get("digest", "")) for one in entries}


def contents(blobs: Blobs, root: str) -> Iterator[str]:
    """A blob, or a tree with all that is in it; the root first."""
    seen, ahead = {root}, [root]
    while ahead:
        digest = ahead.pop()
        yield digest
        if digest == root and not trees.is_tree(blobs, digest):
            continue
        for child, kind in _children(blobs, digest):
            if child in seen:
                continue
            seen.add(child)
            if kind == "tree":
                ahead.append(child)
            else:
                yield child


def _children(blobs: Blobs, node: str) -> list[tuple[str, str]]:
    try:
        return [(entry.digest, entry.kind) for entry in trees.entries(blobs, node)]
    except (IntegrityError, NotFoundError):
        return []  # the blob itself is reported


def _used_by(names: list[str]) -> str:
    if not names:
        return "no version or artifact uses it"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"used by {', '.join(names[:_SHOWN])}{more}"
