"""Two runs side by side: what was different, in params, results, code, environment and data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from trimtab.errors import NotFoundError
from trimtab.store import metrics, runs, trees
from trimtab.store.records import Run
from trimtab.store.workspace import Workspace
from trimtab.track import environment

Pair = tuple[Any, Any]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between runs `a` and `b`: name -> (value in a, value in b), None where absent.

    `metrics` holds all of them, equal ones too. `code` maps paths to the digests of the files,
    `environment` distributions to versions, `data` inputs to digests.
    """

    a: Run
    b: Run
    params: dict[str, Pair]
    metrics: dict[str, Pair]
    code: dict[str, Pair]
    environment: dict[str, Pair]
    data: dict[str, Pair]


def compare(ws: Workspace, a: str, b: str) -> Comparison:
    """Compare two runs by id or unambiguous prefix; raises NotFoundError."""
    first, second = runs.get(ws, a), runs.get(ws, b)
    return Comparison(
        a=first,
        b=second,
        params=differences(first.params, second.params),
        metrics=_beside(metrics.latest(ws, first.id), metrics.latest(ws, second.id)),
        code=differences(_files(ws, first.code), _files(ws, second.code)),
        environment=differences(_lock(ws, first.environment), _lock(ws, second.environment)),
        data=differences(_inputs(ws, first.id), _inputs(ws, second.id)),
    )


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Pair]:
    """The names whose values differ."""
    return {name: pair for name, pair in _beside(a, b).items() if pair[0] != pair[1]}


def _beside(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Pair]:
    return {name: (a.get(name), b.get(name)) for name in sorted(a.keys() | b.keys())}


def _files(ws: Workspace, digest: str) -> dict[str, str]:
    if not digest:
        return {}
    try:
        return {path: entry.digest for path, entry in trees.walk(ws.blobs, digest).items()}
    except NotFoundError:  # swept away since: the digest alone is left
        return {"(code snapshot)": digest}


def _lock(ws: Workspace, digest: str) -> dict[str, str]:
    if not digest:
        return {}
    try:
        return environment.parse(ws.blobs.read(digest).decode())
    except NotFoundError:
        return {"(environment lock)": digest}


def _inputs(ws: Workspace, run: str) -> dict[str, str]:
    return {one.name: one.digest for one in runs.links(ws, run) if one.direction == "in"}
