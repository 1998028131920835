"""A packaged model as the monitor needs it: signature, reference profile and basis."""

from __future__ import annotations

from typing import Final, NamedTuple

from trimtab.model import signature
from trimtab.model.signature import Signature
from trimtab.monitor import basis as bases
from trimtab.monitor.basis import Basis
from trimtab.profile import reference as references
from trimtab.profile.reference import Reference
from trimtab.store import trees
from trimtab.store.records import Version
from trimtab.store.workspace import Workspace

PROFILE: Final = "reference.profile"


class Watched(NamedTuple):
    """A model and what its traffic is held against."""

    version: Version
    signature: Signature
    reference: Reference
    basis: Basis


def watched(ws: Workspace, version: Version) -> Watched | None:
    """What a packaged model is watched by; None where it has no reference or no basis."""
    held = held_against(ws, version.digest)
    if held is None:
        return None
    names = trees.walk(ws.blobs, version.digest)
    return Watched(version, signature.decode(ws.blobs.read(names[signature.FILE].digest)), *held)


def held_against(ws: Workspace, digest: str) -> tuple[Reference, Basis] | None:
    """The reference and the basis of a package; None where it has not both."""
    names = trees.walk(ws.blobs, digest)
    if PROFILE not in names or bases.FILE not in names:
        return None
    return (
        references.decode(ws.blobs.read(names[PROFILE].digest)),
        bases.decode(ws.blobs.read(names[bases.FILE].digest)),
    )
