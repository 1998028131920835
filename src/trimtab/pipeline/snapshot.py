"""The code and the environment of a run, as artifacts.

The snapshot is the tracked files and the untracked ones that git does not ignore, as they are on
disk; without git the project's tree but for data, environments and the store.
"""

from __future__ import annotations

import functools
import subprocess
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final

from trimtab import hashing, ids
from trimtab.errors import RefusedError
from trimtab.store import artifacts, trees
from trimtab.store.records import Artifact
from trimtab.store.workspace import Workspace

LIMIT: Final = 50 << 20
_SKIPPED: Final = frozenset(
    (".trimtab", ".git", ".venv", "venv", "data", "__pycache__", "node_modules", ".pytest_cache",
     ".mypy_cache", ".ruff_cache", ".hypothesis")
)  # fmt: skip


def take(ws: Workspace, folder: Path) -> tuple[str, dict[str, Any]]:
    """Store the code of a folder; returns its tree digest and git's facts.

    Raises RefusedError above 50 MB, naming the largest files.
    """
    files = _files(folder)
    sizes = {name: (folder / name).stat().st_size for name in files}
    if sum(sizes.values()) > LIMIT:
        largest = sorted(sizes, key=lambda name: -sizes[name])[:10]
        raise RefusedError(
            f"the project's code takes {sum(sizes.values()) / 1e6:.0f} MB, more than 50",
            hint="let git ignore what is no code: "
            + ", ".join(f"{name} ({sizes[name] / 1e6:.1f} MB)" for name in largest),
        )
    digest = trees.put_files(ws.blobs, {name: ws.blobs.put_file(folder / name) for name in files})
    size = sum(sizes.values())
    artifacts.record(ws, Artifact(digest=digest, kind="code", size=size, created_at=ids.now()))
    return digest, _git(folder)


def environment(ws: Workspace) -> str:
    """Store the names and versions of all installed distributions; returns the digest."""
    digest = ws.blobs.put(_installed())
    artifacts.record(
        ws,
        Artifact(digest=digest, kind="environment", size=len(_installed()), created_at=ids.now()),
    )
    return digest


def materialise(ws: Workspace, digest: str) -> Path:
    """A snapshot's files under `.trimtab/work/`, made once."""
    place = ws.root / "work" / digest.removeprefix(hashing.PREFIX)
    if not place.exists():
        place.parent.mkdir(exist_ok=True)
        trees.checkout(ws.blobs, digest, place)
    return place


@functools.cache
def _installed() -> bytes:
    found = {f"{one.name}=={one.version}" for one in distributions() if one.name}
    return ("\n".join(sorted(found, key=str.lower)) + "\n").encode()


def _files(folder: Path) -> list[str]:
    listed = _ask(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if listed is not None:
        names = [name for name in listed.split("\0") if name]
    else:
        names = [str(path.relative_to(folder)) for path in folder.rglob("*")]
    return sorted(
        name
        for name in set(names)
        if not _SKIPPED & set(Path(name).parts)
        and (folder / name).is_file()
        and not (folder / name).is_symlink()
    )


def _git(folder: Path) -> dict[str, Any]:
    commit = _ask(folder, "rev-parse", "HEAD")
    if commit is None:
        return {}
    status = _ask(folder, "status", "--porcelain", "--", ".") or ""
    facts: dict[str, Any] = {"git_commit": commit.strip(), "git_dirty": bool(status.strip())}
    return facts


def _ask(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None
