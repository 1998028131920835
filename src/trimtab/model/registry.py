"""Models by name in a workspace: packages as artifacts, numbered versions, aliases.

Thin over `store.versions`: a version number is given by the gate alone; a refused candidate stays
as an artifact with its verdicts. Where the project names a key to verify with, what is not signed
with it is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from trimtab import hashing
from trimtab.errors import ModelError, RefusedError
from trimtab.model import attachments, signature, signing
from trimtab.model.parity import Parity
from trimtab.model.signature import Signature
from trimtab.store import artifacts, refs, trees, versions
from trimtab.store.records import Artifact, Version
from trimtab.store.workspace import Workspace


def put(
    ws: Workspace,
    package: Path,
    *,
    parity: Parity | None = None,
    run: str = "",
    meta: dict[str, Any] | None = None,
) -> str:
    """Store a package folder as an artifact and return its digest; raises NotFoundError.

    The parity figures and the engine are kept in the artifact's meta, with what `meta` adds.
    """
    signed = signature.read(package)
    digest = trees.put_folder(ws.blobs, package)
    known: dict[str, Any] = {
        "task": signed.task,
        "engine": signed.engine,
        "reason": signed.reason,
        "parity": msgspec.to_builtins(parity) if parity else None,
    }
    size = sum(path.stat().st_size for path in package.rglob("*") if path.is_file())
    known |= meta or {}
    artifacts.record(ws, Artifact(digest=digest, kind="model", size=size, meta=known, run=run))
    return digest


def register(
    ws: Workspace,
    name: str,
    digest: str,
    *,
    run: str = "",
    meta: dict[str, Any] | None = None,
    verify_key: str = "",
) -> Version:
    """Number a stored package; the same digest keeps its number.

    Raises NotFoundError for an unknown digest, ModelError where it is no model package, RefusedError
    where it is not signed with `verify_key`.
    """
    if signature.FILE not in trees.walk(ws.blobs, digest):
        raise ModelError(f"{digest} is no model package: it has no {signature.FILE}")
    check_signature(ws, digest, verify_key)
    return versions.add(ws, "model", name, digest, run=run, meta=meta or {})


def resolve(ws: Workspace, reference: str) -> Version:
    """`NAME`, `NAME@v3`, `NAME@champion` or a digest to its version; raises NotFoundError."""
    return versions.get(ws, "model", reference)


def set_alias(ws: Workspace, name: str, alias: str, digest: str, *, expect: str = refs.ANY) -> None:
    """Move an alias by compare-and-swap; raises ConflictError where `expect` is not there."""
    versions.set_alias(ws, "model", name, alias, digest, expect=expect)


def signature_of(ws: Workspace, digest: str) -> Signature:
    """The signature of a stored package; raises NotFoundError."""
    return signature.decode(trees.file(ws.blobs, digest, signature.FILE).read_bytes())


def checkout(ws: Workspace, digest: str, into: Path) -> Path:
    """Write a stored package into a folder, or find it there already; returns the folder.

    Its attachments are laid beside it, in `INTO.attachments`.
    """
    if not into.exists():
        into.parent.mkdir(parents=True, exist_ok=True)
        trees.checkout(ws.blobs, digest, into)
    attachments.lay(ws, digest, into)
    return into


def folder(ws: Workspace, digest: str) -> Path:
    """The folder that a package is served from in this workspace, checked out once."""
    return checkout(ws, digest, ws.root / "models" / digest.removeprefix(hashing.PREFIX))


def check_signature(ws: Workspace, digest: str, verify_key: str) -> None:
    """Raise RefusedError unless the package and its folder are what `verify_key` belongs to.

    `verify_key` is as `[model] verify_key` has it; without one nothing is asked.
    """
    if not verify_key:
        return
    linked = attachments.find(ws, digest).get(signing.FILE)
    if linked is None:
        raise RefusedError(
            f"model {digest} is not signed, and [model] verify_key asks for a signature",
            hint="set [model] signing_key and run `trimtab run`, which signs it",
        )
    signing.verify(folder(ws, digest), ws.blobs.read(linked), verify_key, ws.project_dir)
