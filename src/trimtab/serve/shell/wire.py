"""HTTP/1.1 as bytes: what a head says, where a request stands, how a response is written."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import httptools

from trimtab.serve.job import Job
from trimtab.serve.reply import Refusal, Response

_STATUS: Final = {
    one.value: f"HTTP/1.1 {one.value} {one.phrase}\r\ncontent-type: ".encode() for one in HTTPStatus
}
_JSON: Final = {
    status: line + b"application/json\r\ncontent-length: " for status, line in _STATUS.items()
}
_NAMES: dict[bytes, str] = {}


class Head(NamedTuple):
    """What a request's head says, as it was parsed once; clients send the same one again and again."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    length: int
    keeps: bool


class Slot:
    """A request's place among the answers of its connection."""

    __slots__ = ("data", "is_head", "is_last", "job")

    def __init__(self, *, is_head: bool, is_last: bool) -> None:
        self.is_head = is_head
        self.is_last = is_last
        self.data: bytes | None = None
        self.job: Job | None = None


def to_bytes(response: Response, *, is_head: bool, is_last: bool) -> bytes:
    """A response as it goes over the wire."""
    body = response.body
    if response.content_type == "application/json":
        head = _JSON[response.status]
    else:
        kind = response.content_type.encode("latin-1", "replace")
        head = b"%s%s\r\ncontent-length: " % (_STATUS[response.status], kind)
    lines = "".join([f"\r\n{name}: {value}" for name, value in response.headers.items()])
    end = b"\r\nconnection: close\r\n\r\n" if is_last else b"\r\n\r\n"
    return b"%s%d%s%s%s" % (
        head, len(body), lines.encode("latin-1", "replace"), end, b"" if is_head else body,
    )  # fmt: skip


def target(url: bytes, headers: dict[str, str] | None = None) -> tuple[str, str]:
    """Path (decoded) and query of a request's target; raises HttpParserInvalidURLError.

    A target that names a host makes it the one in `headers`, whatever was there.
    """
    path, _, query = url.partition(b"?")
    if b"#" in url:  # a fragment is never sent, see RFC 9112 section 3.2
        raise httptools.HttpParserInvalidURLError
    if not url.startswith(b"/") and url != b"*":  # absolute form, see RFC 9112 section 3.2.2
        parsed = httptools.parse_url(url)
        path, query = parsed.path, parsed.query or b""
        if path is None:
            raise httptools.HttpParserInvalidURLError
        if headers is not None:
            authority = url.partition(b"://")[2].partition(b"/")[0]
            headers["host"] = authority.rpartition(b"@")[2].decode("latin-1")
    text = path.decode("latin-1")
    return unquote(text) if "%" in text else text, query.decode("latin-1")


def unspoken(parser: Any, headers: Mapping[str, str]) -> Refusal | None:
    """Why a request whose head httptools has read is not one of HTTP/1; None where it is.

    Sources: RFC 9110 sections 2.5 and 15.6.6, RFC 9112 section 3.2.
    """
    version = parser.get_http_version()
    if not version.startswith("1."):
        return no_version(version)
    if version == "1.1" and "host" not in headers:
        return Refusal(400, "bad_request", "the header host is missing")
    if parser.should_upgrade():
        return Refusal(501, "upgrade", "this endpoint speaks HTTP/1.1 only")
    return None


def no_version(version: str) -> Refusal:
    """That a request is of a version of HTTP that is not spoken."""
    return Refusal(505, "http_version", f"this endpoint speaks HTTP/1.1, not HTTP/{version[:9]}")


def header_name(name: bytes) -> str:
    """A header's name in lower case."""
    known = _NAMES.get(name)
    if known is not None:
        return known
    text = name.lower().decode("latin-1")
    if len(_NAMES) < 256:
        _NAMES[name] = text
    return text
