"""Which files are the project's code, and what becomes of them."""

from __future__ import annotations

import os
import subprocess
from typing import Any as Project

import pytest

from trimtab import config
from trimtab.errors import PipelineError
from trimtab.pipeline import snapshot
from trimtab.store import trees

CONFIG = config.parse(
    {
        "project": {"name": "demo"},
        "data": {"rows": {"source": "data/rows/*.csv"}, "more": {"source": "more.csv"}},
        "serve": {"labels": "labels/*.parquet"},
    }
)


@pytest.fixture
def files(project: Project) -> Project:
    (project.folder / "rows.csv").unlink()
    for name in (
        *("pipeline.py", "lib/a.py", "lib/__pycache__/a.pyc", "data/rows/1.csv", "data/notes.md"),
        *(
            "more.csv",
            "labels/1.parquet",
            ".venv/x.py",
            "own/pyvenv.cfg",
            "own/lib.py",
            ".hidden/x",
        ),
    ):
        project.write(name, name)
    return project


def names(project: Project, digest: str) -> set[str]:
    return set(trees.walk(project.ws.blobs, digest))


def git(folder, *arguments: str) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(
        ["git", *identity, *arguments], cwd=folder, env=env, check=True, capture_output=True
    )


def test_without_git_it_is_the_folder_without_data_and_leavings(files: Project) -> None:
    taken = snapshot.take(files.ws, CONFIG)
    assert names(files, taken.digest) == {"pipeline.py", "lib/a.py", "data/notes.md"}
    assert taken.git is None
    assert taken.files == 3
    assert snapshot.take(files.ws, CONFIG).digest == taken.digest


def test_with_git_it_is_what_git_would_not_ignore(files: Project) -> None:
    files.write(".gitignore", "secret.txt\n.venv/\nown/\n*.pyc\n")
    files.write("secret.txt", "s")
    git(files.folder, "init", "-q")
    git(files.folder, "add", "pipeline.py", ".gitignore")
    before = snapshot.take(files.ws, CONFIG)
    assert (before.git.commit, before.git.dirty) == ("", True)
    git(files.folder, "commit", "-qm", "one")
    taken = snapshot.take(files.ws, CONFIG)
    assert names(files, taken.digest) == {
        *("pipeline.py", ".gitignore", "lib/a.py", "data/notes.md", ".hidden/x")
    }
    assert len(taken.git.commit) == 40
    assert taken.git.dirty  # untracked files
    assert taken.git.diff == ""
    git(files.folder, "add", "-A")
    git(files.folder, "commit", "-qm", "two")
    assert not snapshot.take(files.ws, CONFIG).git.dirty
    files.write("pipeline.py", "changed")
    dirty = snapshot.take(files.ws, CONFIG)
    assert dirty.git.dirty
    assert dirty.git.diff
    assert dirty.digest != taken.digest


def test_too_much_code_names_the_largest_files(files: Project, monkeypatch) -> None:
    monkeypatch.setattr(snapshot, "MAX_BYTES", 1000)
    for number in range(12):
        files.write(f"big{number:02}.bin", "x" * (100 + number))
    with pytest.raises(PipelineError, match="the largest files: big11.bin") as caught:
        snapshot.take(files.ws, CONFIG)
    assert "big02.bin" in caught.value.message
    assert "big01.bin" not in caught.value.message
    assert ".gitignore" in caught.value.hint


def test_a_snapshot_comes_back_as_files(files: Project) -> None:
    taken = snapshot.take(files.ws, CONFIG)
    folder = snapshot.materialise(files.ws, taken.digest)
    assert (folder / "lib" / "a.py").read_text() == "lib/a.py"
    assert folder.is_relative_to(files.ws.root / "work")
