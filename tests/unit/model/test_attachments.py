import pytest

from trimtab.errors import NotFoundError, UsageError
from trimtab.model import attachments, calibration, equipment, registry, sbom, signing
from trimtab.model.calibration import beside, read_calibration
from trimtab.model.digest import folder_digest
from trimtab.model.package import package
from trimtab.store import artifacts, check, ledger, trees
from trimtab.store.workspace import open_workspace
from trimtab.track import environment


@pytest.fixture(scope="module")
def packaged(logistic, tmp_path_factory):
    return package(logistic, out=tmp_path_factory.mktemp("model")).folder


@pytest.fixture
def ws(tmp_path):
    return open_workspace(tmp_path / "project", "demo")


@pytest.fixture
def model(ws, packaged):
    return registry.put(ws, packaged)


def test_an_attachment_is_found_by_its_name_and_replaced(ws, model):
    assert attachments.find(ws, model) == {}
    first = attachments.attach(ws, model, "notes.txt", b"one")
    assert attachments.find(ws, model) == {"notes.txt": first}
    assert ws.blobs.read(first) == b"one"
    second = attachments.attach(ws, model, "notes.txt", b"two")
    other = attachments.attach(ws, model, "a.txt", b"one")
    assert attachments.find(ws, model) == {"a.txt": other, "notes.txt": second}
    assert other == first
    kept = artifacts.get(ws, second)
    assert (kept.kind, kept.size) == ("attachment", 3)
    assert check.check_blobs(ws) == []
    ledger.verify(ws)


def test_attachments_belong_to_one_model(ws, model, packaged, tmp_path):
    attachments.attach(ws, model, "notes.txt", b"one")
    (tmp_path / "other").mkdir()
    for path in packaged.iterdir():
        (tmp_path / "other" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "other" / "more.txt").write_text("another model")
    other = registry.put(ws, tmp_path / "other")
    assert attachments.find(ws, other) == {}
    assert attachments.find(ws, model.replace("a", "A")) == {}
    with pytest.raises(NotFoundError):
        attachments.attach(ws, "blake3:" + "0" * 64, "notes.txt", b"one")


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "x" * 101, "new\n"])
def test_a_name_that_is_no_file_name_is_refused(ws, model, name):
    with pytest.raises(UsageError, match="cannot name an attachment"):
        attachments.attach(ws, model, name, b"")


def test_files_and_folders_are_laid_beside_the_package(ws, model, packaged, tmp_path):
    source = tmp_path / "half.onnx"
    source.write_bytes(b"graph")
    variant = tmp_path / "int8"
    (variant / "deep").mkdir(parents=True)
    (variant / "deep" / "x").write_text("1")
    attachments.attach(ws, model, "half.onnx", source)
    folded = attachments.attach(ws, model, "int8", variant)
    assert trees.is_tree(ws.blobs, folded)
    place = registry.checkout(ws, model, tmp_path / "here" / "model")
    beside_it = beside(place)
    assert beside_it.name == "model.attachments"
    assert (beside_it / "half.onnx").read_bytes() == b"graph"
    assert (beside_it / "int8" / "deep" / "x").read_text() == "1"
    assert folder_digest(place) == model == folder_digest(packaged)


def test_what_was_changed_beside_a_package_is_laid_again(ws, model, tmp_path):
    variant = tmp_path / "int8"
    variant.mkdir()
    (variant / "x").write_text("1")
    attachments.attach(ws, model, "int8", variant)
    attachments.attach(ws, model, "notes.txt", b"one")
    place = registry.folder(ws, model)
    same = (beside(place) / "notes.txt").stat().st_ino
    (beside(place) / "int8" / "x").write_text("2")
    registry.folder(ws, model)
    assert (beside(place) / "notes.txt").stat().st_ino == same
    assert (beside(place) / "int8" / "x").read_text() == "1"
    attachments.attach(ws, model, "notes.txt", b"two")
    registry.folder(ws, model)
    assert (beside(place) / "notes.txt").read_bytes() == b"two"
    assert sorted(path.name for path in beside(place).iterdir()) == ["int8", "notes.txt"]


def test_a_model_without_attachments_has_no_folder_of_them(ws, model, tmp_path):
    place = registry.checkout(ws, model, tmp_path / "model")
    assert not beside(place).exists()


def test_a_model_gets_its_attachments_once_and_keeps_its_digest(ws, model, packaged):
    assert equipment.equip(ws, model, packaged, name="loans") == []
    found = attachments.find(ws, model)
    assert set(found) == {calibration.FILE, equipment.ENVIRONMENT, sbom.FILE}
    assert ws.blobs.read(found[equipment.ENVIRONMENT]).decode() == environment.lock_text()
    assert read_calibration(registry.folder(ws, model)).model == model
    assert folder_digest(registry.folder(ws, model)) == model
    assert equipment.equip(ws, model, packaged, name="loans") == []
    assert attachments.find(ws, model) == found


@pytest.mark.slow
def test_a_model_that_was_packaged_before_gets_no_environment_of_today(ws, model):
    equipment.equip(ws, model, name="loans")
    assert set(attachments.find(ws, model)) == {calibration.FILE, sbom.FILE}
    assert signing.FILE not in attachments.find(ws, model)
