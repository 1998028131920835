"""Where a store is, and of which revision: what can be known without loading the database's library."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from trimtab.errors import StorageError

FOLDER: Final = ".trimtab"
FILE: Final = "store.db"
HEAD: Final = "0006"
"""The newest revision of the schema."""


def made(project_dir: Path) -> Path:
    """The folder of a project's store, made where it is missing; raises StorageError."""
    root = project_dir.resolve() / FOLDER
    try:
        root.mkdir(parents=True, exist_ok=True)
        ignore = root / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
    except OSError as error:
        raise unwritable(root, error) from error
    return root


def unwritable(root: Path, error: OSError) -> StorageError:
    """What to say of a folder that cannot be written."""
    return StorageError(
        f"cannot write {root}: {error.strerror}",
        hint="see that there is space on its disk and that you may write there",
    )
