"""Contracts of the whole repository: what an import loads, what is exported, what files may say."""

import ast
import importlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import trimtab

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "trimtab"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PUBLIC = {"Candidate", "Dataset", "TrimtabError", "flow", "search", "start_run", "step"}
PUBLIC |= {"autolog", "log"}
PUBLIC |= {"Column", "Monitor", "Signature", "function_model", "onnx_model", "torch_model"}

MODELLING = {"onnx", "optuna", "skl2onnx", "sklearn", "skops"}
HEAVY = MODELLING | {"alembic", "jinja2", "numpy", "onnxruntime", "orjson", "pandas", "polars"}
HEAVY |= {"pyarrow", "scipy", "sqlalchemy", "starlette", "uvicorn", "uvloop"}


def loaded_by(modules: list[str], *, without: set[str] = frozenset()) -> set[str]:
    """The top-level names that importing `modules` in a fresh process leaves in sys.modules.

    `without` makes libraries unimportable, as in an installation that lacks them.
    """
    code = (
        "import importlib, json, sys\n"
        f"sys.path.insert(0, {str(SOURCE.parent)!r})\n"
        f"sys.modules.update(dict.fromkeys({sorted(without)!r}))\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print(json.dumps([n for n, m in sys.modules.items() if m is not None]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def modules_below(package: str) -> list[str]:
    folder = SOURCE / package
    return sorted(
        ".".join(("trimtab", package, *path.relative_to(folder).with_suffix("").parts))
        for path in folder.rglob("*.py")
        if path.name != "__init__.py"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "module",
    [
        "trimtab",
        "trimtab.cli",
        "trimtab.cli.main",
        "trimtab.config",
        "trimtab.errors",
        "trimtab.plugins",
        "trimtab.store.records",
    ],
)
def test_a_light_import_loads_no_heavy_library(module: str) -> None:
    assert loaded_by([module], without=HEAVY) & HEAVY == set()
    assert loaded_by([module]) & HEAVY == set()


@pytest.mark.slow
def test_the_serving_image_needs_no_table_or_modelling_library() -> None:
    absent = MODELLING | {"alembic", "jinja2", "pandas", "polars", "scipy", "sqlalchemy"}
    modules = [*modules_below("serve"), "trimtab.model.signature", "trimtab.model.load"]
    assert loaded_by(modules, without=absent) & absent == set()


@pytest.mark.slow
def test_monitor_controller_and_server_load_no_modelling_library() -> None:
    absent = MODELLING | {"onnxruntime", "pandas"}
    modules = [*modules_below("monitor"), *modules_below("server"), "trimtab.loop.tick"]
    assert loaded_by(modules, without=absent) & absent == set()


@pytest.mark.slow
def test_a_monitor_inside_another_server_loads_numpy_alone() -> None:
    absent = HEAVY - {"numpy"}
    assert loaded_by(["trimtab.monitor.embed.embedded"], without=absent) & absent == set()


def test_the_public_names_are_these() -> None:
    assert set(trimtab.__all__) - {"__version__"} == PUBLIC
    assert set(dir(trimtab)) >= PUBLIC
    for name in PUBLIC:
        assert callable(getattr(trimtab, name)), name
    with pytest.raises(AttributeError, match="no_such_name"):
        trimtab.no_such_name  # noqa: B018 - reading it is the test


def test_the_version_is_the_distributions_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+)?", trimtab.__version__)
    assert f"\n## {trimtab.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_command_is_there() -> None:
    module, _, function = PYPROJECT["project"]["scripts"]["trimtab"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_package_inits_hold_a_docstring_alone() -> None:
    for path in SOURCE.glob("**/__init__.py"):
        if path.parent == SOURCE:
            continue
        body = ast.parse(path.read_text(encoding="utf-8")).body
        assert len(body) == 1, path
        assert isinstance(body[0], ast.Expr), path


def test_modules_stay_small() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in SOURCE.rglob("*.py")
    }
    assert {name: n for name, n in lengths.items() if n > 400} == {}


def test_every_part_of_the_package_has_its_place_in_the_contracts() -> None:
    parts = {
        path.stem
        for path in SOURCE.iterdir()
        if (path / "__init__.py").is_file() or (path.suffix == ".py" and path.stem != "__init__")
    }
    contracts = {one["id"]: one for one in PYPROJECT["tool"]["importlinter"]["contracts"]}
    layers = {
        name.strip(" ()") for row in contracts["layers"]["layers"] for name in re.split("[|:]", row)
    }
    assert parts <= layers
    hidden = {name.removeprefix("trimtab.") for name in contracts["demo"]["forbidden_modules"]}
    assert hidden == parts - {"demo"}


def locked(name: str) -> dict[str, set[str]]:
    """Every distribution of a lock with its versions (one for each range of Pythons)."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines():
        if match := re.match(r"([a-z0-9.-]+)==([^ ]+)", line):
            found.setdefault(match[1], set()).add(match[2])
    return found


def named(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=;\[ ]", one, maxsplit=1)[0] for one in requirements} - {"trimtab"}


def test_locks_hold_what_the_project_asks_for() -> None:
    extras = PYPROJECT["project"]["optional-dependencies"]
    wanted = named([*PYPROJECT["project"]["dependencies"], *extras["local"], *extras["serve"]])
    assert wanted <= set(locked("local.txt"))
    groups = PYPROJECT["dependency-groups"]
    tools = named([one for group in groups.values() for one in group if isinstance(one, str)])
    assert wanted | tools <= set(locked("dev.txt"))
    assert named(groups["build"]) <= set(locked("local.txt"))


def test_one_machine_has_the_same_versions_for_use_and_development() -> None:
    use, development = locked("local.txt"), locked("dev.txt")
    assert {name: development.get(name) for name in use} == use


def test_no_lock_brings_pandas() -> None:
    assert "pandas" not in locked("dev.txt")


@pytest.mark.parametrize("name", ["local.txt", "dev.txt"])
def test_locks_pin_every_distribution_by_hash(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    for block in re.split(r"\n(?=[a-z0-9])", text)[1:]:
        assert "==" in block.splitlines()[0], block
        assert "--hash=sha256:" in block, block


def markdown() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_links_between_pages_lead_somewhere() -> None:
    dead = []
    for page in markdown():
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            path = target.partition("#")[0]
            if path and "://" not in path and not (page.parent / path).exists():
                dead.append(f"{page.relative_to(ROOT)}: {target}")
    assert dead == []


@pytest.mark.slow
def test_pages_that_code_refers_to_exist() -> None:
    dead = [
        f"{path.relative_to(ROOT)}: {page}"
        for path in SOURCE.rglob("*.py")
        for page in re.findall(r"\bdocs/[\w/.-]+\.md", path.read_text(encoding="utf-8"))
        if not (ROOT / page).is_file()
    ]
    assert dead == []


# Joined from halves, so that this file does not hold what it looks for.
FORBIDDEN = {
    "a path of one machine": r"(^|[^\w.])/(?:wo" + r"rk|fa" + r"rm|ro" + r"ot)/",
    "somebody's home": r"(^|[^\w.])/(?:ho" + r"me|Us" + r"ers)/\w",
    "a registry's host": r"py" + r"pi\.org|pythonho" + r"sted\.org|npm" + r"js\.org",
    "a registry's address": r'https?://[^ "\']+/(?:sim' + r"ple|packa" + r"ges)/",
    "a resolved address": r'"resol' + r'ved": *"http',
    "an index option": r"^\s*(?:--)?(?:extra-)?index-u" + r"rl|^\s*--find-li" + r"nks",
}


@pytest.mark.slow
def test_files_name_no_registry_and_no_machine(need: Callable[[object, str], None]) -> None:
    need((ROOT / ".git").exists(), "this is no git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    found = []
    for name in sorted(set(filter(None, listed))):
        if not (ROOT / name).is_file():
            continue
        text = (ROOT / name).read_bytes().decode("utf-8", errors="replace")
        for what, pattern in FORBIDDEN.items():
            if match := re.search(pattern, text, re.MULTILINE):
                found.append(f"{name}: {what}: {match[0].strip()}")
    assert found == []
