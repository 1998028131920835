"""The project that a server works on: opened when it is first asked for, its file read again when it
changes.

Opening it loads the database's library; a server that nobody has asked for anything need not.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab import config as project_file
from trimtab.config import Config
from trimtab.errors import NotFoundError, TrimtabError

if TYPE_CHECKING:  # the database, see above
    from trimtab.loop.project import Project


class Opened:
    """A project whose file may be edited while it is open."""

    def __init__(self, path: Path, config: Config) -> None:
        self.path = path
        self.config = config
        self._project: Project | None = None
        self._seen = self._stamp()
        self._lock = threading.RLock()

    @classmethod
    def of(cls, project: Project) -> Opened:
        """A project that is open already."""
        found = cls(project.path, project.config)
        found._project = project
        return found

    @property
    def is_open(self) -> bool:
        """Whether the project was asked for."""
        return self._project is not None

    def project(self) -> Project:
        """The project, opened; where no configuration is in force, that of the beginning is.

        Raises StorageError, ConflictError or IntegrityError for a store that cannot be opened.
        """
        with self._lock:
            if self._project is None:
                from trimtab.loop import project as projects  # noqa: PLC0415 - the database, see above

                found = projects.opened(self.path, self.config)
                try:
                    projects.applied(found.ws)
                except NotFoundError:
                    projects.apply(found)
                self._project = found
            return self._project

    def current(self) -> Project:
        """The project as its file says now; raises ConfigError where that cannot be read."""
        with self._lock:
            project, stamp = self.project(), self._stamp()
            if stamp != self._seen:
                config = project_file.load(self.path)
                project = self._project = replace(project, config=config)
                self._seen = stamp
            return project

    def last(self) -> tuple[Project, TrimtabError | None]:
        """The project as its file last could be read, and what is wrong with the file now."""
        try:
            return self.current(), None
        except TrimtabError as error:
            return self.project(), error

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
