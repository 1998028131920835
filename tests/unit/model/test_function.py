import importlib
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

import trimtab
from trimtab.errors import IntegrityError, ModelError, NotFoundError, RefusedError
from trimtab.model import code, codec, function
from trimtab.model.brought import function_model
from trimtab.model.digest import folder_digest
from trimtab.model.load import load
from trimtab.model.package import package
from trimtab.model.signature import Column, Signature

SIGNED = Signature(
    task="binary",
    engine="python",
    inputs=(
        Column(name="a", kind="number", nullable=True),
        Column(name="kind", kind="text", nullable=True),
    ),
    target="y",
    classes=("no", "yes"),
    positive="yes",
)
RULES = """
import json
from pathlib import Path
import numpy as np
from {package} import weights
from {package}.deep.inner import squash

LIMITS = json.loads((Path(__file__).parent / "limits.json").read_text())

def score(columns):
    a = np.nan_to_num(columns["a"], nan=LIMITS["null"])
    return squash(a * weights.SLOPE + (columns["kind"] == "x"))

def other(columns):
    return 1 - score(columns)
"""


@pytest.fixture
def project(tmp_path, monkeypatch, request):
    """A package of the project's own, importable for one test."""
    name = "rules_of_a_project"
    root = tmp_path / "project"
    (root / name / "deep").mkdir(parents=True)
    (root / name / "__init__.py").write_text("")
    (root / name / "deep" / "__init__.py").write_text("")
    (root / name / "weights.py").write_text("SLOPE = 2.0\n")
    (root / name / "unused.py").write_text("SECRET = 1\n")
    (root / name / "limits.json").write_text('{"null": 0.5}')
    (root / name / "deep" / "inner.py").write_text(
        "import numpy as np\nfrom .. import weights\n\n"
        "def squash(x):\n    return 1 / (1 + np.exp(-x / weights.SLOPE))\n"
    )
    (root / name / "score.py").write_text(RULES.format(package=name))
    monkeypatch.syspath_prepend(str(root))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    importlib.invalidate_caches()
    yield name, root / name
    for module in [x for x in sys.modules if x.partition(".")[0] == name]:
        del sys.modules[module]


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    a = rng.normal(size=200).round(3)
    return pl.DataFrame(
        {
            "a": [None if i % 17 == 0 else float(x) for i, x in enumerate(a)],
            "kind": rng.choice(["x", "z"], 200),
            "y": np.where(a > 0, "yes", "no"),
        }
    )


def brought(project, rows, what="score"):
    name, _ = project
    files = (f"{name}/limits.json",)
    return trimtab.function_model(f"{name}.score:{what}", SIGNED, rows, files=files)


def one(a=0.3, kind="x"):
    return {"a": np.array([a]), "kind": np.array([kind], dtype=object)}


def test_a_function_is_packaged_with_the_code_it_needs(project, rows, tmp_path):
    name, _ = project
    made = package(brought(project, rows), out=tmp_path / "m", allow_python=True)
    assert made.signature.engine == "python"
    assert made.parity.max_difference < 1e-6
    files = {
        path.relative_to(made.folder).as_posix()
        for path in made.folder.rglob("*")
        if path.is_file()
    }
    assert files == {
        "signature.json",
        "golden.json",
        "function.json",
        f"code/{name}/__init__.py",
        f"code/{name}/score.py",
        f"code/{name}/weights.py",
        f"code/{name}/limits.json",
        f"code/{name}/deep/__init__.py",
        f"code/{name}/deep/inner.py",
    }


@pytest.mark.slow
def test_it_answers_where_the_project_is_not(project, rows, tmp_path):
    made = package(brought(project, rows), out=tmp_path / "m", allow_python=True)
    digest = folder_digest(made.folder)
    said = (
        "import sys, numpy as np; from pathlib import Path; from trimtab.model.load import load;"
        "m = load(Path(sys.argv[1]), allow_python=True);"
        "x = {'a': np.array([0.3, np.nan]), 'kind': np.array(['x', ''], dtype=object)};"
        "print(m.predict(x).decision, *{'polars', 'sklearn', 'onnx'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", said, str(made.folder)],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.strip() == "['yes', 'yes']"
    assert folder_digest(made.folder) == digest


def test_code_is_not_run_unless_it_is_allowed(project, rows, tmp_path):
    candidate = brought(project, rows)
    with pytest.raises(RefusedError, match="runs its code") as caught:
        package(candidate, out=tmp_path / "refused")
    assert "allow_python" in caught.value.hint
    made = package(candidate, out=tmp_path / "m", allow_python=True)
    name, _ = project
    (made.folder / "code" / name / "score.py").write_text("raise SystemExit('it ran')")
    with pytest.raises(RefusedError, match="runs Python code of its own"):
        load(made.folder)


def test_two_packages_with_modules_of_one_name_live_in_one_process(project, rows, tmp_path):
    name, folder = project
    first = package(brought(project, rows), out=tmp_path / "one", allow_python=True)
    live = sys.modules[f"{name}.score"]
    (folder / "weights.py").write_text("SLOPE = -3.0\n")
    for module in [x for x in sys.modules if x.partition(".")[0] == name]:
        del sys.modules[module]
    importlib.invalidate_caches()
    second = package(brought(project, rows), out=tmp_path / "two", allow_python=True)
    a = load(first.folder, allow_python=True)
    b = load(second.folder, allow_python=True)
    assert a.predict(one()).score[0] == pytest.approx(1 / (1 + np.exp(-(0.3 * 2 + 1) / 2)))
    assert b.predict(one()).score[0] == pytest.approx(1 / (1 + np.exp((0.3 * -3 + 1) / 3)))
    assert a.predict(one()).score[0] == pytest.approx(live.score(one())[0])


def test_what_the_project_has_imported_stays(project, rows, tmp_path):
    name, _ = project
    made = package(brought(project, rows), out=tmp_path / "m", allow_python=True)
    before = {x: m for x, m in sys.modules.items() if x.partition(".")[0] == name}
    finders = list(sys.meta_path)
    load(made.folder, allow_python=True)
    after = {x: m for x, m in sys.modules.items() if x.partition(".")[0] == name}
    assert before == after
    assert sys.meta_path == finders


def test_the_codec_keeps_a_function(project, rows, tmp_path):
    candidate = brought(project, rows)
    (tmp_path / "stored").mkdir()
    codec.CANDIDATE.write(candidate, tmp_path / "stored")
    again = codec.CANDIDATE.read(tmp_path / "stored")
    assert again.estimator.files == candidate.estimator.files
    assert again.estimator.call == candidate.estimator.call
    package(again, out=tmp_path / "m", allow_python=True)


def test_a_function_itself_is_found_by_its_name(project, rows):
    name, _ = project
    module = importlib.import_module(f"{name}.score")
    candidate = function_model(module.other, SIGNED, rows, files=(f"{name}/limits.json",))
    assert candidate.estimator.call == f"{name}.score:other"


def test_a_data_file_that_is_not_named_is_missed(project, rows):
    name, _ = project
    with pytest.raises(ModelError, match=r"limits\.json") as caught:
        function_model(f"{name}.score:score", SIGNED, rows)
    assert "files=" in caught.value.hint


@pytest.mark.parametrize(
    ("body", "error", "said"),
    [
        ("return np.ones(3)", ModelError, "shape"),
        ("return columns['a'] * 100 + 7", ModelError, "no probabilities"),
        ("return ['x'] * len(columns['a'])", ModelError, "not numbers"),
        ("return columns['nothing']", ModelError, "KeyError"),
        ("from rules_of_a_project import weights; return 1", ModelError, "inside of a function"),
        ("return np.random.default_rng().random(len(columns['a']))", ModelError, "otherwise"),
    ],
    ids=["shape", "range", "text", "raises", "late import", "random"],
)
def test_a_function_that_cannot_be_a_model_says_why(body, error, said, project, rows):
    name, folder = project
    (folder / "bad.py").write_text(f"import numpy as np\n\ndef score(columns):\n    {body}\n")
    with pytest.raises(error, match=said):
        function_model(f"{name}.bad:score", SIGNED, rows)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        ("nothing", ModelError, "names no function"),
        ("no_such_module_here:score", NotFoundError, "no module"),
        ("json:dumps", ModelError, "no code of the project"),
        ("numpy:exp", ModelError, "no code of the project"),
        ("rules_of_a_project.score:nothing", NotFoundError, "no function"),
        (lambda columns: 1, ModelError, "by a name"),
    ],
    ids=["name", "module", "standard", "installed", "attribute", "lambda"],
)
def test_a_function_that_is_not_the_projects_is_refused(call, error, said, project, rows):
    files = ("rules_of_a_project/limits.json",) if "score" in str(call) else ()
    with pytest.raises(error, match=said):
        function_model(call, SIGNED, rows, files=files if "no_such" not in str(call) else ())


@pytest.mark.parametrize("extra", ["w.pkl", "w.joblib", "w.pt"])
def test_a_pickle_is_never_carried(extra, project, rows):
    name, folder = project
    (folder / extra).write_bytes(b"\x80\x04.")
    with pytest.raises(RefusedError, match="is a pickle"):
        function.collect(f"{name}.score:score", SIGNED, files=(f"{name}/{extra}",))


@pytest.mark.parametrize("extra", ["../secret", "/etc/passwd", "missing.json"])
def test_files_are_below_the_code(extra, project):
    name, _ = project
    with pytest.raises(NotFoundError, match="no file below"):
        function.collect(f"{name}.score:score", SIGNED, files=(extra,))


def test_a_damaged_package_says_what_is_missing(project, rows, tmp_path):
    made = package(brought(project, rows), out=tmp_path / "m", allow_python=True)
    (made.folder / "code" / project[0] / "weights.py").unlink()
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(made.folder, allow_python=True)
    (made.folder / code.FILE).write_text('{"call": "a:b", "format": 9}')
    with pytest.raises(IntegrityError, match="format 9"):
        load(made.folder, allow_python=True)
    (made.folder / code.FILE).unlink()
    with pytest.raises(NotFoundError, match=r"no function\.json"):
        load(made.folder, allow_python=True)


def test_changed_code_gives_other_answers_than_the_golden_ones(project, rows, tmp_path):
    made = package(brought(project, rows), out=tmp_path / "m", allow_python=True)
    (made.folder / "code" / project[0] / "weights.py").write_text("SLOPE = -2.0\n")
    with pytest.raises(IntegrityError, match="does not give the answers"):
        load(made.folder, allow_python=True)
