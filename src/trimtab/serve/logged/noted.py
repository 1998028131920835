"""The log's frame of one row as bytes, put together in one go.

Byte for byte what `frame.pack` makes of the same frame, but for a latency of zero, which that leaves
out. All that one endpoint, model and contract repeat is laid out beforehand.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from trimtab.model.signature import Class
from trimtab.serve.logged.frame import seal
from trimtab.serve.router import Route

_encode: Final = msgspec.msgpack.Encoder().encode
_score: Final = struct.Struct("<f").pack
_NAN: Final = float("nan")
# What comes before eight bytes, before four, and before the one member of a list.
_EIGHT: Final = b"\xc4\x08"
_FOUR: Final = b"\xc4\x04"
_ONE: Final = b"\x91"

Cells = Sequence[Any]
Noter = Callable[[str, int, int, Cells, dict[str, Any], float, Class], bytes]
"""Id, arrival and latency in microseconds, cells (numbers, then words), context, score and decision
to a sealed frame; raises StorageError above 64 MiB."""


def noter(endpoint: str, contract: str, route: Route) -> Noter:
    """Frames of one route asked in one contract, of a model with one score per row."""
    signature = route.model.signature
    split = len(signature.numbers)
    numbers, words = _numbers(signature.numbers), _words(signature.words)
    of_all = {
        "endpoint": endpoint,
        "role": route.role,
        "model": route.digest,
        "label": route.label,
        "contract": contract,
    }
    count = 6 + len(of_all) + bool(signature.numbers) + bool(signature.words)
    ids = _encode("ids") + _ONE
    start, start_with_context = _map16(count) + ids, _map16(count + 1) + ids
    request, received = _encode("request"), _encode("received_at")
    fixed = b"".join(_encode(key) + _encode(value) for key, value in of_all.items())
    fixed += _encode("latency_us")
    sent, scored, decided = _encode("context"), _encode("score") + _FOUR, _encode("decision") + _ONE

    def note(
        name: str,
        arrived: int,
        latency: int,
        cells: Cells,
        context: dict[str, Any],
        score: float,
        decision: Class,
    ) -> bytes:
        named = _encode(name)
        parts = (
            start_with_context if context else start, named, request, named,
            received, _encode(arrived), fixed, _encode(latency),
            numbers(cells[:split]), words(cells[split:]), sent + _encode(context) if context else b"",
            scored, _score(score), decided, _encode(decision),
        )  # fmt: skip
        return seal(b"".join(parts))

    return note


def _numbers(names: Sequence[str]) -> Callable[[Cells], bytes]:
    """Numbers by column, eight bytes each, NaN for null."""
    if not names:
        return lambda _: b""
    keys = [_encode(name) + _EIGHT for name in names]
    keys[0] = _encode("numbers") + _map(len(names)) + keys[0]
    pack = struct.Struct("<" + "".join(f"{len(key)}sd" for key in keys)).pack
    layout: list[Any] = [part for key in keys for part in (key, 0.0)]

    def packed(cells: Cells) -> bytes:
        filled = layout.copy()
        filled[1::2] = cells
        try:
            return pack(*filled)
        except struct.error:
            filled[1::2] = [_NAN if cell is None else cell for cell in cells]
            return pack(*filled)

    return packed


def _words(names: Sequence[str]) -> Callable[[Cells], bytes]:
    """Texts by column, a list of one each."""
    keys = [_encode(name) + _ONE for name in names]
    if keys:
        keys[0] = _encode("words") + _map(len(names)) + keys[0]
    return lambda cells: b"".join(
        [key + _encode(cell) for key, cell in zip(keys, cells, strict=True)]
    )


def _map(count: int) -> bytes:
    """What comes before so many keys and values."""
    if count < 16:
        return bytes((0x80 | count,))
    return _map16(count) if count < 1 << 16 else b"\xdf" + count.to_bytes(4, "big")


def _map16(count: int) -> bytes:
    return b"\xde" + count.to_bytes(2, "big")
