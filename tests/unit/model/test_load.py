import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trimtab.errors import IntegrityError, ModelError, NotFoundError
from trimtab.model.digest import check_digest, folder_digest
from trimtab.model.load import load, verify_golden
from trimtab.model.package import package


@pytest.fixture(scope="module")
def packaged(logistic, tmp_path_factory) -> Path:
    return package(logistic, out=tmp_path_factory.mktemp("model")).folder


@pytest.fixture
def folder(packaged, tmp_path) -> Path:
    return Path(shutil.copytree(packaged, tmp_path / "model"))


def row(**changes):
    values = {
        "income": np.array([3000.0]),
        "debt": np.array([100.0]),
        "years": np.array([3.0]),
        "owner": np.array([1.0]),
        "purpose": np.array(["car"], dtype=object),
        "region": np.array(["n"], dtype=object),
    }
    return values | changes


def test_a_package_answers_its_golden_rows(folder):
    found = verify_golden(load(folder))
    assert found.rows > 200
    assert found.flips == 0


def test_other_answers_than_the_golden_ones_are_refused(folder):
    path = folder / "golden.json"
    rows = json.loads(path.read_bytes())
    rows["scores"] = [1 - score for score in rows["scores"]]
    path.write_text(json.dumps(rows))
    with pytest.raises(IntegrityError, match="does not give the answers"):
        load(folder)
    assert load(folder, verify=False).predict(row()).decision in (["yes"], ["no"])


def test_every_changed_byte_changes_the_digest(folder):
    digest = folder_digest(folder)
    check_digest(folder, digest)
    data = bytearray((folder / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "model.onnx").write_bytes(data)
    with pytest.raises(IntegrityError, match=f"not {digest}"):
        check_digest(folder, digest)


def test_a_graph_that_is_none_is_an_integrity_error(folder):
    (folder / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(IntegrityError, match=r"model\.onnx cannot be loaded"):
        load(folder)


def test_missing_files_are_named(folder, tmp_path):
    with pytest.raises(NotFoundError, match="no model package"):
        load(tmp_path / "nothing")
    (folder / "model.onnx").unlink()
    with pytest.raises(NotFoundError, match=r"no model\.onnx"):
        load(folder)


def test_a_score_that_is_no_number_is_an_error_and_not_an_answer(folder):
    model = load(folder)
    broken = replace(model, run=lambda columns: np.array([np.nan], dtype=np.float32))
    with pytest.raises(ModelError, match="not a finite number"):
        broken.predict(row())


def test_scores_do_not_leave_the_unit_interval(folder):
    model = load(folder)
    far = model.predict(row(debt=np.array([1e9]))).score
    near = model.predict(row(debt=np.array([-1e9]))).score
    assert 0.0 <= min(far[0], near[0]) <= max(far[0], near[0]) <= 1.0


@pytest.mark.slow
def test_an_onnx_package_loads_without_any_modelling_library(folder):
    code = (
        "import sys; from pathlib import Path; from trimtab.model.load import load;"
        "load(Path(sys.argv[1]));"
        "print(*{'polars', 'sklearn', 'scipy', 'sqlalchemy', 'skl2onnx', 'skops', 'onnx'}"
        " & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
