"""The folder of an endpoint: what it is told in `endpoint.json`, what it tells in `state.json`.

Both are replaced whole, so a reader never sees half of one. Light: no model is loaded.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal

import msgspec

from trimtab.access import AuthConfig, LimitsConfig
from trimtab.errors import NotFoundError, UsageError

SETTINGS: Final = "endpoint.json"
STATE: Final = "state.json"
STOP_SECONDS: Final = 10
DRAIN_SECONDS: Final = 2.0


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`endpoint.json`. `log` is a folder, absolute or in the endpoint's own; port 0 picks one.

    `workers` is the number of processes that answer. `sticky` names the header or the column whose
    value keeps a request on one route.
    """

    name: str
    project: str = ""
    host: str = "127.0.0.1"
    port: int = 0
    event_time: Literal["server", "client"] = "server"
    log: str = "log"
    workers: int = 1
    pii: dict[str, Literal["drop", "hash", "mask"]] = {}
    invalid: dict[str, Literal["reject", "impute", "flag"]] = {}
    sample: dict[str, float] = {}
    disk_full: Literal["refuse", "drop"] = "refuse"
    sticky: str = ""
    allow_python: bool = False
    auth: AuthConfig = AuthConfig()
    limits: LimitsConfig = LimitsConfig()


class State(msgspec.Struct, frozen=True, kw_only=True):
    """`state.json`. `pid` is 0 once the endpoint has stopped; `pid_started` is of `process`.

    `error` is why the newest routes are not served; those of `routes_version` are. `gone` says that
    it is a retired endpoint's, which has no model and refused so many requests (`refused`).
    """

    pid: int
    pid_started: float
    host: str
    port: int
    ready: bool
    routes_version: int = 0
    error: str = ""
    gone: bool = False
    refused: int = 0


def write_settings(folder: Path, settings: Settings) -> None:
    """Write `endpoint.json` for an endpoint that is to be started."""
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / SETTINGS, msgspec.json.format(msgspec.json.encode(settings), indent=1))


def read_settings(folder: Path) -> Settings:
    """`endpoint.json`; raises NotFoundError, or UsageError where it is malformed."""
    path = folder / SETTINGS
    try:
        return msgspec.json.decode(path.read_bytes(), type=Settings)
    except FileNotFoundError:
        raise NotFoundError(f"there is no endpoint at {folder}: it has no {SETTINGS}") from None
    except msgspec.MsgspecError as error:
        raise UsageError(f"{path} cannot be read: {error}") from error


def write_state(folder: Path, state: State) -> None:
    """Replace `state.json`."""
    _replace(folder / STATE, msgspec.json.encode(state))


def read_state(folder: Path) -> State | None:
    """The last state an endpoint wrote, None before its first."""
    try:
        return msgspec.json.decode((folder / STATE).read_bytes(), type=State)
    except FileNotFoundError:
        return None


def stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes whenever a file is replaced; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _replace(path: Path, data: bytes) -> None:
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    staged.write_bytes(data)
    staged.replace(path)
