"""What each worker of an endpoint counted, in a file each, so that any of them can tell all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from trimtab.serve.metrics import Counts

FOLDER: Final = "workers"


def write(folder: Path, slot: int, counts: Counts) -> None:
    """Replace a worker's counts; raises OSError."""
    place = folder / FOLDER
    place.mkdir(exist_ok=True)
    staged = place / f".{slot}.{os.getpid()}"
    staged.write_bytes(msgspec.json.encode(counts))
    staged.replace(place / f"{slot}.json")


def read(folder: Path, slot: int) -> Counts | None:
    """A worker's counts, None where there are none that can be read."""
    try:
        return msgspec.json.decode((folder / FOLDER / f"{slot}.json").read_bytes(), type=Counts)
    except (OSError, msgspec.MsgspecError):
        return None


def of_others(folder: Path, slot: int) -> list[Counts]:
    """What the other workers counted up to a second ago."""
    slots = [int(path.stem) for path in (folder / FOLDER).glob("*.json") if path.stem.isdecimal()]
    found = [read(folder, other) for other in sorted(slots) if other != slot]
    return [one for one in found if one is not None]


def clear(folder: Path) -> None:
    """Forget the counts of an endpoint's earlier life."""
    for path in (folder / FOLDER).glob("*.json"):
        path.unlink(missing_ok=True)
