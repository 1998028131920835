"""Whether bytes are UBJSON, looked through and not decoded: every length that is claimed is there.

XGBoost ends its process over a file that claims more than it has, so a file is looked through first.
Source: ubjson.org, draft 12; numbers are big-endian.
"""

from __future__ import annotations

from typing import Final

_SIZES: Final = {
    **dict.fromkeys(b"ZNTF", 0),
    **dict.fromkeys(b"iUC", 1),
    ord("I"): 2,
    **dict.fromkeys(b"ld", 4),
    **dict.fromkeys(b"LD", 8),
}
_WHOLE: Final = frozenset(b"iUIlL")
_DEEPEST: Final = 64
_TYPE, _COUNT, _TEXT, _NUMBER = b"$#SH"
_CLOSED: Final = {ord("["): ord("]"), ord("{"): ord("}")}


def is_object(data: bytes) -> bool:
    """Whether the bytes are one object of UBJSON and nothing else."""
    if data[:1] != b"{":
        return False
    try:
        return _value(data, 1, data[0], 0) == len(data)
    except (IndexError, ValueError):
        return False


def _value(data: bytes, at: int, kind: int, depth: int) -> int:
    """Where a value ends; raises ValueError or IndexError where it is none."""
    if kind in _SIZES:
        return _inside(data, at + _SIZES[kind])
    if kind in (_TEXT, _NUMBER):
        return _text(data, at)
    if kind not in _CLOSED or depth > _DEEPEST:
        raise ValueError(kind)
    typed, counted = -1, -1
    if data[at] == _TYPE:
        typed, at = data[at + 1], at + 2
        if data[at] != _COUNT:
            raise ValueError(at)
    if data[at] == _COUNT:
        counted, at = _length(data, at + 1)
    if kind == ord("[") and typed in _SIZES:
        return _inside(data, at + counted * _SIZES[typed])
    left = counted
    while left != 0 if counted >= 0 else data[at] != _CLOSED[kind]:
        if kind == ord("{"):
            at = _text(data, at)
        one, at = (typed, at) if typed >= 0 else (data[at], at + 1)
        at = _value(data, at, one, depth + 1)
        left -= 1
    return at if counted >= 0 else at + 1


def _text(data: bytes, at: int) -> int:
    length, at = _length(data, at)
    return _inside(data, at + length)


def _length(data: bytes, at: int) -> tuple[int, int]:
    kind = data[at]
    if kind not in _WHOLE:
        raise ValueError(kind)
    end = _inside(data, at + 1 + _SIZES[kind])
    found = int.from_bytes(data[at + 1 : end], "big", signed=kind != ord("U"))
    # A count of things without bytes of their own is bounded too: there is no use for more.
    if not 0 <= found <= len(data):
        raise ValueError(found)
    return found, end


def _inside(data: bytes, end: int) -> int:
    if end > len(data):
        raise IndexError(end)
    return end
