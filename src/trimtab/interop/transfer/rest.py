"""A client of MLflow's protocol: JSON and files over one connection, tried again where that helps.

Every answer is checked: its status, that it is JSON, that a file has the length that was promised.
Who is asking comes from MLFLOW_TRACKING_TOKEN, or _USERNAME and _PASSWORD, as with MLflow's client.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import os
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from trimtab.errors import DataError, NotFoundError, RefusedError, StorageError, UsageError

API: Final = "/api/2.0/mlflow/"
FILES: Final = "/api/2.0/mlflow-artifacts/artifacts"
_TRIES: Final = 4
_WAIT: Final = 0.25
_SECONDS: Final = 60.0
_LARGEST: Final = 512 << 20
_CHUNK: Final = 1 << 20
_AGAIN: Final = (429, 500, 502, 503, 504)
_HINT: Final = "run it again when it answers: what is carried stays, and the rest follows"


class Rest:
    """One server. Raises StorageError where it does not answer, DataError for what is no answer."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.username or parts.password:
            raise UsageError(
                "the address holds a password",
                hint="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead",
            )
        if not parts.hostname:
            raise UsageError(f"{url!r} is no address", hint="write http://HOST:PORT")
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._base = parts.path.rstrip("/")
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        try:
            self._connection = kind(parts.hostname, parts.port, timeout=_SECONDS)
        except ValueError as error:
            raise UsageError(f"{url!r} is no address: {error}") from error
        self._headers = _who()

    def get(self, path: str, /, **fields: Any) -> dict[str, Any]:
        """The answer to a GET below the API."""
        return self._json("GET", f"{_place(path)}?{urlencode(fields, doseq=True)}", None)

    def post(self, path: str, /, **fields: Any) -> dict[str, Any]:
        """The answer to a POST below the API."""
        return self._json("POST", _place(path), msgspec.json.encode(fields))

    def patch(self, path: str, /, **fields: Any) -> dict[str, Any]:
        """The answer to a PATCH below the API."""
        return self._json("PATCH", _place(path), msgspec.json.encode(fields))

    def listed(self, folder: str) -> list[dict[str, Any]]:
        """What is directly in a folder of the artifact store."""
        found = self._json("GET", f"{FILES}?{urlencode({'path': folder})}", None)
        return list(found.get("files", ()))

    def download(self, path: str, into: Path, *, size: int | None) -> None:
        """A file of a path below the server's root, streamed to a new file."""
        for left in range(_TRIES - 1, -1, -1):
            try:
                self._stream(path, into, size)
                return
            except (OSError, http.client.HTTPException) as error:
                into.unlink(missing_ok=True)
                if isinstance(error, StorageError) and not isinstance(error, _BrokenError):
                    raise
                self._again(left, f"{self.url} broke off: {error}", error)

    def upload(self, path: str, source: Path) -> None:
        """Store a file below the artifact store."""
        for left in range(_TRIES - 1, -1, -1):
            try:
                with source.open("rb") as stream:
                    headers = {**self._headers, "Content-Length": str(source.stat().st_size)}
                    where = f"{self._base}{FILES}/{quote(path)}"
                    self._connection.request("PUT", where, body=stream, headers=headers)
                    reply = self._connection.getresponse()
                    data = reply.read(_LARGEST)
                if reply.status in _AGAIN:
                    self._again(left, f"{self.url} answers {reply.status}", None)
                    continue
                _checked(reply.status, data, path)
                return
            except (OSError, http.client.HTTPException) as error:
                if isinstance(error, StorageError | RefusedError):
                    raise
                self._again(left, f"{self.url} broke off: {error}", error)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _json(self, method: str, path: str, body: bytes | None) -> dict[str, Any]:
        status, data = 0, b""
        for left in range(_TRIES - 1, -1, -1):
            try:
                headers = {**self._headers, "Content-Type": "application/json"}
                self._connection.request(method, self._base + path, body=body, headers=headers)
                reply = self._connection.getresponse()
                status, data = reply.status, reply.read(_LARGEST + 1)
                if reply.length and len(data) <= _LARGEST:  # reading a part of it does not say so
                    raise _BrokenError("before the end of an answer")
            except (OSError, http.client.HTTPException) as error:
                self._again(left, f"{self.url} does not answer: {error}", error)
                continue
            if status not in _AGAIN:
                break
            self._again(left, f"{self.url} answers {status}: {_said(data)}", None)
        if len(data) > _LARGEST:
            raise DataError(f"{self.url} answers more than {_LARGEST} bytes to {path[:100]}")
        return _checked(status, data, path)

    def _stream(self, path: str, into: Path, size: int | None) -> None:
        self._connection.request("GET", self._base + path, headers=self._headers)
        reply = self._connection.getresponse()
        if reply.status != 200:
            data = reply.read(_CHUNK)
            if reply.status in _AGAIN:
                raise _BrokenError(f"it answers {reply.status}")
            _checked(reply.status, data, path)
            raise DataError(f"{self.url} answers {reply.status} to {path[:200]}")
        got = 0
        try:
            with into.open("xb") as stream:
                while data := reply.read(_CHUNK):
                    got += len(data)
                    if size is not None and got > size:
                        break
                    stream.write(data)
        except http.client.IncompleteRead as error:
            raise _BrokenError("before the end of a file") from error
        except (ConnectionError, TimeoutError):
            raise
        except OSError as error:
            raise StorageError(f"cannot write {into.name}: {error.strerror}") from error
        if reply.length or (size is not None and got != size):
            self._connection.close()
            raise _BrokenError(f"after {got} of {size or got + (reply.length or 0)} bytes")

    def _again(self, left: int, said: str, error: Exception | None) -> None:
        self._connection.close()
        if not left:
            raise StorageError(said, hint=_HINT) from error
        time.sleep(_WAIT * 2 ** (_TRIES - 1 - left))


class _BrokenError(StorageError):
    """An answer that did not come whole."""


def _place(path: str) -> str:
    return path if path.startswith("/") else API + path


def _checked(status: int, data: bytes, path: str) -> dict[str, Any]:
    where = path.partition("?")[0]
    try:
        found = msgspec.json.decode(data) if data else {}
    except msgspec.DecodeError as error:
        if status >= 400:
            found = {}
        else:
            raise DataError(
                f"{where} is answered with {_said(data)!r}, which is no JSON",
                hint="is an MLflow server there?",
            ) from error
    said = str(found.get("message", "")) if isinstance(found, dict) else ""
    if status in (401, 403):
        raise RefusedError(
            f"the server refuses {where}: {said or status}",
            hint="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        )
    if status == 404:
        raise NotFoundError(f"the server has no {where}: {said or status}")
    if status >= 300:
        raise DataError(f"the server refuses {where}: {said or _said(data) or status}")
    if not isinstance(found, dict):
        raise DataError(f"{where} is not answered with an object")
    return found


def _said(data: bytes) -> str:
    return " ".join(data[:200].decode("utf-8", "replace").split())


def _who() -> dict[str, str]:
    token = os.environ.get("MLFLOW_TRACKING_TOKEN", "")
    if token:
        return {"Authorization": f"Bearer {token}"}
    name = os.environ.get("MLFLOW_TRACKING_USERNAME", "")
    if not name:
        return {}
    secret = f"{name}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}".encode()
    with contextlib.suppress(UnicodeError):
        return {"Authorization": f"Basic {base64.b64encode(secret).decode()}"}
    return {}
