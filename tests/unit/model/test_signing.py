import base64
import json
import shutil
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from trimtab import config as project_file
from trimtab.deploy import local
from trimtab.errors import IntegrityError, MissingExtraError, RefusedError, UsageError
from trimtab.loop import gate
from trimtab.loop.project import Project
from trimtab.loop.releases import release
from trimtab.model import attachments, equipment, registry, signing
from trimtab.model.package import package
from trimtab.store import operations, versions
from trimtab.store.workspace import open_workspace


def write_keys(folder: Path, name: str, curve: ec.EllipticCurve | None = None) -> None:
    """`NAME.key` and `NAME.pub`."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / f"{name}.key").write_bytes(private)
    (folder / f"{name}.pub").write_bytes(public)


@pytest.fixture(scope="module")
def packaged(logistic, tmp_path_factory) -> Path:
    return package(logistic, out=tmp_path_factory.mktemp("model")).folder


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    write_keys(folder, "ours")
    write_keys(folder, "theirs", ec.SECP384R1())
    write_keys(folder, "odd", ec.SECP256K1())
    return folder


@pytest.fixture(scope="module")
def signed(packaged, keys) -> bytes:
    return signing.sign(packaged, "ours.key", keys)


@pytest.fixture
def folder(packaged, tmp_path) -> Path:
    return Path(shutil.copytree(packaged, tmp_path / "elsewhere"))


@pytest.fixture
def project(tmp_path, packaged, keys) -> Project:
    """A project that asks for signatures, with a signed version `loans@v1`."""
    path = tmp_path / "trimtab.toml"
    path.write_text(
        '[project]\nname = "loans"\n'
        f'[model]\nsigning_key = "{keys}/ours.key"\nverify_key = "{keys}/ours.pub"\n'
    )
    ws = open_workspace(tmp_path, "loans")
    made = Project(path=path, config=project_file.load(path), ws=ws)
    digest = registry.put(ws, packaged)
    equipment.equip(ws, digest, packaged, name="loans", signing_key=made.config.model.signing_key)
    registry.register(ws, "loans", digest, verify_key=made.config.model.verify_key)
    registry.set_alias(ws, "loans", "champion", digest)
    return made


@pytest.fixture
def model(project) -> str:
    return versions.get(project.ws, "model", "loans@v1").digest


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_signed_package_is_what_it_was_wherever_it_lies(folder, signed, keys):
    signing.verify(folder, signed, "ours.pub", keys)
    bundle = json.loads(signed)
    assert "sigstore.bundle" in bundle["mediaType"]
    payload = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    assert {one["name"] for one in payload["predicate"]["resources"]} == {
        path.name for path in folder.iterdir()
    }


@pytest.mark.parametrize("name", ["model.onnx", "signature.json", "golden.json"])
def test_a_changed_byte_is_refused_by_the_name_of_its_file(folder, signed, keys, name):
    flip(folder / name)
    with pytest.raises(RefusedError, match=f"not what was signed: {name} was changed$") as caught:
        signing.verify(folder, signed, "ours.pub", keys)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("name", ["more.txt", ".gitattributes"])
def test_a_file_more_or_less_is_refused(folder, signed, keys, name):
    (folder / name).write_text("")
    with pytest.raises(RefusedError, match=f"{name} was added"):
        signing.verify(folder, signed, "ours.pub", keys)
    (folder / name).unlink()
    (folder / "golden.json").unlink()
    with pytest.raises(RefusedError, match=r"golden\.json is missing"):
        signing.verify(folder, signed, "ours.pub", keys)


def test_another_key_proves_nothing(folder, keys):
    theirs = signing.sign(folder, "theirs.key", keys)
    signing.verify(folder, theirs, "theirs.pub", keys)
    with pytest.raises(RefusedError, match="not signed with the key of"):
        signing.verify(folder, theirs, "ours.pub", keys)
    assert signing.is_signed(theirs, "theirs.key", keys)
    assert not signing.is_signed(theirs, "ours.key", keys)


def test_a_list_of_files_that_was_changed_after_signing_is_refused(folder, signed, keys):
    bundle = json.loads(signed)
    envelope = bundle["dsseEnvelope"]
    payload = json.loads(base64.b64decode(envelope["payload"]))
    payload["predicate"]["resources"][0]["digest"] = "0" * 64
    envelope["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()
    with pytest.raises(RefusedError, match="not signed with the key of"):
        signing.verify(folder, json.dumps(bundle).encode(), "ours.pub", keys)


@pytest.mark.parametrize("signature", [b"", b"{}", b'{"dsseEnvelope": {"payload": "!"}}', b"[1]"])
def test_a_signature_that_cannot_be_read_is_refused(folder, keys, signature):
    with pytest.raises(RefusedError, match="no signature that can be read"):
        signing.verify(folder, signature, "ours.pub", keys)
    assert signing.signer(signature) == ""


def test_a_key_may_come_out_of_a_variable(folder, signed, keys, monkeypatch):
    monkeypatch.setenv("SIGNING", (keys / "ours.key").read_text())
    monkeypatch.setenv("VERIFYING", str(keys / "ours.pub"))
    found = signing.sign(folder, "env:SIGNING", Path("/"))
    signing.verify(folder, found, "env:VERIFYING", Path("/"))
    assert signing.is_signed(signed, "env:SIGNING", Path("/"))
    monkeypatch.delenv("SIGNING")
    with pytest.raises(UsageError, match="that variable is not set"):
        signing.sign(folder, "env:SIGNING", keys)


def test_what_is_no_key_is_said(folder, signed, keys):
    (keys / "bad.key").write_text("no key")
    for name, why in [
        ("none.key", "there is no file"),
        ("bad.key", "is no private key"),
        ("ours.pub", "is no private key"),
        ("odd.key", "secp256k1"),
        ((keys / "ours.key").read_text(), "holds a key, not where one is"),
    ]:
        with pytest.raises(UsageError, match=why):
            signing.sign(folder, name, keys)
    for name in ("ours.key", "bad.key", "odd.pub"):
        with pytest.raises(UsageError, match="is no public key"):
            signing.verify(folder, signed, name, keys)


def test_a_changed_package_is_neither_registered_nor_gated(project, model):
    flip(registry.folder(project.ws, model) / "model.onnx")
    verify_key = project.config.model.verify_key
    with pytest.raises(RefusedError, match=r"model\.onnx was changed"):
        registry.register(project.ws, "goods", model, verify_key=verify_key)
    with pytest.raises(RefusedError, match=r"model\.onnx was changed"):
        gate.gate(project, model, name="goods")
    assert versions.find(project.ws, "model", "goods") == []


def test_a_changed_package_is_not_deployed_and_no_endpoint_starts_with_it(project, model):
    ws, config = project.ws, project.config
    version = versions.get(ws, "model", "loans@v1")
    local.set_routes(ws, "loans", [local.spec(ws, version, "champion", 1.0)])
    flip(registry.folder(ws, model) / "signature.json")
    with pytest.raises(RefusedError, match=r"signature\.json was changed"):
        release.deploy(project)
    with pytest.raises(RefusedError, match=r"signature\.json was changed"):
        local.start(ws, "loans", config.serve, verify_key=config.model.verify_key)
    assert [one.state for one in operations.endpoints(ws)] == ["stopped"]


def test_an_unsigned_package_is_refused_only_where_a_key_is_named(project, packaged, tmp_path):
    ws = project.ws
    other = Path(shutil.copytree(packaged, tmp_path / "other"))
    (other / "more.txt").write_text("another model")
    digest = registry.put(ws, other)
    with pytest.raises(RefusedError, match="is not signed") as caught:
        registry.register(ws, "loans", digest, verify_key=project.config.model.verify_key)
    assert caught.value.exit_code == 3
    assert registry.register(ws, "loans", digest).number == 2
    with pytest.raises(RefusedError, match="is not signed"):
        release.deploy(project, "loans@v2")


def test_a_new_key_signs_anew_and_the_same_key_does_not(project, model, keys):
    ws, before = project.ws, attachments.find(project.ws, model)
    equipment.equip(ws, model, name="loans", signing_key=f"{keys}/ours.key")
    assert attachments.find(ws, model) == before
    equipment.equip(ws, model, name="loans", signing_key=f"{keys}/theirs.key")
    assert attachments.find(ws, model)[signing.FILE] != before[signing.FILE]
    registry.check_signature(ws, model, f"{keys}/theirs.pub")
    with pytest.raises(RefusedError):
        registry.check_signature(ws, model, f"{keys}/ours.pub")


def test_a_changed_package_is_not_signed(project, model, keys):
    flip(registry.folder(project.ws, model) / "golden.json")
    with pytest.raises(IntegrityError):
        equipment.equip(project.ws, model, name="loans", signing_key=f"{keys}/theirs.key")
    assert signing.is_signed(
        project.ws.blobs.read(attachments.find(project.ws, model)[signing.FILE]),
        "ours.key",
        keys,
    )


def test_without_the_extra_nothing_is_signed_or_taken_as_signed(folder, signed, keys, monkeypatch):
    monkeypatch.setitem(sys.modules, "model_signing", None)
    with pytest.raises(MissingExtraError, match="signing_key needs model-signing") as caught:
        signing.sign(folder, "ours.key", keys)
    assert caught.value.hint == "pip install 'trimtab[build]'"
    with pytest.raises(MissingExtraError, match="verify_key needs model-signing"):
        signing.verify(folder, signed, "ours.pub", keys)
