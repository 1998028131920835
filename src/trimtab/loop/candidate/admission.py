"""What was decided on a batch of data, and a person's word against it; measures nothing itself.

A decision is evidence on the data version's digest. A person's word is a state and an entry of the
ledger: the version may be trained on, and its rows count as trusted from then on.
"""

from __future__ import annotations

from typing import Any, Final

from trimtab import ids
from trimtab.errors import RefusedError, UsageError
from trimtab.loop.project import Project
from trimtab.loop.reports import Admission
from trimtab.store import evidence, ledger, states, versions
from trimtab.store.records import Evidence, Version

METRIC: Final = "batch_effect"
_STATE: Final = "accepted:"


def of(project: Project, version: Version) -> Admission | None:
    """What was decided last on a data version; None where nobody asked."""
    found = evidence.find(project.ws, subject=version.digest, metric=METRIC, limit=1)
    word = accepted(project, version)
    if not found:
        return (
            None if word is None else Admission(version=version.label, status="accept", word=word)
        )
    return admission(version, found[0], word)


def admission(version: Version, one: Evidence, word: dict[str, Any] | None) -> Admission:
    """Evidence of a batch's effect as people read it."""
    measured = one.n > 0
    return Admission(
        version=version.label,
        status=one.details["status"],
        reason=one.details["reason"],
        champion=one.details.get("champion", ""),
        value=one.value if measured else None,
        lo=one.lo if measured else None,
        hi=one.hi if measured else None,
        n=one.n,
        rows=one.details.get("rows", 0),
        probes=one.details.get("probes", []),
        measured_at=one.measured_at,
        word=word or {},
    )


def accepted(project: Project, version: Version) -> dict[str, Any] | None:
    """A person's word for a version: who, when and why; None where there is none."""
    found: dict[str, Any] | None = states.get(project.ws, _STATE + version.digest)
    return found


def accept(project: Project, reference: str, reason: str, by: str = "") -> Admission:
    """Let a data version be trained on whatever was measured; its rows are trusted from then on.

    Raises NotFoundError, or UsageError without a reason. Said twice, the first word stands.
    """
    if not reason.strip():
        raise UsageError("say why the batch is to be trained on", hint="--reason TEXT")
    ws = project.ws
    version = versions.get(ws, "data", reference)
    if accepted(project, version) is None:
        before = of(project, version)
        word = {"reason": reason.strip(), "by": by or "a person", "at": ids.now()}
        body = {
            "data": version.label,
            "digest": version.digest,
            "measured": before.status if before else "",
            **word,
        }
        with ws.transaction():
            states.put(ws, _STATE + version.digest, word)
            ledger.append(ws, "accept", body)
    found = of(project, version)
    assert found is not None
    return found


def insist(project: Project, reference: str) -> Version:
    """The data version, where it may be trained on; raises RefusedError, NotFoundError."""
    version = versions.get(project.ws, "data", reference)
    found = of(project, version)
    if found is not None and found.status == "refuse" and not found.word:
        raise RefusedError(
            f"{version.label} was refused: {found.reason}",
            hint=f'`trimtab data accept {version.label} --reason "..."` overrules it',
        )
    return version
