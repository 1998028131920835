"""The project that a server works on: opened once, its file read again when it changes."""

from __future__ import annotations

import threading
from dataclasses import replace

from trimtab import config as project_file
from trimtab.errors import TrimtabError
from trimtab.loop.project import Project


class Opened:
    """A project whose file may be edited while it is open."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._seen = self._stamp()
        self._lock = threading.Lock()

    def current(self) -> Project:
        """The project as its file says now; raises ConfigError where that cannot be read."""
        with self._lock:
            stamp = self._stamp()
            if stamp != self._seen:
                config = project_file.load(self._project.path)
                self._project, self._seen = replace(self._project, config=config), stamp
            return self._project

    def last(self) -> tuple[Project, TrimtabError | None]:
        """The project as its file last could be read, and what is wrong with the file now."""
        try:
            return self.current(), None
        except TrimtabError as error:
            return self._project, error

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self._project.path.stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
