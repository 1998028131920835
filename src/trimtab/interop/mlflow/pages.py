"""Long answers a page at a time: a token says where the next one begins."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from trimtab.interop.mlflow.fault import Fault

T = TypeVar("T")


class _Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    offset: int


def page(found: Sequence[T], most: int, token: str) -> tuple[Sequence[T], str]:
    """The part of `found` that a token begins, at most so many, and the next token or ""."""
    begin = start(token)
    end = begin + most
    return found[begin:end], after(end) if end < len(found) else ""


def start(token: str) -> int:
    """Where a token begins; raises a fault for what is none."""
    if not token:
        return 0
    try:
        data = base64.b64decode(token.encode("ascii"), validate=True)
        found = msgspec.json.decode(data, type=_Place).offset
    except (UnicodeEncodeError, binascii.Error, ValueError, msgspec.MsgspecError):
        found = -1
    if not 0 <= found < 2**53:
        raise Fault("Invalid page token, could not base64-decode")
    return found


def after(place: int) -> str:
    """The token that begins at a place."""
    return base64.b64encode(b'{"offset": %d}' % place).decode()
