"""What Python code prints, kept beside being printed. What other processes print is theirs."""

from __future__ import annotations

import sys
import threading
from typing import Any, Final

MOST: Final = 16 << 20
"""Bytes that are kept: the first half and the last."""
_CUT: Final = b"\n[trimtab: %d bytes are left out here]\n"


class Output:
    """Listens to sys.stdout and sys.stderr until it is closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._head = bytearray()
        self._tail = bytearray()
        self._cut = 0
        self._tees = [_Tee(sys.stdout, self), _Tee(sys.stderr, self)]
        sys.stdout, sys.stderr = self._tees

    def add(self, text: str) -> None:
        """Keep some text."""
        data = text.encode("utf-8", "replace")
        with self._lock:
            room = MOST // 2 - len(self._head)
            self._head += data[:room] if room > 0 else b""
            self._tail += data[max(room, 0) :]
            if len(self._tail) > MOST:
                over = len(self._tail) - MOST // 2
                self._cut += over
                del self._tail[:over]

    def close(self) -> bytes:
        """Stop listening; what was printed. A stream that others wrapped meanwhile stays theirs."""
        for tee in self._tees:
            tee.listens = False
        if sys.stdout is self._tees[0]:
            sys.stdout = self._tees[0].stream
        if sys.stderr is self._tees[1]:
            sys.stderr = self._tees[1].stream
        between = _CUT % self._cut if self._cut else b""
        return bytes(self._head) + between + bytes(self._tail)


class _Tee:
    """A text stream that also tells what is written to it; all else is the stream's own."""

    def __init__(self, stream: Any, output: Output) -> None:
        self.stream = stream
        self.listens = True
        self._output = output

    def write(self, text: str) -> int:
        """Write to the stream, and keep."""
        written: int = self.stream.write(text)
        if self.listens:
            self._output.add(text)
        return written

    def writelines(self, lines: Any) -> None:
        """Write every line."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
