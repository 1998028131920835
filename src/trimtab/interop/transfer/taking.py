"""Taking runs in: from a source into the store, each thing once, however often and wherever it is cut."""

from __future__ import annotations

from pathlib import Path

from trimtab.errors import DataError, NotFoundError, TrimtabError
from trimtab.interop.transfer import taking_models, taking_runs
from trimtab.interop.transfer.intake import Taking
from trimtab.interop.transfer.source import ODD, Skip, Source


def open_source(text: str, skip: Skip, *, artifacts: Path | None = None) -> Source:
    """The source that an address or a path names; raises NotFoundError, DataError, StorageError."""
    # each brings its own libraries
    if text.startswith(("http://", "https://")):
        from trimtab.interop.transfer.remote import Remote  # noqa: PLC0415

        return Remote(text, skip)
    path = Path(text.removeprefix("mlruns:")).expanduser()
    if path.is_dir():
        from trimtab.interop.transfer.folder import Folder  # noqa: PLC0415

        return Folder(path, skip)
    if path.is_file():
        from trimtab.interop.transfer.database import Database  # noqa: PLC0415

        return Database(path, skip, artifacts=artifacts)
    raise NotFoundError(
        f"there is no folder or file {path}",
        hint="give the address of a server, http://HOST:PORT, a folder mlruns or a file mlflow.db",
    )


def take(taking: Taking, only: str = "") -> None:
    """Take in a source, or one experiment of it.

    Raises NotFoundError for an experiment that is not there, DataError for a source that cannot be
    read, StorageError where it breaks off: called again it goes on.
    """
    source, tally = taking.source, taking.tally
    try:
        found = [one for one in source.experiments() if only in ("", one.name)]
        if only and not found:
            raise NotFoundError(f"{source.about} has no experiment {only!r}")
        for there in found:
            here = taking_runs.experiment(taking, there)
            if here is None:
                continue
            tally.experiments += 1
            for run, mark in source.runs(there):
                taking_runs.take(taking, there, here, run, mark)
                tally.progress(there.name)
            taking_models.logged(taking, there, here)
            traces = source.traces(there)
            if traces:
                tally.skip("traces", there.name, f"{traces:,} of them: traces are not kept here")
        taking_models.registered(taking)
    except TrimtabError:
        raise
    except ODD as error:
        raise DataError(
            f"{source.about} holds what cannot be read: {type(error).__name__}: {error}"
        ) from error
