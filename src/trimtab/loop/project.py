"""A project at work: its file, its folder and its open store; and the configuration in force.

Controller and monitor never read the working tree: `apply` stores the parsed file as an artifact
and moves a ref, and `applied` is what they go by.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from trimtab import config as project_file
from trimtab import ids
from trimtab.config import Config
from trimtab.errors import NotFoundError
from trimtab.loop.reports import Applied
from trimtab.store import artifacts, refs
from trimtab.store.records import Artifact
from trimtab.store.workspace import Workspace, open_workspace

_REF = ("config", "applied")


@dataclass(frozen=True)
class Project:
    """A project file and the workspace that belongs to it."""

    path: Path
    config: Config
    ws: Workspace

    @property
    def folder(self) -> Path:
        """The folder of the project file."""
        return self.path.parent

    def applied(self) -> Project:
        """The same project under the configuration in force; raises NotFoundError before the first."""
        return replace(self, config=applied(self.ws))

    def in_force(self) -> Project:
        """The same under the configuration in force; before the first `apply` the file is what there is."""
        try:
            return self.applied()
        except NotFoundError:
            return self


def open_project(start: Path | None = None) -> Project:
    """The project of a folder or of one above it; raises NotFoundError or ConfigError."""
    path = project_file.find(start)
    return opened(path, project_file.load(path))


def opened(path: Path, config: Config) -> Project:
    """The project of a file that was read already."""
    ws = open_workspace(path.parent, config.project.name, url=config.store.url)
    return Project(path=path, config=config, ws=ws)


def apply(project: Project) -> Applied:
    """Make the project file's present content the configuration in force."""
    ws, config = project.ws, project.config
    data = config.written
    blob = ws.blobs.put(data)
    changed = refs.get(ws, *_REF) != blob
    if changed:
        with ws.transaction():
            artifacts.record(
                ws, Artifact(digest=blob, kind="config", size=len(data), created_at=ids.now())
            )
            refs.move(ws, *_REF, blob)
    return Applied(digest=config.digest, changed=changed)


def applied(ws: Workspace) -> Config:
    """The configuration in force; raises NotFoundError before the first `apply`."""
    digest = refs.get(ws, *_REF)
    if not digest:
        raise NotFoundError(
            "no configuration is in force yet",
            hint="`trimtab apply`, `run`, `deploy` or `up` does it",
        )
    return msgspec.json.decode(ws.blobs.read(digest), type=Config)
