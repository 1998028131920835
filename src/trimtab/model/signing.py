"""Signatures of model packages: every file's SHA-256, signed with a key of one's own.

The signature is a Sigstore bundle as the OpenSSF model-signing library writes it, so others can
check it with that library's own command. It covers the package folder and no attachment. Needs the
extra `build`, for signing and for verifying.
"""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from trimtab.errors import MissingExtraError, RefusedError, UsageError

FILE: Final = "model.sig"
_ENV: Final = "env:"
_PEM: Final = "-----BEGIN"


def sign(folder: Path, key: str, base: Path) -> bytes:
    """The signature of every file in `folder`.

    `key` is an elliptic-curve private key (P-256, P-384 or P-521, PEM, not encrypted): a path,
    relative to `base`, or `env:NAME` of a variable that holds the path or the key itself. Raises
    UsageError for a key that is none, MissingExtraError without the library.
    """
    library = _library("signing_key")
    with _key_file(key, base, "signing_key") as pem, tempfile.TemporaryDirectory() as place:
        out = Path(place) / FILE
        try:
            config = library.signing.Config().use_elliptic_key_signer(private_key=pem)
        except (ValueError, TypeError, OSError, AttributeError) as error:
            raise _no_key("signing_key", key, "private", error) from error
        config.set_hashing_config(_hashed(library)).sign(folder, out)
        return out.read_bytes()


def verify(folder: Path, signature: bytes, key: str, base: Path) -> None:
    """Check that exactly the files of `folder` are those that were signed with `key`'s private half.

    `key` is the public key, given as for `sign`. Raises RefusedError naming what differs.
    """
    library = _library("verify_key")
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  the extra `build`

    resources = _resources(signature)
    with _key_file(key, base, "verify_key") as pem, tempfile.TemporaryDirectory() as place:
        path = Path(place) / FILE
        path.write_bytes(signature)
        try:
            config = library.verifying.Config().use_elliptic_key_verifier(public_key=pem)
        except (ValueError, TypeError, OSError, AttributeError) as error:
            raise _no_key("verify_key", key, "public", error) from error
        try:
            config.set_hashing_config(_hashed(library)).verify(folder, path)
        except Exception as error:  # the library's own, cryptography's and the parser's
            changed = _changed(folder, resources)
            ours = _hint(_public(pem)) == signer(signature)
            if changed and ours and not isinstance(error, InvalidSignature):
                raise RefusedError(
                    f"the model package at {folder} is not what was signed: {changed}",
                    hint="delete that folder: it is checked out of the store again",
                ) from error
            raise RefusedError(
                f"the model package at {folder} is not signed with the key of [model] verify_key",
                hint="sign it with the key that belongs to it: [model] signing_key, `trimtab run`",
            ) from error


def is_signed(signature: bytes, key: str, base: Path) -> bool:
    """Whether a signature names the signing key `key`, without checking it."""
    _library("signing_key")
    with _key_file(key, base, "signing_key") as pem:
        try:
            return _hint(_private(pem).public_key()) == signer(signature)
        except (ValueError, TypeError, AttributeError) as error:
            raise _no_key("signing_key", key, "private", error) from error


def signer(signature: bytes) -> str:
    """The SHA-256 of the public key that a signature names; "" where it names none."""
    try:
        bundle = msgspec.json.decode(signature)
        return str(bundle["verificationMaterial"]["publicKey"]["hint"])
    except (msgspec.DecodeError, LookupError, TypeError):
        return ""


def _resources(signature: bytes) -> dict[str, str]:
    """File -> SHA-256 as a signature lists them, to say what differs; it proves nothing."""
    try:
        bundle = msgspec.json.decode(signature)
        payload = msgspec.json.decode(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
        return {one["name"]: one["digest"] for one in payload["predicate"]["resources"]}
    except (msgspec.DecodeError, LookupError, TypeError, ValueError) as error:
        raise RefusedError(
            f"{FILE} of the model is no signature that can be read", hint="sign the model anew"
        ) from error


def _changed(folder: Path, resources: dict[str, str]) -> str:
    here = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
    words = [f"{name} was changed" for name in sorted(here.keys() & resources.keys())
             if here[name] != resources[name]]  # fmt: skip
    words += [f"{name} was added" for name in sorted(here.keys() - resources.keys())]
    words += [f"{name} is missing" for name in sorted(resources.keys() - here.keys())]
    return ", ".join(words)


@contextmanager
def _key_file(key: str, base: Path, setting: str) -> Iterator[Path]:
    """A file that holds the key; one out of a variable is never written to a disk."""
    where = key
    if key.startswith(_ENV):
        where = os.environ.get(key.removeprefix(_ENV), "")
        if not where:
            raise UsageError(f"[model] {setting} is {key!r}, and that variable is not set")
        if where.lstrip().startswith(_PEM):
            memory = os.memfd_create(setting)
            try:
                with os.fdopen(os.dup(memory), "wb") as stream:
                    stream.write(where.encode())
                yield Path(f"/proc/self/fd/{memory}")
            finally:
                os.close(memory)
            return
    elif key.lstrip().startswith(_PEM):
        raise UsageError(
            f"[model] {setting} holds a key, not where one is",
            hint="write the path of the key's file, or env:NAME of the variable that holds it",
        )
    path = base / Path(where).expanduser()
    if not path.is_file():
        raise UsageError(f"[model] {setting} is {key!r}, and there is no file {path}")
    yield path


def _no_key(setting: str, key: str, half: str, error: Exception) -> UsageError:
    return UsageError(
        f"[model] {setting} = {key!r} is no {half} key that can be used: {error}",
        hint="an elliptic-curve key as PEM without a password, such as "
        "`openssl ecparam -name prime256v1 -genkey -noout` makes",
    )


def _private(pem: Path) -> Any:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  the extra `build`

    return serialization.load_pem_private_key(pem.read_bytes(), None)


def _public(pem: Path) -> Any:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  the extra `build`

    return serialization.load_pem_public_key(pem.read_bytes())


def _hint(public: Any) -> str:
    """How a bundle names a public key: the SHA-256 of its PEM."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  the extra `build`

    pem = public.public_bytes(
        encoding=serialization.Encoding.PEM,
        format=serialization.PublicFormat.SubjectPublicKeyInfo,
    )
    return hashlib.sha256(pem).hexdigest()


def _hashed(library: Any) -> Any:
    """Every file counts: the library by itself leaves out git's."""
    return library.hashing.Config().set_ignored_paths(paths=[], ignore_git_paths=False)


def _library(setting: str) -> Any:
    try:
        import model_signing  # noqa: PLC0415  the extra `build`, and it loads half a web client
        import model_signing.hashing  # noqa: PLC0415
        import model_signing.signing  # noqa: PLC0415
        import model_signing.verifying  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError(
            f"[model] {setting} needs model-signing", hint="pip install 'trimtab[build]'"
        ) from error
    return model_signing
