"""What git says of a project folder: commit, branch, whether it is dirty, and which files count.

A folder that is no repository, and a machine without git, give None: git is welcome, not needed.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import msgspec

from trimtab import hashing

_SECONDS = 30


class GitState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a working tree. `commit` is "" before the first; `diff` is the digest of the
    changes to tracked files since it, "" where there are none.
    """

    commit: str
    branch: str
    dirty: bool
    diff: str = ""


def state(folder: Path) -> GitState | None:
    """The state of the repository that `folder` lies in, as far as the folder is concerned."""
    if not _is_inside(folder):
        return None
    status = _git(folder, "status", "--porcelain=v2", "--branch", "-z", "--", ".")
    if status is None:
        return None
    heads = {"branch.oid": "", "branch.head": ""}
    dirty = False
    for entry in status.decode(errors="replace").split("\0"):
        if entry.startswith("# "):
            name, _, value = entry[2:].partition(" ")
            heads[name] = value
        elif entry:
            dirty = True
    commit = "" if heads["branch.oid"].startswith("(") else heads["branch.oid"]
    differences = changes(folder) if dirty and commit else b""
    return GitState(
        commit=commit,
        branch=heads["branch.head"],
        dirty=dirty,
        diff=hashing.digest("blob", differences) if differences else "",
    )


def changes(folder: Path) -> bytes:
    """The changes to tracked files since the last commit, as `git apply` takes them."""
    return _git(folder, "diff", "HEAD", "--binary", "--", ".") or b""


def files(folder: Path) -> list[str] | None:
    """Paths relative to `folder` of its tracked and its untracked, unignored files, sorted."""
    if not _is_inside(folder):
        return None
    listed = _git(folder, "ls-files", "-co", "--exclude-standard", "-z")
    if listed is None:
        return None
    names = {os.fsdecode(name) for name in listed.split(b"\0") if name}
    return sorted(name for name in names if (folder / name).is_file())


def _is_inside(folder: Path) -> bool:
    """Whether there is a repository at all; spares a process where there is none."""
    here = folder.resolve()
    return any((parent / ".git").exists() for parent in (here, *here.parents))


def _git(folder: Path, *arguments: str) -> bytes | None:
    # A hook's environment would point git at another repository than the folder's own.
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env |= {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=env,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
