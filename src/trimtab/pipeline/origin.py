"""Where code comes from: the project's own, or an installed distribution and its version.

Everything that lies outside the standard library and outside of site-packages counts as the
project's own, so a helper package that is installed in editable mode is walked like the project.
"""

from __future__ import annotations

import sys
import sysconfig
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Final

import trimtab
from trimtab.track import environment

_STDLIB: Final = tuple(
    str(Path(path)) + "/"
    for path in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
)
_OWN: Final = str(Path(trimtab.__file__).parent) + "/"
_INSTALLED: Final = ("site-packages", "dist-packages")


def is_project(module: str) -> bool:
    """Whether a loaded module is the project's own code."""
    top = module.partition(".")[0]
    if top == "trimtab" or top in sys.builtin_module_names:
        return False
    if module == "__main__":
        return True
    found = sys.modules.get(module)
    return found is not None and is_project_file(_file(found))


def is_project_file(file: str) -> bool:
    """Whether a source file is the project's own."""
    return bool(file) and not (is_installed_file(file) or file.startswith(("<frozen", _OWN)))


def is_installed_file(file: str) -> bool:
    """Whether a file belongs to Python itself or to an installed distribution."""
    return file.startswith(_STDLIB) or any(f"/{part}/" in file for part in _INSTALLED)


def is_standard_file(file: str) -> bool:
    """Whether a file belongs to Python itself."""
    return file.startswith(_STDLIB) and not any(f"/{part}/" in file for part in _INSTALLED)


def is_standard(module: str) -> bool:
    """Whether a module is part of Python itself."""
    return module.partition(".")[0] in sys.stdlib_module_names


def distributions(module: str) -> dict[str, str]:
    """Name -> version of the distributions that a library module belongs to; {} for Python's own."""
    top = module.partition(".")[0]
    if is_standard(top) or not top:
        return {}
    if top == "trimtab":
        return {"trimtab": trimtab.__version__}
    known = environment.installed()
    direct = environment.normalise(top)
    if direct in known:
        return {direct: known[direct].version}
    owners = _owners(tuple((name, str(one.folder)) for name, one in known.items())).get(top, ())
    return {name: known[name].version for name in owners}


@lru_cache(2)
def _owners(folders: tuple[tuple[str, str], ...]) -> dict[str, tuple[str, ...]]:
    """Which distributions install into each top-level module."""
    owners: dict[str, list[str]] = {}
    for name, folder in folders:
        for top in _tops(Path(folder)):
            owners.setdefault(top, []).append(name)
    return {top: tuple(sorted(names)) for top, names in owners.items()}


def _tops(folder: Path) -> set[str]:
    listed = folder / "top_level.txt"
    if listed.is_file():
        return set(listed.read_text(encoding="utf-8").split())
    record = folder / "RECORD"
    if not record.is_file():
        return set()
    tops = set()
    for line in record.read_text(encoding="utf-8").splitlines():
        first, slash, _ = line.partition(",")[0].partition("/")
        tops.add(first if slash else first.partition(".")[0])
    return tops


def _file(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or ""
