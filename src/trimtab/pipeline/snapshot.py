"""The project's code as an artifact, so that a run can be made again from what it ran.

The files are those git would not ignore, else the folder without what tools leave in it; never the
data that `trimtab.toml` names, which has versions of its own.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trimtab import hashing, ids
from trimtab.config import Config
from trimtab.errors import ConflictError, PipelineError
from trimtab.store import artifacts, trees
from trimtab.store.records import Artifact
from trimtab.store.workspace import FOLDER, Workspace
from trimtab.track import git
from trimtab.track.git import GitState

MAX_BYTES: Final = 50 * 1024 * 1024
_LEAVINGS: Final = ("__pycache__", "node_modules", "venv", "env", "dist", "build")
_WILD: Final = frozenset("*?[")


@dataclass(frozen=True)
class Snapshot:
    """A stored code tree; `git` is None where the project is in no repository."""

    digest: str
    git: GitState | None
    files: int
    size: int


def take(ws: Workspace, config: Config) -> Snapshot:
    """Store the project's code; raises PipelineError above 50 MB, naming the ten largest files."""
    folder = ws.project_dir
    names = [name for name in _names(folder) if not _is_data(name, config)]
    sizes = {name: (folder / name).stat().st_size for name in names}
    size = sum(sizes.values())
    if size > MAX_BYTES:
        raise _too_large(sizes, size)
    found = {name: _put(ws, folder / name) for name in names}
    digest = trees.put_files(ws.blobs, found)
    artifacts.record(ws, Artifact(digest=digest, kind="code", size=size, created_at=ids.now()))
    return Snapshot(digest, git.state(folder), len(names), size)


def kept(digest: str) -> Snapshot:
    """A snapshot that is in the store already, to be run once more."""
    return Snapshot(digest, None, 0, 0)


def materialise(ws: Workspace, digest: str) -> Path:
    """A folder with the files of a code snapshot, under `.trimtab/work/`; made once."""
    folder = ws.root / "work" / digest.removeprefix(hashing.PREFIX)
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            trees.checkout(ws.blobs, digest, folder)
        except ConflictError:
            if not folder.is_dir():
                raise
    return folder


def _names(folder: Path) -> list[str]:
    listed = git.files(folder)
    found = listed if listed is not None else _walk(folder)
    return sorted(name for name in found if FOLDER not in Path(name).parts)


def _walk(folder: Path) -> Iterator[str]:
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and name not in _LEAVINGS
            and not Path(here, name, "pyvenv.cfg").exists()
        )
        for name in files:
            path = Path(here, name)
            if path.is_file() and not name.endswith(".pyc"):
                yield str(path.relative_to(folder))


def _is_data(name: str, config: Config) -> bool:
    """Whether a file belongs to a source or to the labels that the project file names."""
    sources = [*(data.source for data in config.data.values()), config.serve.labels]
    return any(_matches(name, source) for source in sources if source and "://" not in source)


def _matches(name: str, source: str) -> bool:
    pattern = os.path.normpath(source)
    fixed = _fixed(Path(pattern).parts)
    inside = bool(fixed) and Path(name).is_relative_to(Path(*fixed))
    return name == pattern or inside or fnmatch.fnmatchcase(name, pattern)


def _fixed(parts: Iterable[str]) -> list[str]:
    """The folders of a pattern before its first wildcard; [] for a pattern of the top folder."""
    fixed: list[str] = []
    for part in parts:
        if _WILD & set(part):
            return fixed
        fixed.append(part)
    return []


def _put(ws: Workspace, path: Path) -> str:
    digest = hashing.file_digest(path)
    return digest if ws.blobs.again(digest) else ws.blobs.put_file(path)


def _too_large(sizes: dict[str, int], size: int) -> PipelineError:
    largest = sorted(sizes, key=lambda name: -sizes[name])[:10]
    listed = ", ".join(f"{name} ({sizes[name] / 1e6:.1f} MB)" for name in largest)
    return PipelineError(
        f"the project's code is {size / 1e6:.0f} MB, more than {MAX_BYTES / 1e6:.0f} MB; "
        f"the largest files: {listed}",
        hint="name data in trimtab.toml, and what is no code in .gitignore",
    )
