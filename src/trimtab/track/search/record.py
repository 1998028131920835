"""A run as a search holds it: small, its params and tags flat and as texts."""

from __future__ import annotations

from collections.abc import Iterator
from sys import intern
from typing import Any

import msgspec

from trimtab.store.listing import Row

Shape = tuple[str, ...]
_DEEP = 20


class Record(msgspec.Struct, frozen=True, gc=False):
    """What filters ask about of one run, series and data apart.

    `params` and `tags` are texts in the order of the keys of `param_keys` and `tag_keys`, which
    runs of one kind share. `mark` changes with the row.
    """

    id: str
    kind: str
    name: str
    status: str
    parent: str
    experiment: str
    cause: str
    user: str
    code: str
    environment: str
    error: str
    started: int
    ended: int
    peak: int
    param_keys: Shape
    params: tuple[str, ...]
    tag_keys: Shape
    tags: tuple[str, ...]
    is_deleted: bool
    mark: int


class Shapes:
    """The tuples of keys that there are, each once: thousands of runs have the same."""

    def __init__(self) -> None:
        self._known: dict[Shape, Shape] = {}

    def __len__(self) -> int:
        return len(self._known)

    def of(self, keys: Shape) -> Shape:
        """The one tuple that equals these keys."""
        found = self._known.get(keys)
        if found is None:
            found = self._known[keys] = tuple(map(intern, keys))
        return found


def read(row: Row, shapes: Shapes, mark: int) -> Record:
    """The record of a row; JSON that is damaged counts as empty."""
    params, tags, cause = map(_texts, (row.params, row.tags, row.cause))
    error = _object(row.error or "{}")
    said = ": ".join(str(error[name]) for name in ("type", "message") if error.get(name))
    return Record(
        id=row.id,
        kind=intern(row.kind),
        name=intern(row.name),
        status=intern(row.status),
        parent=row.parent,
        experiment=intern(cause.get("experiment", "")),
        cause=intern(cause.get("kind", "")),
        user=intern(tags.get("mlflow.user", tags.get("user", ""))),
        code=row.code,
        environment=intern(row.environment),
        error=said,
        started=row.started,
        ended=row.ended,
        peak=row.peak,
        param_keys=shapes.of(tuple(params)),
        params=tuple(map(intern, params.values())),
        tag_keys=shapes.of(tuple(tags)),
        tags=tuple(map(intern, tags.values())),
        is_deleted=bool(row.deleted),
        mark=mark,
    )


def flat(value: dict[str, Any], before: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Nested objects as paths with dots and what is there; null is left out.

    Lists stay whole, as JSON. A key with a dot of its own reads as a path too.
    """
    for key, inner in value.items():
        path = f"{before}{key}"
        if isinstance(inner, dict) and inner and depth < _DEEP:
            yield from flat(inner, f"{path}.", depth + 1)
        elif inner is not None:
            yield path, inner


def _texts(text: str) -> dict[str, str]:
    return {path: written(value) for path, value in flat(_object(text))}


def written(value: Any) -> str:
    """A text as it is, anything else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _object(text: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}
