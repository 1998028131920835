"""`keys.json` of an endpoint's folder: who may ask it, as hashes; the keys themselves are nowhere.

A key is `tt_` and 256 random bits, so one round of SHA-256 keeps it: slow hashes guard passwords,
which can be guessed, and 2^256 cannot. Replaced by rename. Light: no model is loaded.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from trimtab import access, config, ids
from trimtab.access import Scope
from trimtab.errors import ConfigError, ConflictError, NotFoundError, UsageError

FILE: Final = "keys.json"
PREFIX: Final = "tt_"
VERSION: Final = 1
MAX_KEYS: Final = 10_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,99}\Z")
_HASH = re.compile(r"sha256:[0-9a-f]{64}\Z")


class Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key as it is kept. Times are microseconds; `expires_at` 0 is never; `rate` is "100/s"."""

    id: str
    name: str
    hash: str
    scopes: tuple[Scope, ...]
    created_at: int = 0
    expires_at: int = 0
    rate: str = ""


class KeysFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`keys.json`."""

    version: int = VERSION
    keys: tuple[Key, ...] = ()


def hash_of(key: str) -> str:
    """What is kept of a key: `sha256:` and 64 hex digits."""
    return "sha256:" + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def read(folder: Path) -> tuple[Key, ...] | None:
    """The keys of an endpoint, None where it has no file; raises UsageError where malformed."""
    path = folder / FILE
    try:
        file = msgspec.json.decode(path.read_bytes(), type=KeysFile)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    if file.version != VERSION:
        raise UsageError(f"{path} is of version {file.version}, this trimtab reads {VERSION}")
    for key in file.keys:
        if not _HASH.match(key.hash):
            raise UsageError(f"{path}: the hash of key {key.name!r} is not sha256: and 64 digits")
        if key.rate:
            access.rate(key.rate)
    return file.keys


def add(
    folder: Path,
    name: str,
    *,
    scopes: tuple[Scope, ...] = ("infer",),
    expires_at: int = 0,
    rate: str = "",
) -> tuple[Key, str]:
    """Make a key: what is kept, and the key itself, which nobody can tell again.

    Raises UsageError for a name, scopes or rate that cannot be, ConflictError where it is taken.
    """
    if not _NAME.match(name):
        raise UsageError(f"key name {name!r} must be letters, digits, '_', '.', '@' or '-'")
    if not scopes:
        raise UsageError("a key without a scope opens nothing", hint="infer, metrics or admin")
    if rate:
        access.rate(rate)
    text = PREFIX + secrets.token_urlsafe(32)
    made = Key(
        id=ids.new_id(),
        name=name,
        hash=hash_of(text),
        scopes=tuple(dict.fromkeys(scopes)),
        created_at=ids.now(),
        expires_at=expires_at,
        rate=rate,
    )
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        kept = read(folder) or ()
        if any(key.name == name for key in kept):
            raise ConflictError(
                f"there is a key {name!r} already", hint="remove it first, or choose another name"
            )
        if len(kept) >= MAX_KEYS:
            raise UsageError(f"an endpoint has at most {MAX_KEYS:,} keys", hint="use tokens (JWT)")
        _write(folder, (*kept, made))
    return made, text


def remove(folder: Path, which: str) -> Key:
    """Remove a key by its name, its id or the beginning of it; raises NotFoundError."""
    if read(folder) is None:
        raise NotFoundError(f"there is no key {which!r}: this endpoint has none yet")
    with _alone(folder):
        kept = read(folder) or ()
        found = [key for key in kept if key.name == which] or [
            key for key in kept if which and key.id.startswith(which)
        ]
        if len(found) != 1:
            names = ", ".join(key.name for key in kept[:10])
            raise NotFoundError(
                f"there is no single key {which!r}", hint=f"there is: {names or 'none yet'}"
            )
        _write(folder, tuple(key for key in kept if key is not found[0]))
    return found[0]


def revoke(folder: Path) -> int:
    """Remove every key of an endpoint and return how many there were; nobody is let in by a file
    without keys. An endpoint that never had one is left as it is.
    """
    if not (folder / FILE).exists():
        return 0
    with _alone(folder):
        try:
            kept = read(folder) or ()
        except UsageError:  # what cannot be read opens nothing either
            kept = ()
        _write(folder, ())
    return len(kept)


def parse_scopes(text: str) -> tuple[Scope, ...]:
    """Scopes written as "infer,metrics"; raises UsageError."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        return msgspec.convert(parts, tuple[Scope, ...])
    except msgspec.ValidationError:
        raise UsageError(
            f"{text!r} are no scopes", hint="infer, metrics, admin, or several with commas between"
        ) from None


def parse_expiry(text: str, now: int) -> int:
    """When a key made `now` lapses: "90d" from then, "" never (0); raises UsageError."""
    if not text:
        return 0
    try:
        span = config.duration(text)
    except ConfigError as error:
        raise UsageError(f"--expires {error.message}", hint=error.hint) from None
    if not 0 < span <= 36_525 * 86_400_000_000:
        raise UsageError(f"a key cannot lapse after {text}", hint="write it as 12h, 90d or 52w")
    return now + span


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two changes at once do not lose each other's keys."""
    handle = os.open(folder / f".{FILE}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write(folder: Path, keys: tuple[Key, ...]) -> None:
    staged = folder / f".{FILE}.new"
    staged.unlink(missing_ok=True)
    handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(KeysFile(keys=keys)), indent=1))
        stream.flush()
        os.fsync(stream.fileno())
    staged.replace(folder / FILE)
