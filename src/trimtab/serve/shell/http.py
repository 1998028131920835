"""The native shell: HTTP/1.1 on an event loop's own protocol, parsed by httptools (llhttp).

Answers leave in the order of their requests, whatever was scored first. A connection that sends too
much, too slowly or something that is not HTTP is answered once, where that is possible, and closed.
Source: RFC 9112; docs/serving.md lists the limits.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NoReturn

import httptools

from trimtab.serve.batcher import Batcher
from trimtab.serve.engine import Engine
from trimtab.serve.reply import Refusal, Response, refused
from trimtab.serve.shell.heads import Heads, Known
from trimtab.serve.shell.wire import Head, Slot, header_name, target, to_bytes, unspoken

MAX_PIPELINED: Final = 64
HEAD_SECONDS: Final = 10.0
REQUEST_SECONDS: Final = 60.0
IDLE_SECONDS: Final = 75.0
WRITE_SECONDS: Final = 30.0
LINGER_SECONDS: Final = 2.0
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connections:
    """Every connection of one endpoint process."""

    def __init__(self, engine: Engine, batcher: Batcher) -> None:
        self.engine = engine
        self.batcher = batcher
        self.open: set[Connection] = set()
        self.heads = Heads()
        self._loop = asyncio.get_running_loop()

    def __call__(self) -> Connection:
        """A new connection, as an event loop wants it."""
        return Connection(self)

    def sweep(self) -> None:
        """Close connections whose client is too slow; to be called about once a second."""
        now = self._loop.time()
        for one in [one for one in self.open if one.is_late(now)]:
            one.give_up()

    def close_idle(self) -> None:
        """Close the connections that wait for nothing."""
        for one in [one for one in self.open if one.is_idle]:
            one.close()


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, all_of_them: Connections) -> None:
        self._all = all_of_them
        self._engine = all_of_them.engine
        self._limits = all_of_them.engine.limits
        self._loop = all_of_them._loop  # noqa: SLF001 - of the same module
        self._transport: Any = None
        self._parser: Any = None
        self.is_gone = False
        self._known: Known | None = None  # the head that came last
        self._hurried: Known | None = None  # the head of the request on the shortest way
        self._hot = Slot(is_head=False, is_last=False)  # its place
        self._slots: deque[Slot] = deque()
        self._is_over = False  # nothing more is read
        self._lingers = False  # what is still sent is read and dropped
        self._is_paused = False
        self._is_full = False
        self._deadline = 0.0  # for asking
        self._read_by = 0.0  # for reading the answers
        self._error: Refusal | None = None
        self._in_body = False
        self._head = 0  # bytes that came of a head that is not whole
        self._whole = b""  # what came in one piece, from the beginning of a request
        self._url = b""
        self._headers: dict[str, str] = {}
        self._size = 0
        self._body: list[bytes] = []
        self._body_size = 0

    # --- what the event loop tells -----------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """A client has connected."""
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)
        self._all.open.add(self)
        self._all.batcher.clients = len(self._all.open)
        self._deadline = self._loop.time() + IDLE_SECONDS

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone; what it asked for is not scored any more."""
        self._all.open.discard(self)
        self._all.batcher.clients = len(self._all.open)
        self._is_over = self.is_gone = True
        for slot in self._slots:
            if slot.job is not None:
                slot.job.gone = True
        self._slots.clear()

    def data_received(self, data: bytes) -> None:
        """Parse; every whole request is begun at once."""
        if self._is_over:
            return
        if not self._in_body:
            if not self._head:
                known = self._all.heads.find(data, self._known)
                if known is not None:
                    self._known = known
                    self._deadline = self._loop.time() + IDLE_SECONDS
                    self._ask_again(known, data[len(known.head) :])
                    return
                self._whole = data
            self._head += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            self._refuse(self._error or Refusal(400, "bad_request", "the request cannot be read"))
        except httptools.HttpParserError:
            self._refuse(Refusal(400, "bad_request", "the request is not HTTP/1.1"))
        else:
            if not self._in_body and self._head > self._limits.header_bytes and not self._is_over:
                self._refuse(_refusal(self._limits.check_head, 0, self._head))
        self._whole = b""  # what is not whole by now did not come in one piece

    def eof_received(self) -> bool:
        """The client sends no more; it still gets its answers."""
        self._is_over = True
        return bool(self._slots)

    def pause_writing(self) -> None:
        """The client does not read its answers."""
        self._is_full = True
        self._read_by = self._loop.time() + WRITE_SECONDS
        self._hold()

    def resume_writing(self) -> None:
        """It does again."""
        self._is_full = False
        self._go_on()

    # --- what the parser tells ---------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        self._url = b""
        self._headers = {}
        self._size = 0
        self._body = []
        self._body_size = 0
        self._head = 1
        self._deadline = self._loop.time() + HEAD_SECONDS

    def on_url(self, url: bytes) -> None:
        """A part of the request's target."""
        self._url = self._url + url if self._url else url
        self._size += len(url)
        if self._size > self._limits.header_bytes:
            self._check(self._limits.check_head, 1, self._size)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A whole header."""
        text = header_name(name)
        if text in self._headers:
            if text in ("host", "content-type", "authorization", "inference-header-content-length"):
                self._stop(Refusal(400, "bad_request", f"the header {text} is given twice"))
            value = self._headers[text].encode("latin-1") + b", " + value
        self._headers[text] = value.decode("latin-1")
        self._size += len(name) + len(value) + 4
        if self._size > self._limits.header_bytes or len(self._headers) > self._limits.headers:
            self._check(self._limits.check_head, len(self._headers), self._size)

    def on_headers_complete(self) -> None:
        """The head is whole: refuse what is too large before it is sent."""
        self._in_body = True
        headers = self._headers
        length = headers.get("content-length")
        self._deadline = self._loop.time() + REQUEST_SECONDS
        if length is not None:
            if "transfer-encoding" in headers:
                self._stop(
                    Refusal(400, "bad_request", "a length and a transfer encoding are given")
                )
            if not length.isascii() or not length.isdecimal():
                self._stop(Refusal(400, "bad_request", "the content length is no number"))
            self._check(self._limits.check_body, int(length))
        elif headers.get("transfer-encoding", "chunked").lower() != "chunked":
            self._stop(Refusal(501, "transfer_encoding", "only chunked is spoken"))
        wrong = unspoken(self._parser, headers)
        if wrong is not None:
            self._stop(wrong)
        expected = headers.get("expect")
        if expected is not None:
            if expected.lower() != "100-continue":
                self._stop(Refusal(417, "expectation", "only 100-continue can be expected"))
            if not self._slots:
                self._transport.write(_CONTINUE)

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        self._body_size += len(data)
        self._check(self._limits.check_body, self._body_size)
        self._body.append(data)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._in_body = False
        self._head = 0
        self._deadline = self._loop.time() + IDLE_SECONDS
        try:
            path, query = target(self._url, self._headers)
        except httptools.HttpParserInvalidURLError:
            self._stop(Refusal(400, "bad_request", "the target is not one of HTTP"))
        head = Head(
            self._parser.get_method().decode("latin-1"),
            path,
            query,
            self._headers,
            self._body_size,
            self._parser.should_keep_alive(),
        )
        if self._whole:
            self._all.heads.keep(self._whole, head)
            self._whole = b""
        self._ask(head, self._body[0] if len(self._body) == 1 else b"".join(self._body))

    def _ask_again(self, known: Known, body: bytes) -> None:
        """Begin a request under a head that came before, the shortest way where there is one."""
        slots, hot = self._slots, self._engine.hot
        if known.epoch != hot.epoch:
            known.plan = hot.plan(known.parsed)
            known.epoch = hot.epoch
        plan, batcher = known.plan, self._all.batcher
        if plan is None or plan.epoch != hot.epoch or slots:
            self._ask(known.parsed, body)
        elif batcher.clients == 1 and not batcher.pending and plan.way.lone is not None:
            answer = hot.alone(plan, body)
            if answer is None:
                self._ask(known.parsed, body)
            else:
                self._transport.write(answer)
        elif batcher.hurry(plan, body, self):
            self._hurried = known
            self._hot.data = None
            slots.append(self._hot)
        else:
            self._ask(known.parsed, body)

    def again(self, body: bytes) -> None:
        """Ask the ordinary way what was not for the shortest."""
        assert self._hurried is not None
        self._begin(self._hurried.parsed, body, self._hot)

    def take(self, answer: bytes) -> None:
        """An answer as it goes over the wire."""
        self._send(self._hot, answer)

    def _ask(self, head: Head, body: bytes) -> None:
        """Begin a whole request."""
        slot = Slot(is_head=head.method == "HEAD", is_last=not head.keeps)
        self._slots.append(slot)
        if not head.keeps:
            self._is_over = True
        self._begin(head, body, slot)

    def _begin(self, head: Head, body: bytes, slot: Slot) -> None:
        found = self._engine.begin(head.method, head.path, head.headers, body, head.query)
        if isinstance(found, Response):
            self._fill(slot, found)
            return
        slot.job = found
        self._all.batcher.submit(found, functools.partial(self._fill, slot))
        if len(self._slots) >= MAX_PIPELINED:
            self._hold()

    # --- answers -----------------------------------------------------------------------------------

    def _fill(self, slot: Slot, response: Response) -> None:
        """Take an answer."""
        slot.job = None
        if self._engine.draining:
            slot.is_last = True
        self._send(slot, to_bytes(response, is_head=slot.is_head, is_last=slot.is_last))

    def _send(self, slot: Slot, data: bytes) -> None:
        """Take an answer's bytes, and send every answer whose turn it is."""
        slot.data = data
        slots = self._slots
        if len(slots) == 1 and not slot.is_last and slots[0] is slot:
            slots.clear()
            self._transport.write(data)
            if self._is_over:  # the client has sent all it had
                self.close()
            return
        if not slots or slots[0].data is None or self._transport is None:
            return
        ready: list[bytes] = []
        while slots and slots[0].data is not None:
            first = slots.popleft()
            ready.append(first.data)  # type: ignore[arg-type]
            if first.is_last:
                self._transport.write(b"".join(ready))
                self._end()
                return
        self._transport.write(ready[0] if len(ready) == 1 else b"".join(ready))
        if self._is_over and not slots:
            self.close()
            return
        if self._is_paused and len(slots) < MAX_PIPELINED // 2:
            self._go_on()

    def _refuse(self, error: Refusal) -> None:
        """Answer what cannot be read, behind the answers that come first, and close."""
        self._is_over = self._lingers = True
        is_head = self._in_body and self._parser.get_method() == b"HEAD"
        slot = Slot(is_head=is_head, is_last=True)
        self._slots.append(slot)
        self._fill(slot, refused(error))

    def _check(self, check: Callable[..., None], *given: int) -> None:
        """Leave the parser where a limit refuses."""
        try:
            check(*given)
        except Refusal as error:
            self._stop(error)

    def _stop(self, error: Refusal) -> NoReturn:
        """Leave the parser from one of its callbacks."""
        self._error = error
        raise _StoppedError

    def _hold(self) -> None:
        if not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()

    def _go_on(self) -> None:
        if self._is_paused and not self._is_full and not self._is_over:
            self._is_paused = False
            self._transport.resume_reading()

    # --- the end -----------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether the client waits for nothing and is not in the middle of asking."""
        return not self._slots and not self._in_body and not self._head

    def is_late(self, now: float) -> bool:
        """Whether the client has had its time: to ask, to read, or to be idle."""
        if self._is_full:
            return now > self._read_by
        return now > self._deadline and not self._slots

    def give_up(self) -> None:
        """Close a connection that is late: with a word where it was asking, at once otherwise."""
        if self._is_full:
            self._transport.abort()
        elif self.is_idle or self._is_over:
            self.close()
        else:
            self._refuse(Refusal(408, "timeout", "the request did not arrive in time"))

    def close(self) -> None:
        """Close when everything that was written has left."""
        self._is_over = True
        self._transport.close()

    def _end(self) -> None:
        """Close behind the last answer.

        A client that is still sending would lose the answer to the reset that its data meets on a
        closed socket: what it sends is read and dropped for a while.
        """
        if self._lingers and self._transport.can_write_eof():
            self._transport.write_eof()
            self._deadline = self._loop.time() + LINGER_SECONDS
        else:
            self.close()


class _StoppedError(Exception):
    """Leaves the parser; the connection knows why."""


def _refusal(check: Callable[..., None], *given: int) -> Refusal:
    try:
        check(*given)
    except Refusal as error:
        return error
    raise AssertionError("within the limit")
