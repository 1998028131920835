"""Who is asking: keys of `keys.json` and tokens of an identity provider, turned into a Caller.

Promises that an endpoint without either answers on loopback alone, that a key added or removed is
felt at the next `reload`, and that nothing of a key reaches an error or a log. Which scope a path
asks for is `scope_of`.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Final, get_args
from urllib.parse import urlsplit

from trimtab import access
from trimtab.access import AuthConfig, Rate, Scope
from trimtab.errors import TrimtabError, UsageError
from trimtab.serve.access import keys, tokens
from trimtab.serve.access.keys import Key
from trimtab.serve.access.tokens import BadToken, Verifier
from trimtab.serve.folder import stamp
from trimtab.serve.reply import Refusal

MAX_SEEN: Final = 4096
SEEN_FOR: Final = 300_000_000
_MAX_KEY: Final = 200
_REALM: Final = 'Bearer realm="trimtab"'
HEALTH: Final = frozenset(
    {
        "/",
        "/ping",
        "/health",
        "/healthz",
        "/livez",
        "/readyz",
        "/v2/health/live",
        "/v2/health/ready",
    }
)
_ALL: Final[frozenset[Scope]] = frozenset(get_args(Scope))


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `id` is fit for logs: a key's id, or a hash of a token's issuer and subject.

    `expires_at` in microseconds, 0 is never; `rate` None is the endpoint's own.
    """

    id: str
    name: str
    scopes: frozenset[Scope]
    rate: Rate | None = None
    expires_at: int = 0


ANYBODY: Final = Caller(id="anonymous", name="anonymous", scopes=_ALL)


@dataclass(frozen=True)
class _State:
    """What callers are held against; replaced whole, so no answer mixes old keys with new."""

    keys: dict[str, Key]
    verifier: Verifier | None
    is_open: bool
    stamps: tuple[object, ...]
    # Header text -> caller and until when to believe it. Looking a secret up in a dict is safe:
    # its hash is seeded per process, so a guess learns nothing from the time that it takes.
    seen: dict[tuple[bool, str], tuple[Caller, int]] = field(default_factory=dict)


class Gate:
    """The gate of one endpoint. `reload` may run in a thread beside `check`.

    `error` is why the newest `keys.json` or token key is not in force; the one before still is.
    """

    def __init__(self, folder: Path, auth: AuthConfig, host: str) -> None:
        self.error = ""
        self._folder = folder
        self._auth = auth
        self._host = host
        self._anonymous = Caller(id="anonymous", name="anonymous", scopes=frozenset(auth.anonymous))
        self._state = self._read(was_open=True)

    @classmethod
    def load(cls, folder: Path, auth: AuthConfig | None = None, host: str = "127.0.0.1") -> Gate:
        """The gate of an endpoint's folder that will listen on `host`.

        Raises UsageError where a file is malformed or nobody would be asked who he is (see
        `check_bind`), MissingExtraError where tokens are configured and PyJWT is absent.
        """
        auth = auth or AuthConfig()
        check_bind(host, folder, auth)
        return cls(folder, auth, host)

    @property
    def is_open(self) -> bool:
        """Whether nobody is asked for a key: there are none, on loopback."""
        return self._state.is_open

    @property
    def state(self) -> object:
        """What callers are held against: another object after each reload."""
        return self._state

    def changed(self) -> bool:
        """Whether `keys.json` or the token keys' file was replaced; costs a stat of each."""
        return self._stamps() != self._state.stamps

    def reload(self) -> bool:
        """Read the files again; False and `error` set where they are malformed."""
        before = self._state
        try:
            self._state = self._read(was_open=before.is_open)
        except TrimtabError as error:
            self.error = error.message
            self._state = _State(
                before.keys, before.verifier, before.is_open, self._stamps(), before.seen
            )
            return False
        self.error = ""
        return True

    def check(self, headers: Mapping[str, str], scope: Scope, now: int) -> Caller:
        """Who asks, where he may use `scope`; `headers` have lower-case names, `now` microseconds.

        Raises Refusal 401 where he is unknown and 403 where his scopes lack it.
        """
        state = self._state
        plain = headers.get("x-api-key")
        text = headers.get("authorization") if plain is None else plain
        if text is None or state.is_open:
            return self._unnamed(state, headers, scope)
        found = state.seen.get((plain is None, text))
        if found is None or now >= found[1]:
            found = (self._identify(state, text, bearer=plain is None, now=now), 0)
        caller = found[0]
        if scope not in caller.scopes:
            raise _forbidden(caller, scope)
        return caller

    def _identify(self, state: _State, text: str, *, bearer: bool, now: int) -> Caller:
        credential = _credential(text) if bearer else text.strip()
        if len(credential) <= _MAX_KEY and credential.startswith(keys.PREFIX):
            caller = _by_key(state, credential, now)
        elif bearer and state.verifier is not None and credential.count(".") == 2:
            caller = self._by_token(state.verifier, credential, now)
        else:
            raise _unknown("the key is not known here")
        until = now + SEEN_FOR
        if caller.expires_at:
            until = min(until, caller.expires_at)
        if len(state.seen) >= MAX_SEEN:
            state.seen.pop(next(iter(state.seen)), None)
        state.seen[bearer, text] = (caller, until)
        return caller

    def _by_token(self, verifier: Verifier, token: str, now: int) -> Caller:
        assert self._auth.jwt is not None
        try:
            proven = verifier.verify(token, now)
        except BadToken as error:
            raise _unknown(str(error)) from None
        whose = f"{self._auth.jwt.issuer}\n{proven.subject}".encode("utf-8", "surrogatepass")
        return Caller(
            id=f"token-{sha256(whose).hexdigest()[:24]}",
            name=proven.subject,
            scopes=proven.scopes,
            expires_at=proven.expires_at,
        )

    def _unnamed(self, state: _State, headers: Mapping[str, str], scope: Scope) -> Caller:
        if state.is_open:
            host, origin = headers.get("host"), headers.get("origin")
            if (host is None or _is_local(host)) and (origin is None or _is_local_page(origin)):
                return ANYBODY
            if scope not in self._anonymous.scopes:
                raise _strange()
        if scope in self._anonymous.scopes:
            return self._anonymous
        raise _unknown("")

    def _read(self, *, was_open: bool) -> _State:
        stamps = self._stamps()  # before reading: what is replaced meanwhile is read again
        found = keys.read(self._folder)
        verifier = Verifier(self._auth.jwt) if self._auth.jwt is not None else None
        # Keys that vanish while the endpoint runs leave it closed: a deleted file opens nothing.
        is_open = was_open and found is None and verifier is None and is_loopback(self._host)
        return _State({key.hash: key for key in found or ()}, verifier, is_open, stamps)

    def _stamps(self) -> tuple[object, ...]:
        return tuple(stamp(path) for path in (self._folder / keys.FILE, *tokens.files(self._auth)))


def check_bind(host: str, folder: Path, auth: AuthConfig | None = None) -> None:
    """Raises UsageError where an endpoint would answer other machines without asking who they are.

    Keys, tokens, or an explicit `anonymous = ["infer"]` allow it; loopback needs none of them.
    """
    auth = auth or AuthConfig()
    if is_loopback(host) or auth.jwt is not None or "infer" in auth.anonymous:
        return
    if not keys.read(folder):
        raise UsageError(
            f"the endpoint would answer on {host or 'every address'} without asking for a key",
            hint="`trimtab endpoints keys add NAME` makes one; or set [serve.auth] jwt, "
            'or anonymous = ["infer"] where something before it asks',
        )


def scope_of(path: str, health: frozenset[str] = HEALTH) -> Scope | None:
    """The scope that a path asks for; None is health, which anybody may see.

    `health` are the paths of liveness and readiness, where a platform sets its own.
    """
    if path in health or (path.startswith("/v2/models/") and path.endswith("/ready")):
        return None
    if path == "/metrics" or path.endswith("/stats"):
        return "metrics"
    if path.startswith("/v2/repository/") and path.endswith(("/load", "/unload")):
        return "admin"
    return "admin" if path.startswith("/admin") else "infer"


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine alone."""
    name = host.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _by_key(state: _State, text: str, now: int) -> Caller:
    digest = keys.hash_of(text)
    key = state.keys.get(digest)
    if key is None or not hmac.compare_digest(key.hash, digest):
        raise _unknown("the key is not known here")
    if key.expires_at and now >= key.expires_at:
        raise _unknown("the key has expired")
    return Caller(
        id=key.id,
        name=key.name,
        scopes=frozenset(key.scopes),
        rate=access.rate(key.rate) if key.rate else None,
        expires_at=key.expires_at,
    )


def _credential(text: str) -> str:
    """What follows `Bearer `, "" under another scheme."""
    scheme, _, rest = text.strip().partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else ""


def _unknown(why: str) -> Refusal:
    """401 as RFC 6750 has it: no error code where nothing was sent."""
    return Refusal(
        401,
        "unauthorized",
        why or "this endpoint asks for a key",
        hint="send authorization: Bearer KEY, or x-api-key: KEY",
        headers={"www-authenticate": _REALM + (', error="invalid_token"' if why else "")},
    )


def _forbidden(caller: Caller, scope: Scope) -> Refusal:
    held = ", ".join(sorted(caller.scopes)) or "nothing"
    return Refusal(
        403,
        "forbidden",
        f"this needs the scope {scope}; the key or token has {held}",
        hint=f"`trimtab endpoints keys add NAME --scope {scope}` makes a key that has it",
        headers={"www-authenticate": f'{_REALM}, error="insufficient_scope", scope="{scope}"'},
    )


def _strange() -> Refusal:
    return Refusal(
        403,
        "forbidden",
        "an endpoint without keys answers this machine alone, not other names or web pages",
        hint="`trimtab endpoints keys add NAME` makes a key; then any name may be used",
    )


@lru_cache(maxsize=64)
def _is_local(host: str) -> bool:
    """Whether a `Host` header names this machine; a foreign one is DNS rebinding."""
    return len(host) < 300 and _is_local_page(f"//{host}")


def _is_local_page(origin: str) -> bool:
    """Whether a web page's `Origin` is of this machine; browsers send it across sites."""
    try:
        return is_loopback(urlsplit(origin).hostname or "")
    except ValueError:
        return False
