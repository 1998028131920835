"""Bodies as they travel: gzip, deflate and zstd in under a cap, out by what a client accepts.

A body is never inflated beyond the cap, whatever it claims of itself. Damage, unknown encodings and
bombs are Refusals (RFC 9110 sections 8.4 and 12.5.3).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from trimtab.serve.reply import Refusal

ACCEPTED: Final = "gzip, deflate, zstd, identity"
WORTH: Final = 1024
_MEMBERS: Final = 16
_ZSTD_WINDOW: Final = 8 << 20  # what RFC 9659 lets a sender use
_LONGEST: Final = 500
_LEVEL: Final = 1
_GZIP, _ZLIB, _RAW = 31, 15, -15


def inflate(body: bytes, encoding: str, cap: int) -> bytes:
    """A body without its content-encoding; `encoding` is the header's text, "" for none.

    Raises Refusal 413 where it is more than `cap` bytes, 400 where it is damaged, 415 for an
    encoding that is not read, or several of them.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        if len(body) > cap:
            raise _too_large(cap)
        return body
    if name in ("gzip", "x-gzip"):
        return _gunzip(body, cap)
    if name == "deflate":
        return _inflate_deflate(body, cap)
    if name == "zstd":
        return _inflate_zstd(body, cap)
    several = "," in name
    raise Refusal(
        415,
        "content_encoding",
        "the body is encoded more than once" if several else "the content-encoding is not read",
        hint=f"one of {ACCEPTED}",
        headers={"accept-encoding": ACCEPTED},
    )


def deflate_for(accept_encoding: str, body: bytes, worth: int = WORTH) -> tuple[bytes, str]:
    """An answer's body as the client likes it best, and its content-encoding, "" for none.

    Below `worth` bytes, or where it would grow, it stays as it is.
    """
    if len(body) < worth or not accept_encoding or len(accept_encoding) > _LONGEST:
        return body, ""
    name = _preferred(accept_encoding)
    if not name:
        return body, ""
    made = _MAKERS[name](body)
    return (made, name) if len(made) < len(body) else (body, "")


def _gunzip(body: bytes, cap: int) -> bytes:
    """Members of RFC 1952, one after the other."""
    parts: list[bytes] = []
    left, rest = cap, body
    for _ in range(_MEMBERS):
        part, rest = _member(rest, _GZIP, left, cap)
        parts.append(part)
        left -= len(part)
        if not rest:
            return parts[0] if len(parts) == 1 else b"".join(parts)
    raise _damaged(f"is more than {_MEMBERS} gzip members")


def _inflate_deflate(body: bytes, cap: int) -> bytes:
    """zlib as RFC 9110 says, or raw deflate as many clients send."""
    if len(body) > 1 and body[0] & 15 == 8 and int.from_bytes(body[:2]) % 31 == 0:
        try:
            return _only(body, _ZLIB, cap)
        except Refusal as refusal:
            if refusal.status != 400:
                raise
    return _only(body, _RAW, cap)


def _only(body: bytes, bits: int, cap: int) -> bytes:
    whole, rest = _member(body, bits, cap, cap)
    if rest:
        raise _damaged("goes on after its end")
    return whole


def _member(body: bytes, bits: int, left: int, cap: int) -> tuple[bytes, bytes]:
    """One stream and what follows it; at most `left` + 1 bytes are ever made."""
    stream = zlib.decompressobj(bits)
    try:
        part = stream.decompress(body, left + 1)
    except zlib.error:
        raise _damaged("is damaged") from None
    if len(part) > left:
        raise _too_large(cap)
    if not stream.eof:
        raise _damaged("ends before its end")
    return part, stream.unused_data


def _inflate_zstd(body: bytes, cap: int) -> bytes:
    """One frame of RFC 8878. Its size is found out first: only the reader stops at a size."""
    import zstandard  # noqa: PLC0415  loaded by the first client that sends it

    reads = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    try:
        with reads.stream_reader(body) as stream:
            made = stream.read(cap + 1)
        if len(made) > cap:
            raise _too_large(cap)
        frame = reads.decompressobj()
        made = frame.decompress(body)
    except zstandard.ZstdError:
        raise _damaged("is damaged") from None
    if not frame.eof or frame.unused_data:
        raise _damaged("is not one whole zstd frame")
    return made


@lru_cache(maxsize=256)
def _preferred(accept: str) -> str:
    """The encoding with the highest q; at a tie the cheapest to make; "" for none."""
    asked: dict[str, float] = {}
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        asked["gzip" if name == "x-gzip" else name] = _quality(parameters)
    default = asked.get("*", 0.0)
    plain = asked.get("identity", 0.0)
    best = max(_MAKERS, key=lambda name: asked.get(name, default))
    quality = asked.get(best, default)
    return best if quality > 0 and quality >= plain else ""


def _quality(parameters: list[str]) -> float:
    """A weight of RFC 9110 section 12.4.2; what is no weight counts as unwanted."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                number = float(value)
            except ValueError:
                return 0.0
            return number if 0.0 <= number <= 1.0 else 0.0
    return 1.0


def _zstd(body: bytes) -> bytes:
    import zstandard  # noqa: PLC0415  loaded by the first client that accepts it

    return zstandard.ZstdCompressor(level=_LEVEL).compress(body)


def _gzip(body: bytes) -> bytes:
    return zlib.compress(body, _LEVEL, _GZIP)


def _deflate(body: bytes) -> bytes:
    return zlib.compress(body, _LEVEL, _ZLIB)


_MAKERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "zstd": _zstd,
    "gzip": _gzip,
    "deflate": _deflate,
}


def _damaged(what: str) -> Refusal:
    return Refusal(
        400,
        "content_encoding",
        f"the body {what}, by the content-encoding that was said",
        hint="send it again, or without compression",
    )


def _too_large(cap: int) -> Refusal:
    return Refusal(
        413,
        "body_too_large",
        f"the body inflates to more than {cap:,} bytes",
        hint="send several requests",
    )
