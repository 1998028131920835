"""`trimtab doctor`: is the ledger's chain whole, and is every blob what its digest says?"""

from __future__ import annotations

from trimtab.errors import TrimtabError
from trimtab.loop.project import Project
from trimtab.loop.reports import Check, Health
from trimtab.store import check, ledger


def doctor(project: Project, *, expect: str = "") -> Health:
    """Look at everything and name the first thing that is wrong in each place.

    `expect` is a ledger head kept elsewhere: without one, whoever rewrites the whole chain is not
    found out.
    """
    ws = project.ws
    entries, head = ledger.head(ws)
    checks = []
    try:
        entries = ledger.verify(ws, expect=expect)
        anchored = (
            "and holds the expected head" if expect else "unanchored: keep the head elsewhere"
        )
        checks.append(
            Check(name="ledger", ok=True, message=f"{entries} entries chain up, {anchored}")
        )
    except TrimtabError as error:
        checks.append(Check(name="ledger", ok=False, message=error.message))
    problems = check.check_blobs(ws)
    blobs = sum(1 for _ in ws.blobs.digests())
    if problems:
        checks += [Check(name="blob", ok=False, message=one) for one in problems]
    else:
        checks.append(
            Check(name="blobs", ok=True, message=f"{blobs} blobs are what they should be")
        )
    return Health(
        ok=all(one.ok for one in checks), entries=entries, head=head, blobs=blobs, checks=checks
    )
