"""A stretch of one series, in order, as bytes: its points, and a summary that is read without them.

Points are `b"TTC1"`, a CRC-32 of the rest and a zstd frame of the columns. A summary is `b"TTN1"`, a
CRC-32, the node of all and a zstd frame of the nodes that it joins, if there are several.
docs/formats/metric-chunk.md is the specification.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import zstandard

from trimtab.errors import IntegrityError
from trimtab.store.series import nodes
from trimtab.store.series.frame import opened, packed, sealed, unpacked
from trimtab.store.series.nodes import NODE, Nodes
from trimtab.store.series.points import Series, grown, grown_values, shrunk, shrunk_values

MOST: Final = 4_096
"""Points of a chunk at most."""
INNER: Final = 256
"""Points of a node of its summary."""


def encode(series: Series) -> bytes:
    """The points of a chunk."""
    plain = shrunk(series.step) + shrunk(series.time) + shrunk_values(series.value)
    return sealed(b"TTC1", packed(plain))


def decode(data: bytes) -> Series:
    """The points of a chunk, in order; raises IntegrityError."""
    _, body = opened(data, b"TTC", b"1", "chunk")
    try:
        plain = unpacked(body)
        size, rest = divmod(len(plain), 3)
        if rest or size % 8:
            raise ValueError("its columns have different lengths")
        return Series(
            grown(plain[:size]), grown(plain[size : 2 * size]), grown_values(plain[2 * size :])
        )
    except (zstandard.ZstdError, ValueError) as error:
        raise IntegrityError(f"a metric chunk in the store cannot be read: {error}") from error


def summary(inner: Nodes) -> bytes:
    """One node or more, and what they are together, as bytes."""
    whole = nodes.grouped(inner, len(inner))
    rest = packed(inner.tobytes()) if len(inner) > 1 else b""
    return sealed(b"TTN1", whole.tobytes() + rest)


def total(data: bytes) -> Nodes:
    """What the nodes of a summary are together, an array of one; raises IntegrityError."""
    _, body = opened(data, b"TTN", b"1", "summary")
    if len(body) < NODE.itemsize:
        raise IntegrityError("a metric summary in the store cannot be read: it is too short")
    found: Nodes = np.frombuffer(body, dtype=NODE, count=1)
    return found


def children(data: bytes) -> Nodes:
    """The nodes of a summary; raises IntegrityError."""
    whole = total(data)
    rest = data[8 + NODE.itemsize :]
    if not rest:
        return whole
    try:
        found: Nodes = np.frombuffer(unpacked(rest), dtype=NODE)
    except (zstandard.ZstdError, ValueError) as error:
        raise IntegrityError(f"a metric summary in the store cannot be read: {error}") from error
    return found
