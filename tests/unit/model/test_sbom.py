import hashlib
import json
import sys
from importlib import metadata

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from trimtab.errors import MissingExtraError, NotFoundError
from trimtab.model import attachments, equipment, registry, sbom, signature
from trimtab.model.digest import folder_digest
from trimtab.model.package import package
from trimtab.store.workspace import open_workspace


@pytest.fixture(scope="module")
def folder(logistic, tmp_path_factory):
    return package(logistic, out=tmp_path_factory.mktemp("model")).folder


@pytest.fixture(scope="module")
def made(folder):
    return sbom.make(folder, signature.read(folder), name="loans", digest=folder_digest(folder))


def test_it_is_cyclonedx_1_6_by_the_schema(made):
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(made.decode()) is None
    broken = made.decode().replace('"machine-learning-model"', '"no such type"')
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(broken) is not None


def test_the_model_is_named_by_its_digest_and_its_files_by_theirs(made, folder):
    model = json.loads(made)["metadata"]["component"]
    assert model["type"] == "machine-learning-model"
    assert (model["name"], model["version"]) == ("loans", folder_digest(folder))
    files = {one["name"]: one["hashes"][0]["content"] for one in model["components"]}
    assert files == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()
    }


def test_what_serves_it_is_listed_with_versions_licences_and_needs(made):
    document = json.loads(made)
    listed = {one["name"]: one for one in document["components"]}
    assert {"trimtab", "onnxruntime", "numpy", "msgspec", "uvicorn", "protobuf"} <= set(listed)
    assert not {"polars", "scikit-learn", "sqlalchemy", "pytest"} & set(listed)
    numpy = listed["numpy"]
    assert numpy["version"] == metadata.version("numpy")
    assert numpy["purl"] == f"pkg:pypi/numpy@{numpy['version']}"
    assert all(one.get("licenses") for one in listed.values())
    needs = {one["ref"]: one.get("dependsOn", []) for one in document["dependencies"]}
    assert numpy["purl"] in needs[listed["onnxruntime"]["purl"]]
    assert needs[document["metadata"]["component"]["bom-ref"]] == [listed["trimtab"]["purl"]]


@pytest.mark.slow
def test_the_same_model_and_environment_give_the_same_bytes(made, folder):
    signed, digest = signature.read(folder), folder_digest(folder)
    assert sbom.make(folder, signed, name="loans", digest=digest) == made
    other = json.loads(sbom.make(folder, signed, name="goods", digest=digest))
    document = json.loads(made)
    assert other["serialNumber"] != document["serialNumber"]
    assert "timestamp" not in document["metadata"]


def test_extras_of_requirements_are_followed():
    found = sbom.closure("trimtab", "local")
    assert {"scikit-learn", "joblib", "sqlalchemy", "polars"} <= set(found)
    assert "pytest" not in found
    assert all(name in found for depends in found.values() for name in depends)
    assert {"serve", "local"}.isdisjoint(found)


def test_a_distribution_that_is_not_installed_is_named():
    with pytest.raises(NotFoundError, match="no-such-distribution is not installed"):
        sbom.closure("no-such-distribution", "serve")


def test_without_the_extra_it_is_left_out_and_said(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cyclonedx.model", None)
    with pytest.raises(MissingExtraError) as caught:
        sbom.make(folder, signature.read(folder), name="loans", digest=folder_digest(folder))
    assert caught.value.hint == "pip install 'trimtab[build]'"
    ws = open_workspace(tmp_path / "project", "demo")
    digest = registry.put(ws, folder)
    (sentence,) = equipment.equip(ws, digest, folder, name="loans")
    assert sentence.startswith("no sbom.json: a bill of materials needs cyclonedx-python-lib")
    assert sbom.FILE not in attachments.find(ws, digest)
