"""How much one request may hold and how much an endpoint takes on at once.

Limits are settings, checks against them are Refusals with the status that HTTP has for each. Counts
are of one process: an endpoint of several workers admits as many times more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from trimtab import access
from trimtab.access import LimitsConfig, Rate
from trimtab.serve.access.auth import Caller
from trimtab.serve.reply import Refusal

# A small body may inflate this far whatever its ratio: a column of one value packs a thousandfold.
FREE_INFLATION: Final = 1 << 20
MAX_BUCKETS: Final = 10_000


@dataclass(frozen=True)
class Limits:
    """`[serve.limits]` in numbers: bytes, rows, requests."""

    body: int
    inflated: int
    ratio: int
    rows: int
    headers: int
    header_bytes: int
    in_flight: int
    in_flight_rows: int
    rate: Rate | None

    @classmethod
    def of(cls, settings: LimitsConfig | None = None) -> Limits:
        """The numbers of the settings, or the defaults; raises ConfigError."""
        given = settings or LimitsConfig()
        return cls(
            body=access.size(given.max_body),
            inflated=access.size(given.max_inflated),
            ratio=given.max_ratio,
            rows=given.max_rows,
            headers=given.max_headers,
            header_bytes=access.size(given.max_header_bytes),
            in_flight=given.in_flight,
            in_flight_rows=given.in_flight_rows,
            rate=access.rate(given.rate) if given.rate else None,
        )

    def inflated_cap(self, sent: int) -> int:
        """How many bytes a compressed body of `sent` bytes may become."""
        return min(self.inflated, max(FREE_INFLATION, self.ratio * sent))

    def check_head(self, count: int, size: int) -> None:
        """Raises Refusal 431 for `count` headers of `size` bytes in all, names and request line."""
        if count > self.headers or size > self.header_bytes:
            raise Refusal(
                431,
                "headers_too_large",
                f"more than {self.headers} headers or {self.header_bytes:,} bytes of them",
            )

    def check_body(self, size: int) -> None:
        """Raises Refusal 413 for a body, or an announced one, of `size` bytes as sent."""
        if size > self.body:
            raise Refusal(
                413,
                "body_too_large",
                f"the body is larger than {self.body:,} bytes",
                hint="send several requests",
            )

    def check_rows(self, count: int) -> None:
        """Raises Refusal 413 for `count` rows in one request."""
        if count > self.rows:
            raise Refusal(
                413,
                "too_many_rows",
                f"the request holds {count:,} rows, {self.rows:,} is the limit",
                hint="send several requests, or score a file with `trimtab predict`",
            )


class InFlight:
    """Requests and rows that were taken and not answered yet. For one thread."""

    __slots__ = ("_limits", "requests", "rows")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.requests = 0
        self.rows = 0

    @property
    def has_room(self) -> bool:
        """Whether a request of one row would be taken."""
        limits = self._limits
        return self.requests < limits.in_flight and self.rows < limits.in_flight_rows

    def enter(self, rows: int) -> None:
        """Take a request of `rows` rows; raises Refusal 503, and then it was not taken."""
        limits = self._limits
        if self.requests >= limits.in_flight or self.rows + rows > limits.in_flight_rows:
            raise Refusal(
                503,
                "overloaded",
                f"{self.requests} requests with {self.rows:,} rows are waiting already",
                hint="come back later, or with fewer rows",
                headers={"retry-after": "1"},
            )
        self.requests += 1
        self.rows += rows

    def leave(self, rows: int) -> None:
        """A request of `rows` rows was answered, or given up."""
        self.requests -= 1
        self.rows -= rows


class Buckets:
    """A token bucket for each caller: it holds a period's amount and fills evenly. For one thread."""

    __slots__ = ("_default", "_held")

    def __init__(self, default: Rate | None = None) -> None:
        self._default = default
        self._held: dict[str, tuple[float, int]] = {}  # caller's id -> tokens, as of when

    def take(self, caller: Caller, now: int) -> dict[str, str]:
        """Count a request at `now` (microseconds): headers for its answer, none without a rate.

        Raises Refusal 429 with `retry-after` in whole seconds, rounded up. The headers are
        RateLimit-Limit, -Remaining and -Reset (draft-ietf-httpapi-ratelimit-headers-06).
        """
        rate = caller.rate or self._default
        if rate is None:
            return {}
        tokens, since = self._held.pop(caller.id, (float(rate.amount), now))
        passed = max(now - since, 0)  # the clock may have been set back
        tokens = min(tokens + passed * rate.amount / rate.period, float(rate.amount))
        if len(self._held) >= MAX_BUCKETS:
            del self._held[next(iter(self._held))]  # the one that asked longest ago
        self._held[caller.id] = (tokens - 1 if tokens >= 1 else tokens, max(now, since))
        if tokens < 1:
            raise _too_often(rate, tokens)
        return _told(rate, tokens - 1)


def _told(rate: Rate, tokens: float) -> dict[str, str]:
    """Reset is when the bucket is full again."""
    full = _seconds((rate.amount - tokens) * rate.period / rate.amount)
    return {
        "ratelimit-limit": f"{rate.amount}, {rate.amount};w={rate.period // 1_000_000}",
        "ratelimit-remaining": str(int(tokens)),
        "ratelimit-reset": str(full),
    }


def _too_often(rate: Rate, tokens: float) -> Refusal:
    wait = max(_seconds((1 - tokens) * rate.period / rate.amount), 1)
    return Refusal(
        429,
        "too_many_requests",
        f"more than {rate.amount:,} requests in {rate.period // 1_000_000:,} s",
        hint=f"come back in {wait} s",
        headers={"retry-after": str(wait), **_told(rate, tokens)},
    )


def _seconds(micros: float) -> int:
    """Whole seconds, rounded up."""
    return -int(-micros // 1_000_000)
