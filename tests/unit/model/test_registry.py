import pytest

from trimtab.errors import ConflictError, ModelError, NotFoundError
from trimtab.model import registry
from trimtab.model.digest import folder_digest
from trimtab.model.load import load
from trimtab.model.package import package
from trimtab.store import artifacts, trees
from trimtab.store.workspace import open_workspace


@pytest.fixture
def ws(tmp_path):
    return open_workspace(tmp_path / "project", "demo")


@pytest.fixture(scope="module")
def packaged(logistic, tmp_path_factory):
    return package(logistic, out=tmp_path_factory.mktemp("model"))


def test_a_package_gets_a_number_and_an_alias(ws, packaged, tmp_path):
    digest = registry.put(ws, packaged.folder, parity=packaged.parity)
    assert digest == folder_digest(packaged.folder)
    version = registry.register(ws, "loans", digest)
    assert version.label == "loans@v1"
    assert registry.register(ws, "loans", digest) == version
    registry.set_alias(ws, "loans", "champion", digest)
    assert registry.resolve(ws, "loans@champion") == version
    assert registry.resolve(ws, "loans@v1").digest == digest
    assert registry.signature_of(ws, digest) == packaged.signature
    folder = registry.checkout(ws, digest, tmp_path / "work" / "model")
    assert load(folder).signature == packaged.signature
    assert registry.checkout(ws, digest, folder) == folder


def test_what_is_known_of_a_package_is_kept(ws, packaged):
    digest = registry.put(ws, packaged.folder, parity=packaged.parity)
    meta = artifacts.get(ws, digest).meta
    assert meta["engine"] == "onnx"
    assert meta["parity"]["flips"] == 0


def test_only_a_package_is_registered(ws, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").write_text("no model")
    with pytest.raises(NotFoundError, match="no model package"):
        registry.put(ws, tmp_path / "other")
    digest = trees.put_folder(ws.blobs, tmp_path / "other")
    with pytest.raises(ModelError, match="no model package"):
        registry.register(ws, "loans", digest)


def test_an_alias_moved_meanwhile_is_a_conflict(ws, packaged):
    digest = registry.put(ws, packaged.folder)
    registry.register(ws, "loans", digest)
    registry.set_alias(ws, "loans", "champion", digest)
    with pytest.raises(ConflictError):
        registry.set_alias(ws, "loans", "champion", digest, expect="blake3:" + "0" * 64)
