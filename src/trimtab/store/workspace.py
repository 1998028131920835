"""A workspace: one store (records, blobs, ledger) and the project in it that is at work."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from trimtab import ids
from trimtab.errors import StorageError, UsageError
from trimtab.store import database, place, schema, tables
from trimtab.store.blobs import Blobs, LocalBlobs

FOLDER: Final = place.FOLDER


@dataclass(frozen=True)
class Workspace:
    """An open store. `root` is its folder, `project` the id of the project at work.

    Both folders are absolute and free of links, so that code which changes the working directory
    changes nothing here.
    """

    root: Path
    project_dir: Path
    engine: sa.Engine
    blobs: Blobs
    project: str
    project_name: str

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A write transaction; nested ones join the outermost."""
        with database.transaction(self.engine) as tx:
            yield tx

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection to read with."""
        with database.reading(self.engine) as connection:
            yield connection

    def close(self) -> None:
        """Give the database connections back."""
        self.engine.dispose()


def open_workspace(project_dir: Path, project_name: str, *, url: str = "") -> Workspace:
    """Open the store of a project folder, making or migrating it where needed.

    Raises StorageError where the folder cannot be written, ConflictError where a newer trimtab
    wrote the database.
    """
    if url:
        raise UsageError(
            f"[store] url = {url!r} is not supported yet", hint="leave it out: .trimtab/"
        )
    project_dir = project_dir.resolve()
    root = place.made(project_dir)
    try:
        blobs = LocalBlobs(root)
    except OSError as error:
        raise place.unwritable(root, error) from error
    # A URL object, because a folder's name may hold what a URL's text gives a meaning to.
    engine = database.connect(sa.URL.create("sqlite", database=str(root / place.FILE)))
    try:
        schema.migrate(engine, root / "migrate.lock")
        project = _project(engine, project_name)
    except OSError as error:
        engine.dispose()
        if isinstance(error, StorageError):
            raise
        raise place.unwritable(root, error) from error
    except BaseException:
        engine.dispose()
        raise
    found = Workspace(
        root=root,
        project_dir=project_dir,
        engine=engine,
        blobs=blobs,
        project=project,
        project_name=project_name,
    )
    # Connections left in the pool of a workspace that nobody holds any more are closed with it.
    weakref.finalize(found, engine.dispose)
    return found


def _project(engine: sa.Engine, name: str) -> str:
    query = sa.select(tables.projects.c.project).where(tables.projects.c.name == name)
    with database.reading(engine) as connection:
        found = connection.execute(query).scalar()
    if found is None:
        values = {"project": ids.new_id(), "name": name, "created_at": ids.now()}
        database.insert_new(engine, tables.projects, values)
        with database.reading(engine) as connection:
            found = connection.execute(query).scalar_one()
    return str(found)
