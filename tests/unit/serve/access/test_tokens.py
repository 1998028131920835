import base64
import hmac
import json
import subprocess
import sys
from hashlib import sha256

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from trimtab.access import AuthConfig, JwtConfig
from trimtab.errors import MissingExtraError, UsageError
from trimtab.serve.access import keys, tokens
from trimtab.serve.access.auth import Gate
from trimtab.serve.access.tokens import BadToken, Verifier
from trimtab.serve.reply import Refusal

NOW = 1_800_000_000_000_000
RSA = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
SECRET = b"0123456789abcdef0123456789abcdef"
CLAIMS = {
    "iss": "https://login.example",
    "aud": "loans",
    "sub": "team-7",
    "exp": NOW // 1_000_000 + 600,
    "scope": "openid infer trimtab:metrics",
}


def pem(key):
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def jwk(key, kid):
    public = key.public_key()
    kind = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else None
    made = (kind or jwt.algorithms.ECAlgorithm).to_jwk(public, as_dict=True)
    return {**made, "kid": kid, "use": "sig"}


def settings(key, **more):
    return JwtConfig(**{"issuer": "https://login.example", "audience": "loans", "key": key, **more})


def signed(key=RSA, alg="RS256", headers=None, **claims):
    given = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    return jwt.encode(given, key, alg, headers=headers)


def forged(header, payload=CLAIMS, sign=lambda text: b""):
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in (header, payload)
    ]
    text = b".".join(parts)
    return (text + b"." + base64.urlsafe_b64encode(sign(text)).rstrip(b"=")).decode()


@pytest.fixture(scope="module")
def verifier():
    return Verifier(settings(pem(RSA).decode()))


@pytest.mark.parametrize(("key", "alg"), [(RSA, "RS256"), (EC, "ES256")])
def test_a_token_proves_who_and_what(key, alg):
    proven = Verifier(settings(pem(key).decode())).verify(signed(key, alg), NOW)
    assert proven.subject == "team-7"
    assert proven.scopes == {"infer", "metrics"}
    assert proven.expires_at == CLAIMS["exp"] * 1_000_000


def test_a_shared_secret_comes_from_a_file(tmp_path):
    (tmp_path / "secret").write_bytes(SECRET + b"\n")
    given = settings(str(tmp_path / "secret"), algorithms=("HS256",))
    assert Verifier(given).verify(signed(SECRET, "HS256"), NOW).subject == "team-7"


@pytest.mark.parametrize(
    ("claim", "scopes"),
    [
        ("infer", {"infer"}),
        (["infer", "admin", 3, None], {"infer", "admin"}),
        ("inference adminx", set()),
        ({"infer": True}, set()),
        (None, set()),
    ],
)
def test_scopes_are_text_or_a_list(verifier, claim, scopes):
    assert verifier.verify(signed(scope=claim), NOW).scopes == scopes


def test_another_claim_may_hold_the_scopes():
    verifier = Verifier(settings(pem(RSA).decode(), scope_claim="roles"))
    assert verifier.verify(signed(roles=["admin"]), NOW).scopes == {"admin"}


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (signed(OTHER_RSA), "signature"),
        (signed(iss="https://evil.example"), "issuer"),
        (signed(aud="houses"), "audience"),
        (signed(aud=["houses", "cars"]), "audience"),
        (signed(exp=CLAIMS["exp"] - 630), "expired"),
        (signed(nbf=NOW // 1_000_000 + 31), "not valid yet"),
        (signed(iat=NOW // 1_000_000 + 31), "not valid yet"),
        (signed(exp=None), "lacks one of"),
        (signed(sub=None), "lacks one of"),
        (signed(iss=None), "lacks one of"),
        (signed(aud=None), "lacks one of"),
        (signed(exp="soon"), "not a number"),
        (signed(exp=True), "not a number"),
        (signed(exp=float("nan")), "not a number"),
        (signed(exp=1e300), "cannot be"),
        (signed(alg="RS512"), "algorithm"),
        (signed(alg="PS256"), "algorithm"),
        (signed(headers={"crit": ["exp"]}), "read"),
        (signed(headers={"zip": "DEF"}), "extension"),
        (forged({"alg": "RS256", "b64": True}), "extension"),
        (forged({"alg": "RS256", "kid": 3}), "read"),
        (forged({"alg": "none"}), "algorithm"),
        (forged({"alg": "NONE"}), "algorithm"),
        (forged({}), "algorithm"),
        (forged([]), "read"),
        ("", "read"),
        ("..", "read"),
        ("a.b.c", "read"),
        (signed() + "x" * tokens.MAX_TOKEN, "read"),
        (signed().replace(".", "é", 1), "read"),
    ],
)
def test_what_proves_nothing_is_told_why(verifier, token, words):
    with pytest.raises(BadToken, match=words):
        verifier.verify(token, NOW)


def test_a_public_key_is_no_secret(verifier):
    """The classic confusion: HMAC with the public key's own bytes."""
    token = forged({"alg": "HS256"}, sign=lambda body: hmac.digest(pem(RSA).strip(), body, sha256))
    with pytest.raises(BadToken, match="algorithm"):
        verifier.verify(token, NOW)


def test_a_key_of_another_kind_does_not_verify_what_its_kid_names():
    jwks = json.dumps({"keys": [jwk(RSA, "r"), jwk(EC, "e")]})
    verifier = Verifier(settings(jwks))
    verifier.verify(signed(RSA, "RS256", {"kid": "r"}), NOW)
    verifier.verify(signed(EC, "ES256", {"kid": "e"}), NOW)
    for key, alg, kid in ((RSA, "RS256", "e"), (EC, "ES256", "r")):
        with pytest.raises(BadToken, match="algorithm"):
            verifier.verify(signed(key, alg, {"kid": kid}), NOW)
    for headers in ({}, {"kid": "x"}):
        with pytest.raises(BadToken, match="knows"):
            verifier.verify(signed(headers=headers), NOW)


def test_a_key_that_the_token_brings_along_is_not_used(verifier):
    headers = {"jwk": jwk(OTHER_RSA, "mine"), "jku": "https://evil.example/jwks"}
    with pytest.raises(BadToken, match="signature"):
        verifier.verify(signed(OTHER_RSA, headers=headers), NOW)


def test_clocks_may_differ_by_the_leeway(verifier):
    at = CLAIMS["exp"] * 1_000_000
    verifier.verify(signed(), at + 29_999_999)
    with pytest.raises(BadToken, match="expired"):
        verifier.verify(signed(), at + 30_000_000)
    verifier.verify(signed(nbf=CLAIMS["exp"] + 30), at)


def small_rsa():
    return rsa.generate_private_key(65537, 1024)


def private(key):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


OCT = {"kty": "oct", "k": base64.urlsafe_b64encode(SECRET).decode().rstrip("=")}


@pytest.mark.parametrize(
    ("key", "more", "words"),
    [
        ("/nowhere/key", {}, "No such file"),
        ("-----BEGIN PUBLIC KEY-----\nx\n", {}, "not a public key"),
        (private(RSA), {}, "private key"),
        (json.dumps(jwt.algorithms.RSAAlgorithm.to_jwk(RSA, as_dict=True)), {}, "private key"),
        (pem(small_rsa()).decode(), {}, "2048"),
        (pem(ec.generate_private_key(ec.SECP384R1())).decode(), {}, "P-256"),
        (pem(RSA).decode(), {"algorithms": ("ES256",)}, "no key for ES256"),
        ("{", {}, "JSON Web Key Set"),
        ('{"keys": 3}', {}, "JSON Web Key Set"),
        ('{"keys": []}', {}, "no key for"),
        (json.dumps({"keys": [{**jwk(RSA, "a"), "n": "!"}]}), {}, "JSON Web Key Set"),
        (json.dumps({"keys": [{**jwk(RSA, "a"), "use": "enc"}]}), {}, "no key for"),
        (json.dumps({"keys": [{**jwk(RSA, "a"), "alg": "RS512"}]}), {}, "no key for"),
        (json.dumps({"keys": [jwk(RSA, "a"), jwk(OTHER_RSA, "a")]}), {}, "one kid"),
        (json.dumps(OCT), {"algorithms": ("HS256",)}, "secret"),
    ],
)
def test_a_key_that_cannot_be_is_refused_at_start_and_never_quoted(key, more, words):
    with pytest.raises(UsageError, match=words) as caught:
        Verifier(settings(key, **more))
    if len(key) > 100:
        assert key[60:90] not in caught.value.message


def test_a_secret_is_long_enough_to_hold(tmp_path):
    (tmp_path / "secret").write_bytes(b"hunter2")
    with pytest.raises(UsageError, match="less than 32 bytes") as caught:
        Verifier(settings(str(tmp_path / "secret"), algorithms=("HS256",)))
    assert "hunter2" not in caught.value.message


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_no_text_is_a_token(verifier, header, payload, signature):
    for token in (f"{header}.{payload}.{signature}", header + signed() + payload + "."):
        with pytest.raises(BadToken):
            verifier.verify(token, NOW)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=8,
    )
)
def test_no_unsigned_content_is_a_token(verifier, content):
    for token in (forged({"alg": "RS256"}, content), forged(content), forged({"alg": content})):
        with pytest.raises(BadToken):
            verifier.verify(token, NOW)


def test_the_file_is_found_from_the_project_and_inline_keys_stay(tmp_path):
    given = AuthConfig(jwt=settings("jwks.json"))
    found = tokens.resolve(given, tmp_path)
    assert found.jwt.key == str(tmp_path / "jwks.json")
    assert tokens.files(found) == [tmp_path / "jwks.json"]
    inline = AuthConfig(jwt=settings(pem(RSA).decode()))
    assert tokens.resolve(inline, tmp_path) == inline
    assert tokens.files(inline) == []
    assert tokens.resolve(AuthConfig(), tmp_path) == AuthConfig()


def bearer(token):
    return {"authorization": f"Bearer {token}"}


@pytest.fixture
def gate(tmp_path):
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [jwk(RSA, "r")]}))
    given = AuthConfig(jwt=settings(str(tmp_path / "jwks.json")))
    return Gate.load(tmp_path, given, "0.0.0.0")


def test_a_gate_takes_tokens_beside_keys(gate, tmp_path):
    _, text = keys.add(tmp_path, "batch")
    gate.reload()
    caller = gate.check(bearer(signed(headers={"kid": "r"})), "metrics", NOW)
    assert caller.name == "team-7"
    assert caller.id.startswith("token-")
    assert "team-7" not in caller.id
    assert gate.check(bearer(text), "infer", NOW).name == "batch"
    with pytest.raises(Refusal) as caught:
        gate.check({"x-api-key": signed(headers={"kid": "r"})}, "infer", NOW)
    assert caught.value.status == 401


def test_a_gate_with_tokens_is_never_open(tmp_path):
    gate = Gate.load(tmp_path, AuthConfig(jwt=settings(pem(RSA).decode())))
    with pytest.raises(Refusal):
        gate.check({}, "infer", NOW)


def test_a_token_is_verified_once_and_no_longer_than_it_lasts(gate, monkeypatch):
    verified = []
    real = Verifier.verify
    monkeypatch.setattr(Verifier, "verify", lambda *given: verified.append(given) or real(*given))
    headers = bearer(signed(headers={"kid": "r"}, exp=NOW // 1_000_000 + 60))
    for _ in range(3):
        gate.check(headers, "infer", NOW)
    assert len(verified) == 1
    gate.check(headers, "infer", NOW + 61_000_000)  # within the leeway, looked at each time
    gate.check(headers, "infer", NOW + 61_000_000)
    assert len(verified) == 3
    with pytest.raises(Refusal, match="expired"):
        gate.check(headers, "infer", NOW + 90_000_000)


def test_a_replaced_key_set_is_felt(gate, tmp_path):
    headers = bearer(signed(headers={"kid": "r"}))
    gate.check(headers, "infer", NOW)
    (tmp_path / "new").write_text(json.dumps({"keys": [jwk(OTHER_RSA, "s")]}))
    (tmp_path / "new").replace(tmp_path / "jwks.json")
    assert gate.changed()
    assert gate.reload()
    with pytest.raises(Refusal, match="knows"):
        gate.check(headers, "infer", NOW)
    gate.check(bearer(signed(OTHER_RSA, headers={"kid": "s"})), "infer", NOW)
    (tmp_path / "jwks.json").unlink()
    assert not gate.reload()
    assert "jwks.json" in gate.error


def test_without_the_extra_it_is_said_at_start(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(MissingExtraError) as caught:
        Gate.load(tmp_path, AuthConfig(jwt=settings(pem(RSA).decode())))
    assert "trimtab[jwt]" in caught.value.hint


@pytest.mark.slow
def test_without_tokens_nothing_of_it_is_loaded():
    code = (
        "import sys, trimtab.serve.access.auth, trimtab.serve.access.limits, trimtab.serve.shell.encoding;"
        "print(sorted({'jwt', 'cryptography', 'numpy', 'zstandard'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
