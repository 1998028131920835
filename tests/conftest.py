"""What every test may ask for: optional parts of the machine, and how hard hypothesis tries."""

from __future__ import annotations

import gc
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

# Two test workers share the cores; thread pools inside each of them only get in the way. Set
# before any of these libraries is imported.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(_name, "1")

# Each test has a store of its own; what SQLAlchemy compiled for one of them serves the others too.
_compiled = LRUCache(4000)
_engine = sa.Engine.__init__


def _sharing(engine: sa.Engine, *arguments: Any, **named: Any) -> None:
    _engine(engine, *arguments, **named)
    engine._compiled_cache = _compiled


sa.Engine.__init__ = _sharing
SQLiteDialect_pysqlite.__eq__ = lambda one, other: type(one) is type(other)
SQLiteDialect_pysqlite.__hash__ = lambda one: hash(type(one))


class _NoPandas:
    """Says at once what a search of the path would: scikit-learn asks for each value it looks at."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("No module named 'pandas'", name=name)


if importlib.util.find_spec("pandas") is None:
    sys.meta_path.insert(0, _NoPandas)

# Begun first, the longest before the others, so that no worker is left with one of them at the end.
LONGEST = (
    "test_crash_points",
    "test_series_kill",
    "test_slots",
    "test_weeks",
    "test_strangers",
    "test_tick_kill",
    "test_workers",
    "test_scoring",
    "test_retire",
)

ROOT = Path(__file__).resolve().parent.parent
ALL = os.environ.get("TRIMTAB_TEST_ALL") == "1"

# `make check` leaves out what is marked `slow`: tests longer than a twentieth of a second. It names
# others from a fifth of a second of processor time on: clocks differ from run to run.
QUICK = os.environ.get("HYPOTHESIS_PROFILE") == "quick"
UNMARKED = 0.2
USED = "seconds of processor time"

# No deadlines: a busy machine is not a failure.
_calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("default", _calm, max_examples=60)
settings.register_profile("quick", _calm, max_examples=15)
settings.register_profile("fuzz", _calm, max_examples=300, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONGEST)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Note the processor time of the test and of the processes that it waited for."""
    before = sum(os.times()[:4])
    try:
        return (yield)
    finally:
        item.user_properties.append((USED, sum(os.times()[:4]) - before))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """After a quick run, name the tests that should be marked `slow`; a busy machine is no failure."""
    if not QUICK:
        return
    used: dict[str, float] = {}
    for report in terminalreporter.getreports("passed"):
        name = report.nodeid.partition("[")[0]
        used[name] = max(used.get(name, 0.0), dict(report.user_properties).get(USED, 0.0))
    found = sorted((seconds, name) for name, seconds in used.items() if seconds > UNMARKED)
    if found:
        terminalreporter.section(f"mark these `slow`: each took more than {UNMARKED} s")
        for seconds, name in reversed(found):
            terminalreporter.write_line(f"{seconds:5.2f} s  {name}")


def pytest_collection_finish() -> None:
    """What was imported until now stays: looking through it for garbage again and again takes time."""
    gc.collect()
    gc.freeze()


Need = Callable[[object, str], None]


@pytest.fixture(scope="session")
def need() -> Need:
    """`need(condition, reason)`: go on where the condition holds.

    Elsewhere the test is skipped with the reason, and under TRIMTAB_TEST_ALL=1 it fails.
    """

    def check(condition: object, reason: str) -> None:
        if condition:
            return
        if ALL:
            pytest.fail(f"TRIMTAB_TEST_ALL=1, but {reason}", pytrace=False)
        pytest.skip(reason)

    return check


@pytest.fixture(scope="session")
def whole() -> bool:
    """Whether TRIMTAB_TEST_ALL=1 asks for all of what a plain run takes a stated part of."""
    return ALL


@pytest.fixture(scope="session")
def real_data(need: Need) -> Path:
    """The folder of real data sets; names of files are in its README."""
    folder = Path(os.environ.get("TRIMTAB_TEST_DATA") or ROOT.parent / "shared" / "data")
    need(folder.is_dir(), "TRIMTAB_TEST_DATA names no folder of data sets")
    return folder


@pytest.fixture(scope="session")
def chromium(need: Need) -> str:
    """The path of the system's Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), "")
    need(found, "there is no Chromium on PATH")
    return found


@pytest.fixture
def tiny_disk(tmp_path: Path, need: Need) -> Iterator[Path]:
    """A folder that is a file system of one megabyte of its own, for tests of a full disk."""
    folder = tmp_path / "tiny_disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    able = sys.platform == "linux" and os.geteuid() == 0 and shutil.which("mount") is not None
    mounted = able and subprocess.run(command, capture_output=True, check=False).returncode == 0
    need(mounted, "a tmpfs can only be mounted by root on Linux")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
