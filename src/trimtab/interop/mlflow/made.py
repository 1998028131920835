"""What a run of trimtab made, as files: the paths by which MLflow's clients list and fetch them.

An artifact is a folder of its name, and a file of its name where it holds that one file alone. Nothing
is stored for it: paths follow from what the run made, and are there as soon as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import sqlalchemy as sa

from trimtab.errors import IntegrityError, NotFoundError
from trimtab.store import tables, trees
from trimtab.store.blobs import Blobs
from trimtab.store.workspace import Workspace

Found = Mapping[str, tuple[str, int]]
"""The digest of a file's bytes and their number, by its path."""


def files(ws: Workspace, run: str) -> tuple[Found, dict[str, str]]:
    """The files of a run by their paths in it; and the artifacts that have none, each with the reason.

    Of two artifacts of one name the newer one counts.
    """
    found: dict[str, tuple[str, int]] = {}
    without: dict[str, str] = {}
    for name, digest in _made(ws, run).items():
        try:
            inner = _inside(ws.blobs, digest)  # type: ignore[arg-type] # hashed by what it is
        except NotFoundError:
            without[name] = "its bytes are gone"
            continue
        except IntegrityError:
            without[name] = "its bytes were changed"
            continue
        is_alone = list(inner) in ([""], [name.rpartition("/")[2]])
        found |= {name if is_alone else f"{name}/{path}": one for path, one in inner.items()}
    return found, without


def _made(ws: Workspace, run: str) -> dict[str, str]:
    """The digest of each artifact that a run made, by its name."""
    links, noted = tables.links, tables.artifacts
    beside = (noted.c.project == links.c.project) & (noted.c.digest == links.c.digest)
    query = (
        sa.select(links.c.name, links.c.digest)
        .outerjoin(noted, beside)
        .where(links.c.project == ws.project, links.c.run == run, links.c.direction == "out")
        .order_by(links.c.name, sa.func.coalesce(noted.c.created_at, 0), links.c.digest)
    )
    with ws.reading() as db:
        return {row.name: row.digest for row in db.execute(query)}


@lru_cache(maxsize=256)
def _inside(blobs: Blobs, digest: str) -> Found:
    """The files of a tree by their paths in it; those of a blob are itself, without a path."""
    if not trees.is_tree(blobs, digest):
        return {"": (digest, blobs.size(digest))}
    return {path: (one.digest, one.size) for path, one in trees.walk(blobs, digest).items()}
