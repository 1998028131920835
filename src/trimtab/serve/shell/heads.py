"""Heads of requests that came before: clients send the same one again and again.

A request whose bytes begin with a known head, and are as many as that head's were, is not parsed.
"""

from __future__ import annotations

from typing import Final

from trimtab.serve.shell.hot import Plan
from trimtab.serve.shell.wire import Head

END: Final = b"\r\n\r\n"
MAX_KNOWN_HEADS: Final = 512
MAX_KNOWN_HEAD: Final = 4 << 10
# Heads with these do not come again, or mean more than their bytes.
_UNIQUE: Final = frozenset(
    {"x-request-id", "traceparent", "expect", "transfer-encoding", "x-event-time", "cookie"}
)


class Known:
    """A head that came before: its bytes, what they say, and the length of the whole request.

    `plan` is the shortest way of such requests, as of `epoch`.
    """

    __slots__ = ("epoch", "head", "parsed", "plan", "size")

    def __init__(self, head: bytes, parsed: Head) -> None:
        self.head = head
        self.parsed = parsed
        self.size = len(head) + parsed.length
        self.plan: Plan | None = None
        self.epoch = -1


class Heads:
    """The known heads of one process."""

    def __init__(self) -> None:
        self._known: dict[bytes, Known] = {}

    def find(self, data: bytes, last: Known | None) -> Known | None:
        """The known head of a whole request, if it has one; `last` is tried first."""
        if last is not None and len(data) == last.size and data.startswith(last.head):
            return last
        known = self._known.get(data[: data.find(END) + len(END)])
        return known if known is not None and len(data) == known.size else None

    def keep(self, whole: bytes, head: Head) -> None:
        """Keep a head that came with its body in one piece, if it is likely to come again."""
        end = len(whole) - head.length
        if (
            whole.endswith(END, 0, end)
            and whole.find(END) + len(END) == end <= MAX_KNOWN_HEAD
            and head.keeps
            and head.headers.keys().isdisjoint(_UNIQUE)
        ):
            if len(self._known) >= MAX_KNOWN_HEADS:
                self._known.clear()
            self._known[whole[:end]] = Known(whole[:end], head)
