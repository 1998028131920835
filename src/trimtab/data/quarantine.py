"""Where a bad batch is kept: `.trimtab/quarantine/NAME/DIGEST/` with its files and `reason.json`.

Nothing here becomes a version, but for versions that acceptance refused: those stay numbered. The same
bytes arrive in the same folder, whose reason is then the latest. A batch that cannot be copied still
leaves its reason.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from trimtab import hashing, ids
from trimtab.errors import TrimtabError

FOLDER: Final = "quarantine"
REASON: Final = "reason.json"
FILES: Final = "files"


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Why a batch was refused. `digest` is of its files, `at` in microseconds.

    `kept` says whether the bytes are beside it, `why_not` what kept them from being copied. Of a
    version that was refused by its effect, `version` is its label, `effect` what was measured and
    `rows` the numbers of rows (from 0) that speak against it.
    """

    name: str
    digest: str
    at: int
    uri: str
    error: str
    hint: str
    files: dict[str, str]
    kept: bool = True
    why_not: str = ""
    version: str = ""
    effect: dict[str, Any] = {}
    rows: list[int] = []


def keep(
    root: Path,
    name: str,
    files: Mapping[str, Path],
    error: TrimtabError,
    uri: str,
    *,
    version: str = "",
    effect: Mapping[str, Any] | None = None,
    rows: Sequence[int] = (),
) -> Path:
    """Copy a refused batch (file name -> path) aside and return its folder below `root`."""
    digests = {file: hashing.file_digest(path) for file, path in files.items()}
    digest = hashing.object_digest("key", digests)
    if len(digests) == 1:
        digest = next(iter(digests.values()))
    folder = root / FOLDER / name / digest.removeprefix(hashing.PREFIX)
    reason = Reason(
        name=name,
        digest=digest,
        at=ids.now(),
        uri=uri,
        error=error.message,
        hint=error.hint,
        files=digests,
        version=version,
        effect=dict(effect or {}),
        rows=list(rows),
    )
    try:
        _copy(folder, files)
    except OSError as refused:
        reason = msgspec.structs.replace(reason, kept=False, why_not=str(refused))
    staged = folder / f".{REASON}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        staged.write_bytes(msgspec.json.format(msgspec.json.encode(reason)))
        staged.replace(folder / REASON)
    except OSError:  # a full disk must not hide why the batch was refused
        with contextlib.suppress(OSError):
            staged.unlink(missing_ok=True)
    return folder


def note(error: TrimtabError, folder: Path, root: Path) -> None:
    """Add to an error's hint where its batch is kept, relative to the folder that holds `root`; or
    that there is no copy of it.
    """
    if (folder / FILES).is_dir():
        place = f"nothing was added; the batch is kept in {folder.relative_to(root.parent)}"
    else:
        place = "nothing was added, and no copy of the batch could be kept: hold on to it yourself"
    error.hint = f"{error.hint}\n{place}" if error.hint else place


def find(root: Path, name: str) -> list[Reason]:
    """The reasons of every kept batch of data `name`, newest first."""
    reasons = [
        msgspec.json.decode(path.read_bytes(), type=Reason)
        for path in (root / FOLDER / name).glob(f"*/{REASON}")
    ]
    return sorted(reasons, key=lambda reason: reason.at, reverse=True)


def _copy(folder: Path, files: Mapping[str, Path]) -> None:
    """Copy files under `folder`/files, whole or not at all; what lies there already is the same."""
    target = folder / FILES
    if target.is_dir():
        return
    staged = folder / f".{FILES}.{ids.new_id()}"
    try:
        for name, path in files.items():
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, staged / name)
        staged.rename(target)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
