"""What answers for a retired endpoint: 410 to every request, no model, a few megabytes.

`python -m trimtab.serve.tombstone FOLDER SOCKET|HOST:PORT`. An endpoint that ends for good becomes it
and hands its listening socket over, so no client meets a closed port. It says who comes after,
tells load balancers that it is not ready, and ends when the notice says so. One thread, one answer
a connection; imports little on purpose. Source: RFC 9110 section 15.5.11.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from trimtab.errors import TrimtabError, UsageError
from trimtab.serve import notice
from trimtab.serve.folder import State, read_settings, write_state
from trimtab.serve.holding import bound, only_one
from trimtab.serve.notice import Notice
from trimtab.serve.process import started

MODULE: Final = "trimtab.serve.tombstone"
MAX_HEAD: Final = 32 << 10
MAX_CLIENTS: Final = 512
HEAD_SECONDS: Final = 10.0
LINGER_SECONDS: Final = 2.0
TELL_SECONDS: Final = 5.0
_TURN_SECONDS: Final = 0.5
_END: Final = b"\r\n\r\n"
_LIVE: Final = frozenset({"/", "/livez", "/v2/health/live"})
_READY: Final = frozenset({"/ping", "/health", "/healthz", "/readyz", "/v2/health/ready"})
_REASONS: Final = {200: "OK", 410: "Gone", 503: "Service Unavailable"}


def become(folder: Path, listener: int) -> None:
    """Replace this process by the one that refuses; never returns. `listener` is inherited."""
    os.set_inheritable(listener, True)
    os.execv(sys.executable, [sys.executable, "-m", MODULE, str(folder), str(listener)])  # noqa: S606


def main(arguments: Sequence[str] | None = None) -> int:
    """Refuse until the notice is over, was taken back, or a signal says so; returns the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if len(given) != 2:
            raise UsageError(f"usage: python -m {MODULE} FOLDER SOCKET|HOST:PORT")
        folder = Path(given[0]).resolve()
        host, colon, port = given[1].rpartition(":")
        with only_one(folder):
            if colon:
                with bound(host, int(port)) as listener:
                    Tombstone(folder, listener).run()
            else:
                with socket.socket(fileno=int(port)) as listener:
                    Tombstone(folder, listener).run()
    except TrimtabError as error:
        sys.stderr.write(f"trimtab: {error.message}\n")
        return error.exit_code
    return 0


class Client:
    """A connection: what came of its head, and until when it may take."""

    __slots__ = ("head", "is_answered", "until")

    def __init__(self) -> None:
        self.head = b""
        self.is_answered = False
        self.until = time.monotonic() + HEAD_SECONDS


class Tombstone:
    """Everything on one selector."""

    def __init__(self, folder: Path, listener: socket.socket) -> None:
        self._folder = folder
        self._listener = listener
        self._name = read_settings(folder).name
        self._follower = notice.Follower(folder)
        self._follower.changed()
        self._clients: dict[socket.socket, Client] = {}
        self._selector = selectors.DefaultSelector()
        self._accepts = False
        self._is_over = False
        self._refused = self._told = 0
        address = listener.getsockname()
        self._state = State(
            pid=os.getpid(),
            pid_started=started(os.getpid()),
            host=address[0],
            port=address[1],
            ready=False,
            gone=True,
        )

    def run(self) -> None:
        """Answer until it is over."""
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, lambda *_: self._end())
        self._listener.setblocking(False)
        self._accept_more()
        self._tell()
        told_at = time.monotonic()
        while not self._is_over:
            for key, _ in self._selector.select(_TURN_SECONDS):
                if key.data is None:
                    self._accept()
                else:
                    self._read(key.fileobj, key.data)
            self._sweep()
            self._follower.changed()
            if not self._follower.is_gone or _is_past(self._follower.notice):
                self._is_over = True
            if self._refused != self._told and time.monotonic() - told_at > TELL_SECONDS:
                told_at = time.monotonic()
                self._tell()
        for connection in list(self._clients):
            self._close(connection)
        self._state = msgspec.structs.replace(self._state, pid=0)
        self._tell()

    def _end(self) -> None:
        self._is_over = True

    def _tell(self) -> None:
        """Write `state.json`; a full disk must not end the refusals."""
        self._told = self._refused
        with contextlib.suppress(OSError):
            write_state(self._folder, msgspec.structs.replace(self._state, refused=self._refused))

    def _accept_more(self) -> None:
        if not self._accepts and len(self._clients) < MAX_CLIENTS:
            self._selector.register(self._listener, selectors.EVENT_READ, None)
            self._accepts = True

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            client = self._clients[connection] = Client()
            self._selector.register(connection, selectors.EVENT_READ, client)
        if len(self._clients) >= MAX_CLIENTS:
            self._selector.unregister(self._listener)
            self._accepts = False

    def _read(self, connection: Any, client: Client) -> None:
        try:
            data = connection.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close(connection)
        elif not client.is_answered:  # what comes after the answer is read and dropped
            client.head += data
            if _END in client.head or len(client.head) > MAX_HEAD:
                self._answer(connection, client)

    def _answer(self, connection: socket.socket, client: Client) -> None:
        """One answer, smaller than any socket's buffer; then nothing more is sent."""
        method, path = _target(client.head)
        status, body, kind, more = self._said(path)
        self._refused += status == 410
        lines = [
            f"HTTP/1.1 {status} {_REASONS[status]}",
            f"content-type: {kind}",
            f"content-length: {len(body)}",
            *(f"{name}: {value}" for name, value in more.items()),
            "cache-control: no-store",
            "connection: close",
        ]
        head = "\r\n".join(lines).encode("latin-1", "replace") + _END
        client.head, client.is_answered = b"", True
        client.until = time.monotonic() + LINGER_SECONDS
        try:
            connection.sendall(head if method == "HEAD" else head + body)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(connection)

    def _said(self, path: str) -> tuple[int, bytes, str, Mapping[str, str]]:
        """Status, body, content type and headers for a path."""
        known = self._follower.notice
        if path in _LIVE:
            return 200, b'{"status":"retired"}', "application/json", {}
        if path in _READY or (path.startswith("/v2/models/") and path.endswith("/ready")):
            return 503, b'{"ready":false,"status":"retired"}', "application/json", {}
        if path == "/metrics":
            text = _metrics(self._name, self._refused)
            return 200, text, "text/plain; version=0.0.4; charset=utf-8", {}
        return 410, refusal(path, self._name, known), "application/json", notice.headers(known)

    def _sweep(self) -> None:
        now = time.monotonic()
        for connection in [one for one, client in self._clients.items() if now > client.until]:
            self._close(connection)
        self._accept_more()

    def _close(self, connection: socket.socket) -> None:
        del self._clients[connection]
        self._selector.unregister(connection)
        connection.close()


def refusal(path: str, name: str, known: Notice | None) -> bytes:
    """`{"error", "successor"}` in the words of the path's protocol."""
    message = f"endpoint {name!r} was retired"
    if known is not None:
        message += f" on {notice.http_date(known.sunset_at)}"
    link = known.link or known.successor if known is not None else ""
    hint = f"ask {link} instead" if link else ""
    if path == "/v2" or path.startswith(("/v2/", "/v1/models")):
        return msgspec.json.encode({"error": f"{message}; {hint}" if hint else message,
                                    "successor": link})  # fmt: skip
    body: dict[str, Any] = {"error": {"code": "gone", "message": message, "hint": hint}}
    if path == "/invocations":
        body |= {"error_code": "ENDPOINT_NOT_FOUND", "message": message, "stack_trace": ""}
    return msgspec.json.encode({**body, "successor": link})


def _target(head: bytes) -> tuple[str, str]:
    """Method and path of a request's first line, empty where it has none."""
    words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    path = words[1].partition("?")[0] if len(words) == 3 else ""
    return words[0], path


def _metrics(name: str, refused: int) -> bytes:
    label = name.replace("\\", "\\\\").replace('"', '\\"')
    return (
        "# TYPE trimtab_requests_total counter\n"
        f'trimtab_requests_total{{endpoint="{label}",contract="gone",code="410"}} {refused}\n'
        "# TYPE trimtab_ready gauge\n"
        f'trimtab_ready{{endpoint="{label}"}} 0\n'
    ).encode()


def _is_past(known: Notice | None) -> bool:
    return known is not None and bool(known.until) and time.time() * 1e6 >= known.until


if __name__ == "__main__":
    raise SystemExit(main())
