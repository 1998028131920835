"""Who may ask an endpoint, and how much: `[serve.auth]` and `[serve.limits]` of the project file.

Holds the settings and what can be told wrong of them alone; `serve.auth` and `serve.limits` go by them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

import msgspec

from trimtab.errors import ConfigError

_BYTES: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_PERIODS: Final = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}

Scope = Literal["infer", "metrics", "admin"]


class JwtConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[serve.auth.jwt]`: whose tokens an endpoint accepts beside its keys.

    `key` is a file (JWKS, a public key as PEM, or the secret of HS256) or public keys themselves.
    """

    issuer: str
    audience: str
    key: str
    algorithms: tuple[Literal["RS256", "ES256", "HS256"], ...] = ("RS256", "ES256")
    leeway: str = "30s"
    scope_claim: str = "scope"


class AuthConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[serve.auth]`: who may ask an endpoint; `anonymous` is what needs no key on any address."""

    anonymous: tuple[Scope, ...] = ()
    jwt: JwtConfig | None = None


class LimitsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[serve.limits]`: what one request may hold and how much an endpoint takes on at once.

    `max_ratio` is inflated over sent bytes; `in_flight` counts requests of one worker process that
    are not answered yet; `rate` holds for each caller whose key has none of its own.
    """

    max_body: str = "16MiB"
    max_inflated: str = "64MiB"
    max_ratio: int = 200
    max_rows: int = 10_000
    max_headers: int = 100
    max_header_bytes: str = "32KiB"
    in_flight: int = 512
    in_flight_rows: int = 50_000
    rate: str = ""


class Rate(NamedTuple):
    """At most `amount` in `period` microseconds."""

    amount: int
    period: int


def check_limits(limits: LimitsConfig, where: str) -> None:
    """Raises ConfigError, its text beginning with `where`, for limits that cannot be."""
    for field in msgspec.structs.fields(limits):
        value = getattr(limits, field.name)
        read: Callable[[str], Any] = rate if field.name == "rate" else size
        try:
            number = read(value) if isinstance(value, str) and value else value
        except ConfigError as error:
            raise ConfigError(f"{where} {field.name}: {error.message}", hint=error.hint) from None
        if field.name != "rate" and not (number and number >= 1):
            raise ConfigError(f"{where} {field.name} = {value!r} must be at least 1")
    if limits.in_flight_rows < limits.max_rows:
        raise ConfigError(
            f"{where} in_flight_rows = {limits.in_flight_rows} is less than "
            f"max_rows = {limits.max_rows}: the largest request would never be taken"
        )
    if size(limits.max_inflated) < size(limits.max_body):
        raise ConfigError(
            f"{where} max_inflated = {limits.max_inflated!r} is less than "
            f"max_body = {limits.max_body!r}"
        )


def size(text: str) -> int:
    """A size such as "512B", "32KiB", "16MiB" or "1GiB" in bytes; raises ConfigError."""
    match = re.fullmatch(r"(\d{1,12})(B|KiB|MiB|GiB)", text)
    if not match:
        raise ConfigError(f"{text!r} is not a size", hint="write it as 512B, 32KiB, 16MiB or 1GiB")
    return int(match[1]) * _BYTES[match[2]]


def rate(text: str) -> Rate:
    """A rate such as "100/s", "600/m", "5000/h" or "1/d"; raises ConfigError."""
    match = re.fullmatch(r"([1-9]\d{0,8})/([smhd])", text)
    if not match:
        raise ConfigError(f"{text!r} is not a rate", hint="write it as 100/s, 600/m or 5000/h")
    return Rate(int(match[1]), _PERIODS[match[2]])
