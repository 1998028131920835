"""Where a run's row, documents and artifacts go: into the store at once, or into a spool for later.

The store is loaded only where it is the home: a machine that writes spools needs neither a database
nor numpy.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from trimtab import config, ids
from trimtab.errors import NotFoundError, UsageError
from trimtab.store.blobs import Blobs, LocalBlobs
from trimtab.store.records import Artifact, Run
from trimtab.track import process
from trimtab.track.spool import Begin, Spool

if TYPE_CHECKING:  # see above
    from trimtab.store.workspace import Workspace

SPOOL: Final = "TRIMTAB_SPOOL"
FOLDER: Final = "trimtab-spool"


class Home(Protocol):
    """What a run that has begun writes to beside its points; a change is durable when it returns."""

    blobs: Blobs
    folder: Path
    project: str

    def add(self, run: str, params: dict[str, Any], tags: dict[str, Any]) -> Run | None:
        """Add params and tags to what the run has; the run as it is then, where that is known.

        Raises UsageError where a param would change.
        """
        ...

    def link(self, run: str, direction: str, name: str, artifact: Artifact | str) -> None:
        """Note an artifact that the run read or made."""
        ...

    def end(self, run: str, end: Mapping[str, Any]) -> None:
        """End a run whose spool does not say so: its fields."""
        ...


class StoreHome:
    """A workspace: rows are there when the call returns."""

    def __init__(self, ws: Workspace) -> None:
        # The database, only where it is the home.
        from trimtab.track import merge  # noqa: PLC0415

        self.ws = ws
        self.blobs: Blobs = ws.blobs
        self.folder = ws.root / merge.FOLDER
        self.project = ws.project_name

    def begin(self, run: Run) -> Run:
        """Store the run's row."""
        from trimtab.store import runs  # noqa: PLC0415 - see above

        runs.record(self.ws, run)
        return run

    def add(self, run: str, params: dict[str, Any], tags: dict[str, Any]) -> Run | None:
        """Add to the run's row, which another process may have changed."""
        from trimtab.store import runs  # noqa: PLC0415 - see above

        return runs.add(self.ws, run, params=params, tags=tags)

    def link(self, run: str, direction: Any, name: str, artifact: Artifact | str) -> None:
        """Note the artifact and the link."""
        from trimtab.store import artifacts, runs  # noqa: PLC0415 - see above

        if isinstance(artifact, Artifact):
            artifacts.record(self.ws, artifact)
            artifact = artifact.digest
        runs.link(self.ws, run, direction, name, artifact)

    def end(self, run: str, end: Mapping[str, Any]) -> None:
        """End the run's row where it goes on."""
        from trimtab.store import outside, runs  # noqa: PLC0415 - see above

        fields = {name: value for name, value in end.items() if name not in {"status", "lost"}}
        with self.ws.transaction():
            runs.finish(self.ws, run, end["status"], **fields)
            outside.note_run(self.ws, run)

    def tidy(self, run: str) -> None:
        """Put the run's points in order where they came in many batches."""
        from trimtab.store.series import compaction  # noqa: PLC0415 - see above

        compaction.tidy(self.ws, run=run)


class SpoolHome:
    """A folder of spools, with the bytes of artifacts beside them."""

    def __init__(self, folder: Path, project: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder.resolve()
        self.blobs: Blobs = LocalBlobs(self.folder)
        self.project = project
        self.spool: Spool | None = None

    def begin(self, run: Run, *, resumes: bool = False) -> Run:
        """Open the run's spool, which begins with its row."""
        self.spool = Spool(self.folder, begin_of(run, self.project, resumes=resumes))
        if run.environment:
            self._write(blobs=[run.environment])
        return run

    def add(self, run: str, params: dict[str, Any], tags: dict[str, Any]) -> Run | None:
        """Add to the spool."""
        given = {"params": params, "tags": tags}
        self._write(**{name: values for name, values in given.items() if values})
        return None

    def link(self, run: str, direction: str, name: str, artifact: Artifact | str) -> None:
        """Add to the spool; the bytes travel beside it where they are here."""
        digest = artifact if isinstance(artifact, str) else artifact.digest
        link = {"direction": direction, "name": name, "digest": digest}
        fields: dict[str, Any] = {"link": link}
        if isinstance(artifact, Artifact):
            fields["artifact"] = msgspec.to_builtins(artifact)
        if self.blobs.has(digest):
            fields["blobs"] = [digest]
        self._write(**fields)

    def end(self, run: str, end: Mapping[str, Any]) -> None:
        """Nothing: the spool says so."""

    def _write(self, **fields: Any) -> None:
        if self.spool is not None:
            self.spool.document(**fields)


def begin_of(run: Run, project: str, *, main: bool = True, resumes: bool = False) -> Begin:
    """What a spool of this process opens with."""
    return Begin(
        spool=ids.new_id(),
        run=plain(msgspec.structs.asdict(run)),
        project=project,
        main=main,
        resumes=resumes,
        process=process.mark(),
        pid=os.getpid(),
    )


def plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """Only what MessagePack and JSON hold: a number of numpy's is that number; a value of another
    foreign kind, a number of more than 64 bits and a key are their text. Raises UsageError for what
    has no names, and for text that is no Unicode.
    """
    try:
        found: dict[str, Any] = msgspec.to_builtins(dict(value), enc_hook=_plain, str_keys=True)
        try:
            msgspec.msgpack.encode(found)
        except OverflowError:
            found = {name: _short(one) for name, one in found.items()}
            msgspec.msgpack.encode(found)
    except UnicodeEncodeError as error:
        raise UsageError(f"params and tags are Unicode text: {error}") from error
    except (TypeError, ValueError) as error:
        raise UsageError(f"params and tags are values by their names: {error}") from error
    return found


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _short(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_short(one) for one in value]
    is_long = isinstance(value, int) and not -(1 << 63) <= value < 1 << 64
    return str(value) if is_long else value


def _plain(value: Any) -> Any:
    is_number = hasattr(value, "dtype") and getattr(value, "ndim", None) == 0
    found = value.item() if is_number else None
    return found if isinstance(found, (bool, int, float)) else str(value)


def spool_folder(asked: bool | str | Path | None) -> Path | None:
    """The folder to spool to: `offline`'s, else that of `TRIMTAB_SPOOL`; None where online."""
    if asked is False:
        return None
    if isinstance(asked, (str, Path)):
        return Path(asked)
    named = os.environ.get(SPOOL, "")
    if asked and not named:
        return Path.cwd() / FOLDER
    return Path(named) if named else None


def project_name(folder: Path) -> str:
    """The name of the project around a folder, "" where there is none."""
    try:
        return config.load(config.find(folder)).project.name
    except (NotFoundError, UsageError):
        return ""
