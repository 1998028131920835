"""Whether a project has anything at all for the controller: a server that only takes metrics has not.

A pass loads the table library and the whole monitor, 30 MB and a quarter of a second. Where nothing is
configured to start, nothing was ever served or begun, and no process left anything behind, a pass can
find nothing: this asks so, and needs one statement.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from trimtab.loop.project import Project, applied
from trimtab.store import tables
from trimtab.track import spool

_MADE: Final = (
    tables.endpoints,
    tables.actions,
    tables.rollouts,
    tables.incidents,
    tables.alerts,
    tables.label_requests,
)
"""What a pass goes on with. Endpoints stay here after they are retired."""


def is_bare(project: Project) -> bool:
    """Whether a pass has nothing to look at; raises NotFoundError before the first `apply`."""
    ws, config = project.ws, applied(project.ws)
    if config.trigger or config.retrain.on or spool.found(ws.root / spool.FOLDER):
        return False
    runs = tables.runs
    # a run that a client over HTTP does has no process here that could be gone
    own = (runs.c.status == "running") & (runs.c.pid != 0)
    found = [sa.exists().where(one.c.project == ws.project) for one in _MADE]
    query = sa.select(sa.or_(*found, sa.exists().where(runs.c.project == ws.project, own)))
    with ws.reading() as db:
        return not db.execute(query).scalar()
