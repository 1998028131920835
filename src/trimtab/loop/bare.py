"""Whether a project has anything at all for the controller: a server that only takes metrics has not.

A pass loads the table library and the whole monitor, 30 MB and a quarter of a second; the store's own
library is half of what then remains. Where nothing is configured to start, nothing was ever served or
begun, and no process left anything behind, a pass can find nothing: this asks so, of SQLite itself.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from trimtab import hashing
from trimtab.config import Config
from trimtab.store import place
from trimtab.track import spool

_MADE: Final = ("endpoints", "actions", "rollouts", "incidents", "alerts", "label_requests")
"""What a pass goes on with. Endpoints stay here after they are retired."""
# A run that a client over HTTP does has no process here that could be gone.
_RUNS: Final = "SELECT 1 FROM runs WHERE project = :project AND status = 'running' AND pid <> 0"
_PATIENCE: Final = 1.0


def is_bare(root: Path, config: Config) -> bool:
    """Whether a pass has nothing to look at, and `config` is what is in force, or nothing is yet.

    `root` is the store's folder, in which there may be no store. Where that cannot be read the answer is
    no: whoever opens it says what is wrong.
    """
    if config.trigger or config.retrain.on or config.store.url:
        return False
    if spool.found(root / spool.FOLDER):
        return False
    path = root / place.FILE
    if not path.exists():
        return True
    try:
        with closing(
            sqlite3.connect(f"{path.as_uri()}?mode=rw", timeout=_PATIENCE, uri=True)
        ) as db:
            return _is_bare(db, config)
    except sqlite3.Error:
        return False


def _is_bare(db: sqlite3.Connection, config: Config) -> bool:
    if db.execute("SELECT version_num FROM alembic_version").fetchall() != [(place.HEAD,)]:
        return False
    name = {"name": config.project.name}
    found = db.execute("SELECT project FROM projects WHERE name = :name", name).fetchone()
    if found is None:
        return True
    project = {"project": found[0]}
    applied = db.execute(
        "SELECT digest FROM refs WHERE project = :project AND kind = 'config' AND name = 'applied'",
        project,
    ).fetchone()
    if applied is None or applied[0] != hashing.digest("blob", config.written):
        return False
    asked = [f"SELECT 1 FROM {table} WHERE project = :project" for table in _MADE]  # noqa: S608
    query = " OR ".join(f"EXISTS ({one})" for one in (*asked, _RUNS))
    return not db.execute(f"SELECT {query}", project).fetchone()[0]
