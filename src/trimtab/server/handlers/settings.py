"""The project file: as it is read, and its schema."""

from __future__ import annotations

from trimtab import config
from trimtab.loop.project import Project
from trimtab.server import requests as asked
from trimtab.server.answers import ConfigSchema, ConfigShown


def show(project: Project, request: asked.Nothing) -> ConfigShown:
    """The project file with defaults filled in."""
    return ConfigShown(path=str(project.path), digest=project.config.digest, config=project.config)


def schema(project: Project, request: asked.Nothing) -> ConfigSchema:
    """The JSON schema of the project file."""
    return ConfigSchema(schema=config.schema())
