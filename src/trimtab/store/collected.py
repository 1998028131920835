"""What deleting and collecting runs answers with."""

from __future__ import annotations

import msgspec


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is not to go, and why."""

    run: str
    reason: str


class Disposed(msgspec.Struct, frozen=True, kw_only=True):
    """Runs that were deleted or restored, with those inside them; those that stay as they are."""

    runs: list[str]
    kept: list[Kept]


class Doomed(msgspec.Struct, frozen=True, kw_only=True):
    """A run that goes: when it was deleted, its rows of points and files, and their bytes."""

    run: str
    kind: str
    name: str
    deleted_at: int
    batches: int
    chunks: int
    files: int
    spools: int
    bytes: int


class Collection(msgspec.Struct, frozen=True, kw_only=True):
    """What a collection takes, or took where `done`. `blob_bytes` come on top of the runs' `bytes`.

    `experiments` and `models` are those of MLflow's clients that were deleted.
    """

    done: bool
    before: int
    runs: list[Doomed]
    kept: list[Kept]
    experiments: list[str]
    models: list[str]
    blobs: int
    blob_bytes: int
    bytes: int
