"""Tokens of an identity provider (JWT, RFC 7519): what a signature, an issuer and an audience prove.

A key decides its own algorithm and the token's header only names the key, so neither `none` nor a
public key taken for a secret gets in (RFC 8725). PyJWT is loaded only where tokens are configured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

import msgspec

from trimtab import config
from trimtab.access import AuthConfig, JwtConfig, Scope
from trimtab.errors import MissingExtraError, UsageError

MAX_TOKEN: Final = 16_384
_MIN_SECRET: Final = 32
_MIN_RSA: Final = 2048
_BY_KIND: Final = {"RSA": "RS256", "EC": "ES256", "oct": "HS256"}
_SCOPES: Final = frozenset(get_args(Scope))
_PREFIX: Final = "trimtab:"
_REQUIRED: Final = ("exp", "iss", "aud", "sub")
_NOT_OURS: Final = ("crit", "b64", "zip")


class BadToken(Exception):
    """A token that proves nothing; the message is fit for its sender."""


@dataclass(frozen=True)
class Proven:
    """What a token proves. `expires_at` in microseconds, without leeway."""

    subject: str
    scopes: frozenset[Scope]
    expires_at: int


@dataclass(frozen=True)
class _Trusted:
    alg: str
    key: Any
    kid: str | None = None


class Verifier:
    """Verifies tokens of one issuer; raises UsageError, or MissingExtraError without PyJWT."""

    def __init__(self, settings: JwtConfig) -> None:
        try:
            import jwt  # noqa: PLC0415  the extra `jwt`, for endpoints that take tokens
        except ImportError as error:
            raise MissingExtraError(
                "[serve.auth.jwt] needs PyJWT", hint="pip install 'trimtab[jwt]'"
            ) from error
        self._jwt = jwt
        self._settings = settings
        self._leeway = config.duration(settings.leeway)
        self._trusted = _trusted(settings)

    def verify(self, token: str, now: int) -> Proven:
        """What a token proves at `now` (microseconds); raises BadToken."""
        if len(token) > MAX_TOKEN or not token.isascii():
            raise BadToken("the token cannot be read")
        try:
            header = self._jwt.get_unverified_header(token)
            trusted = self._pick(header)
            claims = self._jwt.decode(
                token,
                trusted.key,
                algorithms=[trusted.alg],
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                # Times are checked below, against the caller's clock.
                options={
                    "require": list(_REQUIRED),
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except BadToken:
            raise
        except Exception as error:  # whatever a stranger's bytes set off, they are no token
            raise BadToken(_words(error)) from None
        return Proven(
            subject=str(claims["sub"]),
            scopes=_scopes(claims.get(self._settings.scope_claim)),
            expires_at=self._times(claims, now),
        )

    def _pick(self, header: Mapping[str, Any]) -> _Trusted:
        if any(name in header for name in _NOT_OURS):
            raise BadToken("the token asks for an extension that is not supported")
        kid = header.get("kid")
        found = [one for one in self._trusted if one.kid == kid] if kid is not None else []
        if not found and len(self._trusted) == 1 and None in (kid, self._trusted[0].kid):
            found = list(self._trusted)
        if not found:
            raise BadToken("the token is not signed by a key that this endpoint knows")
        if header.get("alg") != found[0].alg:
            raise BadToken("the token's algorithm is not that of its key")
        return found[0]

    def _times(self, claims: Mapping[str, Any], now: int) -> int:
        expires_at = _moment(claims["exp"])
        if now >= expires_at + self._leeway:
            raise BadToken("the token has expired")
        for name in ("nbf", "iat"):
            if name in claims and _moment(claims[name]) > now + self._leeway:
                raise BadToken("the token is not valid yet")
        return expires_at


def files(auth: AuthConfig) -> list[Path]:
    """The files that a change of tokens' keys shows in."""
    return [] if auth.jwt is None or _inline(auth.jwt.key) else [Path(auth.jwt.key)]


def resolve(auth: AuthConfig, base: Path) -> AuthConfig:
    """The settings with the key's file made absolute: an endpoint runs in another folder."""
    if auth.jwt is None or _inline(auth.jwt.key):
        return auth
    path = str((base / Path(auth.jwt.key).expanduser()).resolve())
    return msgspec.structs.replace(auth, jwt=msgspec.structs.replace(auth.jwt, key=path))


def _inline(key: str) -> bool:
    return key.lstrip().startswith(("{", "-----BEGIN"))


def _trusted(settings: JwtConfig) -> tuple[_Trusted, ...]:
    """The keys in the settings or their file; raises UsageError, which never quotes one."""
    inline = _inline(settings.key)
    where = "[serve.auth.jwt] key" if inline else settings.key
    try:
        data = settings.key.encode() if inline else Path(settings.key).read_bytes()
    except OSError as error:
        raise UsageError(
            f"[serve.auth.jwt] key {settings.key} cannot be read: {error.strerror}"
        ) from None
    data = data.strip()
    if data.startswith(b"{"):
        found = _from_jwks(data, where)
    elif data.startswith(b"-----BEGIN"):
        found = [_from_pem(data, where)]
    else:
        found = [_secret(data, where)]
    if inline and any(one.alg == "HS256" for one in found):
        raise UsageError(f"{where} holds a secret", hint="put it into a file and name that")
    kept = [one for one in found if one.alg in settings.algorithms]
    if not kept:
        raise UsageError(
            f"{where} holds no key for {', '.join(settings.algorithms)}",
            hint="see [serve.auth.jwt] algorithms; RSA, P-256 and shared secrets are read",
        )
    named = [one.kid for one in kept]
    if len(set(named)) != len(named):
        raise UsageError(f"{where} holds two keys of one kid")
    return tuple(kept)


def _from_jwks(data: bytes, where: str) -> list[_Trusted]:
    from jwt import PyJWK  # noqa: PLC0415  see Verifier

    try:
        document = msgspec.json.decode(data, type=dict[str, Any])
        found = []
        for one in document.get("keys", [document]):
            alg = _BY_KIND.get(str(one.get("kty")))
            if "d" in one:
                raise _private(where)
            usable = one.get("use", "sig") == "sig" and one.get("alg", alg) == alg
            if alg is not None and usable and one.get("crv", "P-256") == "P-256":
                key = _checked(alg, PyJWK(one, alg).key, where)
                found.append(_Trusted(alg, key, one.get("kid")))
    except UsageError:
        raise
    except Exception:  # the words of a foreign error may quote the key
        raise UsageError(f"{where} is not a JSON Web Key Set (RFC 7517)") from None
    return found


def _from_pem(data: bytes, where: str) -> _Trusted:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa  # noqa: PLC0415  see Verifier
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415  see Verifier
        load_pem_public_key,
    )

    if b"PRIVATE KEY" in data:
        raise _private(where)
    try:
        key = load_pem_public_key(data)
    except Exception:
        raise UsageError(f"{where} is not a public key as PEM") from None
    if isinstance(key, rsa.RSAPublicKey):
        return _Trusted("RS256", _checked("RS256", key, where))
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1":
        return _Trusted("ES256", key)
    raise UsageError(f"{where} is neither an RSA nor a P-256 key")


def _secret(data: bytes, where: str) -> _Trusted:
    return _Trusted("HS256", _checked("HS256", data, where))


def _checked(alg: str, key: Any, where: str) -> Any:
    """A key that is long enough; raises UsageError."""
    if alg == "HS256" and len(key) < _MIN_SECRET:
        raise UsageError(f"{where} is a secret of less than {_MIN_SECRET} bytes")
    if alg == "RS256" and key.key_size < _MIN_RSA:
        raise UsageError(f"{where} is an RSA key of less than {_MIN_RSA} bits")
    return key


def _private(where: str) -> UsageError:
    return UsageError(f"{where} is a private key", hint="give its public half: that verifies")


def _moment(value: Any) -> int:
    """A NumericDate in microseconds; raises BadToken."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadToken("a time in the token is not a number")
    if not 0 <= value < 1e12:
        raise BadToken("a time in the token cannot be")
    return int(value * 1_000_000)


def _scopes(claim: Any) -> frozenset[Scope]:
    """Scopes of a claim, text with spaces between or a list; what is not ours is somebody else's."""
    words = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else []
    plain = [word.removeprefix(_PREFIX) for word in words if isinstance(word, str)]
    return frozenset(word for word in plain if word in _SCOPES)  # type: ignore[misc]


def _words(error: Exception) -> str:
    """What was wrong, by the kind of error and never by its text, which may quote the token."""
    return {
        "InvalidSignatureError": "the token's signature is wrong",
        "InvalidAudienceError": "the token is for another audience",
        "InvalidIssuerError": "the token is of another issuer",
        "MissingRequiredClaimError": f"the token lacks one of {', '.join(_REQUIRED)}",
    }.get(type(error).__name__, "the token cannot be read")
