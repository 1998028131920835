"""Nine changes, each decided right by the plan: run again, or not; and what else a key reaches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any as Project

import pytest

from trimtab.pipeline import load
from trimtab.pipeline.fingerprint import Fingerprint, fingerprint, of_value

HELPERS = """
    FACTOR = 2

    def scale(x):
        return x * FACTOR
"""
PIPELINE = """
    import os
    import helpers
    import fakelib
    from helpers import scale

    RATE = 10

    def double(x):
        return x + x

    @step
    def work(n: int = 1) -> list[int]:
        # a comment
        name = os.environ.get("REGION", "north")
        total = double(n) + scale(n) * RATE + fakelib.one() + helpers.FACTOR
        return [total, len(name)]

    @flow
    def train(n: int = 1):
        return work(n)
"""


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed distribution `fake-lib` 1.0 that gives the module `fakelib`."""
    site = tmp_path / "env" / "site-packages"
    meta = site / "fake_lib-1.0.dist-info"
    meta.mkdir(parents=True)
    (site / "fakelib.py").write_text("def one():\n    return 1\n")
    (meta / "RECORD").write_text("fakelib.py,,\nfake_lib-1.0.dist-info/RECORD,,\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "fakelib", raising=False)
    return site


@pytest.fixture
def nine(project: Project, library: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.delenv("REGION", raising=False)
    project.write("helpers.py", HELPERS)
    project.code(PIPELINE)
    assert project.run().steps[0].status == "done"
    assert project.plan().nothing_to_do
    return project


def reasons(project: Project) -> tuple[str, ...]:
    planned = project.plan().steps[0]
    assert (planned.status == "cached") == (not planned.reasons)
    return planned.reasons


def edit(project: Project, name: str, old: str, new: str) -> None:
    path = project.folder / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_1_nothing(nine: Project) -> None:
    assert reasons(nine) == ()


def test_2_a_comment(nine: Project) -> None:
    edit(nine, "pipeline.py", "# a comment", "# another one\n    # and one more")
    edit(nine, "helpers.py", "def scale", "# here too\ndef scale")
    assert reasons(nine) == ()


def test_3_a_docstring(nine: Project) -> None:
    edit(nine, "pipeline.py", "    # a comment", '    """Works."""')
    edit(nine, "helpers.py", "def scale(x):", 'def scale(x):\n    """Scales."""')
    assert reasons(nine) == ()


def test_4_formatting(nine: Project) -> None:
    edit(
        nine,
        "pipeline.py",
        "double(n) + scale(n) * RATE",
        "(\n        double(\n            n,\n        )\n        + scale(n)\n        * RATE\n    )",
    )
    assert reasons(nine) == ()


def test_5_a_module_constant(nine: Project) -> None:
    edit(nine, "pipeline.py", "RATE = 10", "RATE = 11")
    assert reasons(nine) == ("constant changed: pipeline.RATE",)


def test_6_a_helper_function(nine: Project) -> None:
    edit(nine, "pipeline.py", "return x + x", "return x + x + 0")
    assert reasons(nine) == ("code changed: helper pipeline.double",)


def test_7_an_imported_project_module(nine: Project) -> None:
    edit(nine, "helpers.py", "return x * FACTOR", "return FACTOR * x")
    assert reasons(nine) == ("code changed: helper helpers.scale",)
    edit(nine, "helpers.py", "return FACTOR * x", "return x * FACTOR")
    assert reasons(nine) == ()
    edit(nine, "helpers.py", "FACTOR = 2", "FACTOR = 3")
    assert reasons(nine) == ("constant changed: helpers.FACTOR",)


def test_8_a_library_version(nine: Project, library: Path) -> None:
    (library / "fake_lib-1.0.dist-info").rename(library / "fake_lib-1.1.dist-info")
    os.utime(library, ns=(1, 1))
    assert reasons(nine) == ("dependency changed: fake-lib 1.0 -> 1.1",)


def test_9_an_environment_variable(nine: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGION", "south")
    assert reasons(nine) == ("environment variable changed: REGION",)
    assert nine.run().value[1] == len("south")
    monkeypatch.setenv("REGION", "west")
    assert nine.run().value[1] == len("west")
    monkeypatch.setenv("REGION", "south")
    assert reasons(nine) == ()  # the earlier result is found again
    monkeypatch.setenv("UNRELATED", "1")
    assert reasons(nine) == ()


def test_the_step_itself_and_a_parameter(nine: Project) -> None:
    assert nine.plan({"n": 2}).steps[0].reasons == ("param changed: n 1 -> 2",)
    edit(nine, "pipeline.py", "len(name)]", "len(name) + 1]")
    assert reasons(nine) == ("code changed: pipeline.work",)


def of(project: Project, source: str, name: str = "f") -> Fingerprint:
    project.code(source)
    return fingerprint(getattr(load.load_module("pipeline", project.folder), name))


CASES = {
    "a default": ("def f(x=1): return x", "def f(x=2): return x"),
    "a keyword default": ("def f(*, x=1): return x", "def f(*, x=1.0): return x"),
    "a closure": (
        "def make(n):\n    def f(): return n\n    return f\nf = make(1)",
        "def make(n):\n    def f(): return n\n    return f\nf = make(2)",
    ),
    "a class that it makes": (
        "class A:\n    def go(self): return 1\ndef f(): return A().go()",
        "class A:\n    def go(self): return 2\ndef f(): return A().go()",
    ),
    "a base class": (
        "class B:\n    k = 1\nclass A(B): pass\ndef f(): return A.k",
        "class B:\n    k = 2\nclass A(B): pass\ndef f(): return A.k",
    ),
    "a property": (
        "class A:\n    @property\n    def k(self): return 1\ndef f(): return A().k",
        "class A:\n    @property\n    def k(self): return 2\ndef f(): return A().k",
    ),
    "a dataclass default": (
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    k: int = 1\nX = A()\ndef f(): return X",
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    k: int = 2\nX = A()\ndef f(): return X",
    ),
    "an enum": (
        "from enum import Enum\nclass E(Enum):\n    A = 1\ndef f(): return E.A",
        "from enum import Enum\nclass E(Enum):\n    A = 2\ndef f(): return E.A",
    ),
    "a function in a table": (
        "def a(): return 1\ndef b(): return 2\nT = {'x': a}\ndef f(): return T['x']()",
        "def a(): return 1\ndef b(): return 2\nT = {'x': b}\ndef f(): return T['x']()",
    ),
    "a decorated helper": (
        "import functools\n@functools.lru_cache\ndef g(): return 1\ndef f(): return g()",
        "import functools\n@functools.lru_cache\ndef g(): return 2\ndef f(): return g()",
    ),
    "a partial": (
        "import functools\ndef g(n): return n\nh = functools.partial(g, 1)\ndef f(): return h()",
        "import functools\ndef g(n): return n\nh = functools.partial(g, 2)\ndef f(): return h()",
    ),
    "a name bound to another function": (
        "def a(): return 1\ndef b(): return 2\ng, h = a, b\ndef f(): return g() - h()",
        "def a(): return 1\ndef b(): return 2\ng, h = b, a\ndef f(): return g() - h()",
    ),
    "one of two lambdas": (
        "a = lambda: 1\nb = lambda: 2\ndef f(): return a() - b()",
        "a = lambda: 1\nb = lambda: 3\ndef f(): return a() - b()",
    ),
    "an estimator": (
        "from sklearn.linear_model import Ridge\nE = Ridge(alpha=1)\ndef f(): return E",
        "from sklearn.linear_model import Ridge\nE = Ridge(alpha=2)\ndef f(): return E",
    ),
    "an array": (
        "import numpy as np\nA = np.array([1, 2])\ndef f(): return A",
        "import numpy as np\nA = np.array([1, 3])\ndef f(): return A",
    ),
    "a frame": (
        "import polars as pl\nA = pl.DataFrame({'a': [1]})\ndef f(): return A",
        "import polars as pl\nA = pl.DataFrame({'a': [2]})\ndef f(): return A",
    ),
    "an expression": (
        "import polars as pl\nA = pl.col('a') > 1\ndef f(t): return t.filter(A)",
        "import polars as pl\nA = pl.col('a') > 2\ndef f(t): return t.filter(A)",
    ),
    "a step that it calls": (
        "@step\ndef g(): return 1\n@step\ndef f(): return g()",
        "@step\ndef g(): return 2\n@step\ndef f(): return g()",
    ),
    "a recursive helper": (
        "def g(n): return g(n - 1) if n else 1\ndef f(): return g(3)",
        "def g(n): return g(n - 1) if n else 2\ndef f(): return g(3)",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_change_is_seen_in(name: str, project: Project) -> None:
    before, after = (of(project, source) for source in CASES[name])
    assert before.components != after.components
    assert not before.weak
    assert of(project, CASES[name][0]).components == before.components


def test_a_function_local_import_counts(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)  # bytecode would hide the edit
    project.write("late.py", "def g():\n    return 1\n")
    source = "def f():\n    from late import g\n    return g()\n"
    before = of(project, source)
    project.write("late.py", "def g():\n    return 2\n")
    assert of(project, source).components != before.components


def test_a_module_that_is_handed_around_counts_whole(project: Project) -> None:
    project.write("whole.py", "A = 1\n")
    source = "import whole\ndef f():\n    return getattr(whole, 'A')\n"
    before = of(project, source)
    project.write("whole.py", "A = 2\n")
    assert of(project, source).components != before.components


def test_a_library_is_known_by_its_distribution(project: Project) -> None:
    found = of(project, "from sklearn.linear_model import Ridge\ndef f(): return Ridge()")
    assert "dependency:scikit-learn" in found.components
    typed = of(project, "import polars as pl\ndef f(t: pl.DataFrame): return t.head(1)")
    assert "dependency:polars" in typed.components


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def f(): return eval('1')", "calls eval"),
        ("import random\ndef f(): return random.random()", "random numbers"),
        ("import numpy as np\ndef f(): return np.random.rand(3)", "random numbers"),
        ("import polars as pl\ndef f(): return pl.read_csv('x')", "reads a file by polars"),
        ("from datetime import datetime\ndef f(): return datetime.now()", "reads the clock"),
        ("X = (i for i in range(3))\ndef f(): return list(X)", "holds a builtins.generator"),
        ("def f():\n    import nowhere_at_all\n", "cannot import 'nowhere_at_all'"),
    ],
)
def test_what_cannot_be_seen_is_said(project: Project, source: str, said: str) -> None:
    assert said in " ".join(of(project, source).weak)


def test_a_seeded_generator_is_not_weak(project: Project) -> None:
    source = (
        "import numpy as np\nimport random\n"
        "def f(seed):\n    random.Random(seed)\n    return np.random.default_rng(seed)"
    )
    assert not of(project, source).weak


def test_a_function_as_a_parameter_is_fingerprinted(project: Project) -> None:
    def factory(source: str) -> Fingerprint:
        project.code(source)
        return of_value(load.load_module("pipeline", project.folder).f)

    one, two = factory("K = 1\ndef f(): return K"), factory("K = 2\ndef f(): return K")
    assert one.root == two.root
    assert one.components["constant:pipeline.K"] != two.components["constant:pipeline.K"]


@pytest.mark.slow
def test_another_process_gives_the_same_fingerprint(project: Project) -> None:
    source = "import re\nS = {'b', 'a', 'c'}\nR = re.compile('x')\nclass A: pass\nX = A()\n"
    project.code(source + "def f(x=S): return S, R, X, {1: frozenset('ab')}, x in {'p', 'q'}\n")
    script = (
        "from trimtab.pipeline import load, fingerprint; from pathlib import Path;"
        f"m = load.load_module('pipeline', Path({str(project.folder)!r}));"
        "print(sorted(fingerprint.fingerprint(m.f).components.items()))"
    )
    found = set()
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", script], env=env, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        found.add(done.stdout)
    assert len(found) == 1
