"""Keys of endpoints: list, add, remove; every change is in the ledger by the key's id alone."""

from __future__ import annotations

from pathlib import Path

from trimtab import ids
from trimtab.deploy import local
from trimtab.errors import NotFoundError
from trimtab.loop.project import Project
from trimtab.serve.access import keys
from trimtab.serve.access.keys import Key
from trimtab.server import requests as asked
from trimtab.server.answers import KeyMade, KeyRemoved, Keys, KeyShown
from trimtab.store import ledger, operations


def ls(project: Project, request: asked.Named) -> Keys:
    """The keys of an endpoint; raises NotFoundError."""
    kept = keys.read(_folder(project, request.name))
    return Keys(
        endpoint=request.name,
        asked=kept is not None,
        keys=[_shown(key) for key in kept or ()],
    )


def add(project: Project, request: asked.KeyWanted) -> KeyMade:
    """Make a key; raises UsageError, ConflictError where its name is taken, NotFoundError."""
    folder = _folder(project, request.name)
    expires_at = keys.parse_expiry(request.expires, ids.now())
    # The file moves within the transaction. Should the process die between the two, the key that
    # is there and not chained is one that nobody was told.
    with project.ws.transaction():
        made, secret = keys.add(
            folder,
            request.key,
            scopes=request.scopes,
            expires_at=expires_at,
            rate=request.rate,
        )
        _chain(project, request.name, made, "added")
    return KeyMade(endpoint=request.name, key=_shown(made), secret=secret)


def rm(project: Project, request: asked.KeyNamed) -> KeyRemoved:
    """Remove a key; raises NotFoundError."""
    folder = _folder(project, request.name)
    with project.ws.transaction():
        gone = keys.remove(folder, request.key)
        _chain(project, request.name, gone, "removed")
    left = len(keys.read(folder) or ())
    return KeyRemoved(endpoint=request.name, key=_shown(gone), left=left)


def _folder(project: Project, name: str) -> Path:
    """The folder of an endpoint that is there, or of the one that `trimtab deploy` would make."""
    known = [one.name for one in operations.endpoints(project.ws)]
    if name not in {*known, project.config.model_name}:
        names = ", ".join(known) or project.config.model_name
        raise NotFoundError(f"there is no endpoint {name!r}", hint=f"there is: {names}")
    local.check_ours(project.ws, name)
    return local.folder(project.ws, name)


def _chain(project: Project, endpoint: str, key: Key, change: str) -> None:
    body = {
        "endpoint": endpoint,
        "key": key.id,
        "change": change,
        "scopes": key.scopes,
        "expires_at": key.expires_at,
    }
    ledger.append(project.ws, "key", body)


def _shown(key: Key) -> KeyShown:
    return KeyShown(
        id=key.id,
        name=key.name,
        scopes=list(key.scopes),
        created_at=key.created_at,
        expires_at=key.expires_at,
        rate=key.rate,
    )
