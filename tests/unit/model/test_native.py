import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from trimtab.errors import IntegrityError, RefusedError
from trimtab.model import native

X = np.arange(40.0).reshape(20, 2)
Y = np.arange(20) % 2


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        RandomForestClassifier(3, random_state=0),
        HistGradientBoostingClassifier(max_iter=3, random_state=0),
        make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()),
    ],
    ids=["logistic", "forest", "boosting", "ufunc"],
)
def test_an_estimator_survives_its_bytes(estimator):
    fitted = estimator.fit(X, Y)
    again = native.loads(native.dumps(fitted))
    assert (again.predict_proba(X) == fitted.predict_proba(X)).all()


class Mine(LogisticRegression):
    """A class outside of the houses that are trusted."""


def test_a_class_of_a_project_is_refused_when_written():
    with pytest.raises(RefusedError, match="Mine"):
        native.dumps(Mine().fit(X, Y))


def test_a_lambda_is_refused_with_a_hint():
    fitted = make_pipeline(FunctionTransformer(lambda x: x), LogisticRegression()).fit(X, Y)
    with pytest.raises(RefusedError, match="without pickle|lambda"):
        native.dumps(fitted)


def forged(module, name):
    """A skops file whose FunctionTransformer calls `module.name`."""
    data = native.dumps(make_pipeline(FunctionTransformer(np.log1p)).fit(X))
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        files = {item: old.read(item) for item in old.namelist()}
    schema = files["schema.json"].decode()
    assert '"log1p"' in schema
    changed = json.loads(schema)

    def swap(node):
        if isinstance(node, dict):
            if node.get("__class__") == "log1p" or node.get("content") == "log1p":
                node.update(__class__=name, __module__=module, __loader__="TypeNode")
            for child in node.values():
                swap(child)
        elif isinstance(node, list):
            for child in node:
                swap(child)

    swap(changed)
    files["schema.json"] = json.dumps(changed).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as new:
        for item, content in files.items():
            new.writestr(item, content)
    return out.getvalue()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("numpy.testing._private.utils", "runstring"),
        ("sklearn.datasets", "load_svmlight_file"),
        ("sklearn.feature_extraction._dict_vectorizer", "itemgetter"),
        ("sklearn.metrics._scorer", "_check_response_method"),
        ("sklearn.metrics._classification", "warnings"),
        ("sklearn.callback._progressbar", "Thread"),
        ("numpy", "memmap"),
        ("numpy.f2py.__main__", "main"),
        ("scipy.io", "netcdf_file"),
    ],
)
def test_a_forged_file_cannot_name_a_function_to_call(module, name):
    with pytest.raises(RefusedError, match=name):
        native.loads(forged(module, name))


def test_types_and_metrics_of_estimators_are_trusted():
    for name in (
        "numpy.ndarray",
        "numpy.random.mtrand.RandomState",
        "scipy.sparse._csr.csr_matrix",
        "sklearn.tree._tree.Tree",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.metrics._classification.f1_score",
        "sklearn.metrics.pairwise.rbf_kernel",
    ):
        assert native.is_trusted(name), name


def test_bytes_that_are_no_file_of_skops_are_refused():
    with pytest.raises(IntegrityError, match="not a skops file"):
        native.loads(b"\x80\x04\x95")


@pytest.mark.slow
def test_two_processes_write_the_same_bytes():
    code = (
        "import hashlib, numpy as np;"
        "from sklearn.ensemble import RandomForestClassifier;"
        "from trimtab.model import native;"
        "X = np.arange(40.0).reshape(20, 2);"
        "m = RandomForestClassifier(3, random_state=0).fit(X, np.arange(20) % 2);"
        "print(hashlib.sha256(native.dumps(m)).hexdigest())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert len(said) == 1
