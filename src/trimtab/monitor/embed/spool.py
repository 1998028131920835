"""Window profiles that processes outside the platform leave for the controller, file by file.

A file appears whole, by rename, and is taken in once: its name is remembered in the transaction
that counts it, and forgotten when it is gone. Files add up, whoever wrote them and in any order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from trimtab import ids
from trimtab.errors import IntegrityError, StorageError
from trimtab.profile import profile as profiles
from trimtab.profile import wire
from trimtab.store.records import Window

if TYPE_CHECKING:  # whoever writes a spool needs no database
    from trimtab.store.workspace import Workspace

FOLDER: Final = "monitors"
TARGET: Final = "embedded"
STATE: Final = "embedded"
"""Of a monitor that is watched; one whose watch was ended is "retired"."""
_SUFFIX: Final = ".window"
_MAGIC: Final = b"trimtabS"


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Some rows of one window [start, end), counted; `newest` is the last row's time.

    `dropped` counts rows that were logged faster than they could be counted, or could not be read;
    where all were, `rows` is 0. Microseconds.
    """

    model: str
    start: int
    end: int
    rows: int
    profile: bytes
    newest: int = 0
    dropped: int = 0


def folder(root: Path, name: str) -> Path:
    """Where the parts of a monitor lie below a workspace's root."""
    return root / FOLDER / name


def is_embedded(ws: Workspace, name: str) -> bool:
    """Whether a name is that of a monitor, whose rows have the time of its own clock."""
    from trimtab.store import operations  # noqa: PLC0415 - as above

    return any(one.name == name and one.target == TARGET for one in operations.endpoints(ws))


def write(place: Path, part: Part) -> Path:
    """Leave a part; raises StorageError where the disk refuses, and then nothing is visible.

    A workspace that is gone, as that of a project that was moved, is not made anew: nobody would
    look there.
    """
    name = ids.new_id()
    path, partial = place / f"{name}{_SUFFIX}", place / f".{name}"
    try:
        place.parent.parent.stat()
        place.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(wire.frame(_MAGIC, msgspec.msgpack.encode(part)))
        partial.rename(path)
    except OSError as error:
        with contextlib.suppress(OSError):  # it may be that very disk that refuses
            partial.unlink()
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
    return path


def read(path: Path) -> Part:
    """A part; raises IntegrityError."""
    part: Part = wire.decode_payload(wire.unframe(_MAGIC, path.read_bytes()), Part)
    return part


def take(ws: Workspace, name: str) -> list[str]:
    """Count what lies in a monitor's spool; returns sentences on what a person should know.

    A file that cannot be read is put aside as `.damaged` and named.
    """
    from trimtab.store import states  # noqa: PLC0415 - the writing side has no database

    place, state = folder(ws.root, name), f"spool:{name}"
    taken: list[str] = states.get(ws, state) or []
    # counted by a pass that died before it could remove them, or that may not
    kept = [old for old in taken if not _removed(place / old)]
    said: list[str] = []
    parts: dict[str, Part] = {}
    for path in sorted(place.glob(f"*{_SUFFIX}")):
        if path.name in kept:
            continue
        try:
            parts[path.name] = read(path)
        except IntegrityError as error:
            path.replace(path.with_suffix(".damaged"))
            said.append(f"{name}: {path.name} was put aside: {error.message}")
        except OSError as error:
            said.append(f"{name}: {path} cannot be read and waits: {error.strerror}")
    if not parts and not taken:
        return said
    with ws.transaction():
        for part in parts.values():
            if part.rows:
                _add(ws, name, part)
        newest = max((one.newest for one in parts.values()), default=0)
        known = states.get(ws, f"newest:{name}") or 0
        states.put(ws, f"newest:{name}", max(newest, known))
        states.put(ws, state, [*kept, *parts])
    kept += [old for old in parts if not _removed(place / old)]
    if kept:
        said.append(
            f"{name}: {len(kept)} files are counted and cannot be removed; let the controller's user "
            f"write in {place}"
        )
    lost = sum(one.dropped for one in parts.values())
    if lost:
        said.append(
            f"{name}: {lost:,} rows were dropped: more were logged than could be counted, or they could "
            "not be read, as that server's log says"
        )
    return said + _of_others(ws, name, parts.values())


def _removed(path: Path) -> bool:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _of_others(ws: Workspace, name: str, parts: Iterable[Part]) -> list[str]:
    from trimtab.store import operations  # noqa: PLC0415 - the writing side has no database

    watching = next((one for one in operations.endpoints(ws) if one.name == name), None)
    if watching is None:
        return []
    watched = {route["model"]: route.get("label", "") for route in watching.routes["routes"]}
    rows = sum(one.rows for one in parts if one.model not in watched)
    if not rows:
        return []
    return [
        (
            f"{name}: {rows:,} rows of another version are counted and not judged: the monitor that began "
            f"last watches {', '.join(watched.values())}; give each version's a name of its own"
        )
    ]


def _add(ws: Workspace, name: str, part: Part) -> None:
    from trimtab.store import operations  # noqa: PLC0415 - the writing side has no database

    counted = profiles.decode(part.profile)
    same = operations.windows(ws, endpoint=name, model=part.model, role="champion")
    old = next((one for one in same if one.start == part.start), None)
    if old is not None and old.profile:
        counted = profiles.merge(profiles.decode(ws.blobs.read(old.profile)), counted)
    before = {"inside": True} | (old.features if old else {})
    dropped = int(before.get("dropped", 0)) + part.dropped
    operations.save_window(
        ws,
        Window(
            endpoint=name,
            model=part.model,
            role="champion",
            start=part.start,
            end=part.end,
            rows=part.rows + (old.rows if old else 0),
            profile=ws.blobs.put(profiles.encode(counted)),
            findings=old.findings if old else [],
            features=before | ({"dropped": dropped} if dropped else {}),
            judged_at=old.judged_at if old else 0,
        ),
    )
