"""Bytes of artifacts in and out, streamed: listed, stored, sent whole or in part, taken away."""

from __future__ import annotations

import asyncio
import mimetypes
import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from trimtab import ids
from trimtab.errors import StorageError
from trimtab.interop.mlflow import files, ours, runs, versions, wire
from trimtab.interop.mlflow.board import Board
from trimtab.interop.mlflow.fault import Fault
from trimtab.interop.mlflow.paths import ARTIFACTS
from trimtab.interop.mlflow.writing import Writer

PREFIXES: Final = ARTIFACTS
_JSON: Final = (b"content-type", b"application/json")
# A client that was told to send parts sends the whole where the answer begins with these very words.
_WHOLE: Final = (
    "Multipart upload is not supported for the current artifact repository: this server takes and "
    "gives artifacts whole."
)
UPLOAD_BYTES: Final = 10 << 20
_CHUNK: Final = 1 << 20
_RANGE = re.compile(rb"bytes=(\d*)-(\d*)\Z")
_KINDS: Final = dict.fromkeys(("yaml", "yml", "md", "log", "txt"), "text/plain")


class Gone(Exception):
    """Whoever asked has gone."""


async def answer(
    board: Board, writer: Writer, scope: Any, receive: Any, send: Any, method: str, path: str
) -> None:
    """A request below `mlflow-artifacts/`."""
    inner = next(path[len(prefix) :] for prefix in PREFIXES if path.startswith(prefix))
    head, _, rest = inner.partition("/")
    if head != "artifacts":
        raise Fault(_WHOLE, "NOT_IMPLEMENTED")
    if method in ("GET", "HEAD") and not rest:
        folder = wire.query(scope["query_string"]).text("path").strip("/")
        found = await asyncio.to_thread(files.children, board, files.checked(folder))
        await reply(send, 200, wire.encode({"files": found} if found else {}))
        return
    name = files.checked(rest)
    if not name:
        raise Fault("Invalid path")
    if method in ("GET", "HEAD"):
        await send_file(board, scope, send, name)
        return
    ours.check_path(name)
    if method == "PUT":
        digest, size = await _take(board, receive)
        await writer.do(lambda: files.store(board, name, digest, size))
        await reply(send, 200, wire.EMPTY)
    elif method == "DELETE":
        await writer.do(lambda: files.remove(board, name))
        await reply(send, 200, wire.EMPTY)
    else:
        raise Fault(f"Artifacts do not take {method}.", "ENDPOINT_NOT_FOUND")


async def reply(send: Any, status: int, data: bytes, *headers: tuple[bytes, bytes]) -> None:
    """Send a whole answer; JSON where nothing else is said."""
    listed = [*(headers or (_JSON,)), (b"content-length", b"%d" % len(data))]
    await send({"type": "http.response.start", "status": status, "headers": listed})
    await send({"type": "http.response.body", "body": data})


async def of_run(board: Board, scope: Any, send: Any) -> None:
    """`/get-artifact`: a file of a run."""
    asked = wire.query(scope["query_string"])
    run = runs.known(board, asked)
    await send_file(board, scope, send, files.below(run.location, asked.text("path", needed=True)))


async def of_version(board: Board, scope: Any, send: Any) -> None:
    """`/model-versions/get-artifact`: a file of a registered version."""
    asked = wire.query(scope["query_string"])
    one = versions.named(board, asked)
    where = files.below(one.location or one.source, asked.text("path", needed=True))
    await send_file(board, scope, send, where)


async def to_run(board: Board, writer: Writer, scope: Any, receive: Any, send: Any) -> None:
    """`upload-artifact`: the body becomes a small file of a run."""
    asked = wire.query(scope["query_string"])
    run = runs.active(board, runs.known(board, asked))
    path = files.below(run.location, asked.text("path", needed=True))
    data, message = bytearray(), await receive()
    while message["type"] == "http.request":
        data += message.get("body", b"")
        if len(data) > UPLOAD_BYTES:
            raise Fault("Artifact size is too large. Max size is 10MB.")
        if not message.get("more_body"):
            break
        message = await receive()
    else:
        raise Gone
    if not data:
        raise Fault("Request must specify data.")
    digest = await asyncio.to_thread(board.ws.blobs.put, bytes(data))
    await writer.do(lambda: files.store(board, path, digest, len(data)))
    await reply(send, 200, wire.EMPTY)


async def send_file(board: Board, scope: Any, send: Any, path: str) -> None:
    """A file, or the range of it that is asked for."""
    digest, size = await asyncio.to_thread(files.find, board, path)
    source = board.ws.blobs.path(digest)
    headers = dict(scope["headers"])
    tag = b'"%s"' % digest.encode()
    listed = [
        (b"content-type", _kind(path).encode()),
        (
            b"content-disposition",
            f"attachment; filename*=UTF-8''{quote(path.rpartition('/')[2])}".encode(),
        ),
        (b"x-content-type-options", b"nosniff"),
        (b"accept-ranges", b"bytes"),
        (b"etag", tag),
    ]
    if headers.get(b"if-none-match") == tag:
        await send({"type": "http.response.start", "status": 304, "headers": listed})
        await send({"type": "http.response.body", "body": b""})
        return
    asked = headers.get(b"range", b"")
    begin, end, status = 0, size, 200
    if asked and headers.get(b"if-range", tag) == tag:
        part = _part(asked, size)
        if part == (0, 0):
            listed.append((b"content-range", b"bytes */%d" % size))
            await send({"type": "http.response.start", "status": 416, "headers": listed})
            await send({"type": "http.response.body", "body": b""})
            return
        if part is not None:
            (begin, end), status = part, 206
            listed.append((b"content-range", b"bytes %d-%d/%d" % (begin, end - 1, size)))
    listed.append((b"content-length", b"%d" % (end - begin)))
    await send({"type": "http.response.start", "status": status, "headers": listed})
    if scope["method"] == "HEAD":
        await send({"type": "http.response.body", "body": b""})
        return
    await _stream(send, source, begin, end)


async def _stream(send: Any, source: Path, begin: int, end: int) -> None:
    with source.open("rb") as stream:
        stream.seek(begin)
        left = end - begin
        while left > _CHUNK:
            data = await asyncio.to_thread(stream.read, _CHUNK)
            left -= len(data)
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": stream.read(left)})


async def _take(board: Board, receive: Any) -> tuple[str, int]:
    """The body as a blob: digest and size. A large one goes through a file, never through memory."""
    whole, size = bytearray(), 0
    message = await receive()
    while message["type"] == "http.request":
        whole += message.get("body", b"")
        if not message.get("more_body"):
            return await asyncio.to_thread(board.ws.blobs.put, bytes(whole)), len(whole)
        if len(whole) > _CHUNK:
            break
        message = await receive()
    else:
        raise Gone
    staged = board.ws.root / "tmp" / ids.new_id()
    try:
        with staged.open("xb") as stream:
            while True:
                await asyncio.to_thread(stream.write, bytes(whole))
                size += len(whole)
                if not message.get("more_body"):
                    break
                whole.clear()
                while len(whole) < _CHUNK:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise Gone
                    whole += message.get("body", b"")
                    if not message.get("more_body"):
                        break
        return await asyncio.to_thread(board.ws.blobs.put_file, staged), size
    except OSError as error:
        raise StorageError(f"the artifact could not be stored: {error.strerror}") from error
    finally:
        staged.unlink(missing_ok=True)


def _part(asked: bytes, size: int) -> tuple[int, int] | None:
    """Where a range begins and ends; (0, 0) for one that cannot be, None for one not understood."""
    found = _RANGE.match(asked)
    if found is None or found[1] == found[2] == b"":
        return None
    if not found[1]:
        length = min(int(found[2]), size)
        return (size - length, size) if length else (0, 0)
    begin = int(found[1])
    end = min(int(found[2]) + 1, size) if found[2] else size
    return (begin, end) if begin < end else (0, 0)


def _kind(path: str) -> str:
    name = path.rpartition("/")[2]
    stem, dot, end = name.rpartition(".")
    if not dot or not stem:
        return "text/plain" if name == "MLmodel" else "application/octet-stream"
    known = _KINDS.get(end.lower()) or mimetypes.guess_type(name)[0]
    return known or "application/octet-stream"
