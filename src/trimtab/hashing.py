"""Digests and canonical bytes: BLAKE3 with one derive-key context per kind of thing.

A digest is written `blake3:` + 64 hex digits. Contexts keep kinds apart: a blob and a tree of the
same bytes have different digests. docs/formats/digests.md holds the specification and its test
vectors.
"""

from __future__ import annotations

import contextlib
import math
import re
from pathlib import Path
from typing import Any, Final

import msgspec
from blake3 import blake3

PREFIX: Final = "blake3:"
_DIGEST = re.compile(r"blake3:[0-9a-f]{64}\Z")
_CHUNK: Final = 1 << 20

CONTEXTS: Final = {
    "blob": "trimtab 2026-11 blob v1",
    "tree": "trimtab 2026-11 tree v1",
    "row": "trimtab 2026-11 row v1",
    "config": "trimtab 2026-11 config v1",
    "ledger": "trimtab 2026-11 ledger v1",
    "key": "trimtab 2026-11 key v1",
}


def hasher(kind: str) -> blake3:
    """A fresh incremental hasher for a kind of `CONTEXTS`; finish it with `text`."""
    return blake3(derive_key_context=CONTEXTS[kind])


def text(state: blake3) -> str:
    """The digest of a hasher's bytes so far."""
    return PREFIX + state.hexdigest()


def digest(kind: str, data: bytes) -> str:
    """The digest of `data` as a `kind` of `CONTEXTS`."""
    return text(hasher(kind).update(data))


def file_digest(path: Path) -> str:
    """The blob digest of a file, read in chunks."""
    state = hasher("blob")
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            state.update(chunk)
    return text(state)


def is_digest(value: str) -> bool:
    """Whether `value` is a full digest."""
    return _DIGEST.match(value) is not None


def canonical(value: Any) -> bytes:
    """Canonical JSON: sorted keys, no spaces, shortest round-trip floats, non-finite floats as text.

    NaN and infinities become the strings "NaN", "Infinity" and "-Infinity", so that equal values
    always give equal bytes.
    """
    # What is not finite would be null here, and a key that is no text cannot be sorted.
    with contextlib.suppress(TypeError):
        plain = msgspec.json.encode(value, order="sorted")
        if b"null" not in plain:
            return plain
    builtins = msgspec.to_builtins(value, order="deterministic")
    return msgspec.json.encode(_finite(builtins), order="deterministic")


def object_digest(kind: str, value: Any) -> str:
    """The digest of a value's canonical JSON."""
    return digest(kind, canonical(value))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        return value
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
