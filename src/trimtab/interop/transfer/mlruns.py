"""How MLflow's file store writes: the names of its files, its numbers for words, the lines of a metric."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from trimtab.errors import DataError, NotFoundError, StorageError

META: Final = "meta.yaml"
TRASH: Final = ".trash"
MODELS: Final = "models"
STATUS: Final = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}
MODEL_STATUS: Final = {
    0: "LOGGED_MODEL_STATUS_UNSPECIFIED",
    1: "LOGGED_MODEL_PENDING",
    2: "LOGGED_MODEL_READY",
    3: "LOGGED_MODEL_UPLOAD_FAILED",
}
_CHUNK: Final = 1 << 20


def copy(source: Path, into: Path, root: Path) -> None:
    """Copy a file that lies below a root to a new one."""
    if not source.resolve().is_relative_to(root):
        raise DataError(f"{source} is a link out of the folder")
    try:
        stream = source.open("rb")
    except FileNotFoundError:
        raise NotFoundError(f"{source} is gone") from None
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error.strerror}") from error
    try:
        with stream, into.open("xb") as made:
            while data := stream.read(_CHUNK):
                made.write(data)
    except OSError as error:
        raise StorageError(f"cannot write {into.name}: {error.strerror}") from error


def fields(line: bytes, counts: tuple[int, ...]) -> tuple[Any, ...] | None:
    """Time, value, step and what follows of a line of a metric; None where it is none, or torn."""
    parts = line.split()
    if len(parts) not in counts or not line.endswith(b"\n"):
        return None
    try:
        time, value = int(parts[0]), float(parts[1])
        step = [int(part) for part in parts[2:3]]
        rest = [part.decode() for part in parts[3:]]
    except (ValueError, UnicodeDecodeError):
        return None
    fits = all(-(2**63) <= one < 2**63 for one in step) and abs(time) < 2**63 // 1000
    return (time, value, *step, *rest) if fits else None


def integer(value: Any) -> int:
    """A number of a file, 0 where it is none."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return 0
