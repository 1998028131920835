"""Secrets by reference: the project file names where one is and never holds it."""

from __future__ import annotations

import os
from pathlib import Path

from trimtab.errors import ConfigError


def resolve(reference: str, folder: Path) -> bytes:
    """What `env:NAME` or a file (below `folder`, or absolute) holds, without spaces around it.

    Raises ConfigError where there is nothing.
    """
    kind, colon, name = reference.partition(":")
    if colon and kind == "env":
        found = os.environ.get(name, "").strip().encode()
        where = f"the environment variable {name}"
    else:
        path = folder / reference
        found = path.read_bytes().strip() if path.is_file() else b""
        where = f"the file {path}"
    if not found:
        raise ConfigError(f"{where} holds no secret", hint="set it where `trimtab up` runs")
    return found
