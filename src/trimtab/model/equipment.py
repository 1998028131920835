"""A stored package gets its attachments: calibration, environment lock, bill of materials, signature.

What is linked already is left as it is, so that this may be called again at any time; only a
signature by another key than the present one is made anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from trimtab.errors import MissingExtraError
from trimtab.model import attachments, calibration, golden, registry, sbom, signature, signing
from trimtab.model.digest import check_digest
from trimtab.model.load import load
from trimtab.store.workspace import Workspace
from trimtab.track import environment

ENVIRONMENT: Final = "environment.txt"


def equip(
    ws: Workspace,
    digest: str,
    folder: Path | None = None,
    *,
    name: str,
    signing_key: str = "",
    allow_python: bool = False,
) -> list[str]:
    """Link what a model lacks; returns a sentence for each thing that was left out.

    `folder` is where it was packaged just now: the present environment is then the one that
    packaged it, and is linked; without it the package is checked out where something is to be
    made. Raises MissingExtraError where it is to be signed and cannot be, IntegrityError where the folder
    is not the model that it would sign.
    """
    have = attachments.find(ws, digest)
    left_out: list[str] = []
    place = folder
    if calibration.FILE not in have:
        place = place or registry.folder(ws, digest)
        rows = golden.decode((place / golden.FILE).read_bytes())
        found = calibration.measure(
            load(place, verify=False, allow_python=allow_python), rows, digest
        )
        attachments.attach(ws, digest, calibration.FILE, calibration.encode(found))
    if ENVIRONMENT not in have and folder is not None:
        attachments.attach(ws, digest, ENVIRONMENT, environment.lock_text().encode())
    if sbom.FILE not in have:
        try:
            place = place or registry.folder(ws, digest)
            made = sbom.make(place, signature.read(place), name=name, digest=digest)
            attachments.attach(ws, digest, sbom.FILE, made)
        except MissingExtraError as error:
            left_out.append(f"no {sbom.FILE}: {error.message} ({error.hint})")
    if signing_key and not _is_signed(ws, have, signing_key):
        place = place or registry.folder(ws, digest)
        check_digest(place, digest)
        made = signing.sign(place, signing_key, ws.project_dir)
        attachments.attach(ws, digest, signing.FILE, made)
    return left_out


def _is_signed(ws: Workspace, have: dict[str, str], key: str) -> bool:
    linked = have.get(signing.FILE)
    return linked is not None and signing.is_signed(ws.blobs.read(linked), key, ws.project_dir)
