"""The installed distributions, and the environment lock: their names and versions as text.

Read from the names of the metadata folders, so that it costs a directory listing and not a parse.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # a machine that only writes spools has no database
    from trimtab.store.workspace import Workspace

_META = re.compile(r"(?P<name>.+?)-(?P<version>[^-]+)(-py[\d.]+)?\.(dist-info|egg-info)\Z")


class Distribution(NamedTuple):
    """An installed distribution; `folder` holds its metadata."""

    name: str
    version: str
    folder: Path


def installed() -> dict[str, Distribution]:
    """Every distribution on the import path by its normalised name; the first one found counts."""
    folders = [Path(entry or ".") for entry in sys.path]
    return _installed(tuple((str(one), _stamp(one)) for one in folders if one.is_dir()))


def normalise(name: str) -> str:
    """A distribution name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def lock_text() -> str:
    """The environment as lines `name==version`, the Python version and platform first."""
    head = [
        f"# python {platform.python_version()} {platform.python_implementation()}",
        f"# platform {sys.platform} {platform.machine()}",
    ]
    lines = [f"{name}=={one.version}" for name, one in sorted(installed().items())]
    return "\n".join([*head, *lines]) + "\n"


def record(ws: Workspace) -> str:
    """Store the environment lock as a blob and return its digest."""
    return ws.blobs.put(lock_text().encode())


def parse(text: str) -> dict[str, str]:
    """A lock's text to name -> version, with the comment lines under their first word."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# "):
            name, _, version = line[2:].partition(" ")
        else:
            name, _, version = line.partition("==")
        found[name] = version
    return found


@lru_cache(4)
def _installed(folders: tuple[tuple[str, int], ...]) -> dict[str, Distribution]:
    found: dict[str, Distribution] = {}
    for folder, _ in folders:
        for name in sorted(os.listdir(folder)):
            match = _META.match(name)
            if match:
                one = Distribution(match["name"], match["version"], Path(folder, name))
                found.setdefault(normalise(one.name), one)
    return found


def _stamp(folder: Path) -> int:
    return folder.stat().st_mtime_ns
