"""`routes.json` of an endpoint: which packages answer, with which share. Light: no model is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import msgspec

from trimtab.errors import UsageError

FILE: Final = "routes.json"

Role = Literal["champion", "canary", "shadow"]


class RouteSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model at an endpoint: its package's digest, name and folder (absolute, or in the
    endpoint's folder), and its share of the traffic.
    """

    role: Role
    model: str
    label: str
    folder: str
    weight: float = 1.0


class RoutesFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`routes.json`. Weights count relative to their sum; `shadow` models answer nobody."""

    version: int
    name: str
    routes: tuple[RouteSpec, ...]
    shadow: tuple[RouteSpec, ...] = ()


def read(folder: Path) -> RoutesFile | None:
    """The routes of an endpoint's folder, None before any; raises UsageError where malformed."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=RoutesFile)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise UsageError(f"{folder / FILE} cannot be read: {error}") from error


def write(folder: Path, routes: RoutesFile) -> None:
    """Replace `routes.json` atomically; raises OSError."""
    staged = folder / f".{FILE}.new"
    staged.write_bytes(msgspec.json.format(msgspec.json.encode(routes), indent=1))
    staged.replace(folder / FILE)
