"""What a running step may know of its run: the workspace, the configuration, and what it read."""

from __future__ import annotations

import builtins
import inspect
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from trimtab.config import Config
from trimtab.pipeline import planning
from trimtab.store.workspace import Workspace

_IGNORED: Final = ("site-packages", ".trimtab", "__pycache__", "dist-packages")


@dataclass
class Context:
    """One execution of a step. `observed` fills as the step reads variables and files."""

    ws: Workspace
    config: Config
    folder: Path
    run: str
    key: str
    say: Callable[[str, dict[str, Any]], None]
    observed: dict[str, str] = field(default_factory=dict)


_running: ContextVar[Context | None] = ContextVar("running", default=None)
_lock = threading.Lock()


def current() -> Context | None:
    """The context of the step that runs here, None in a plain call."""
    return _running.get()


@contextmanager
def entered(context: Context) -> Iterator[Context]:
    """Run a block as the body of a step, noting what it reads beside its inputs."""
    token = _running.set(context)
    try:
        with _watching(context):
            yield context
    finally:
        _running.reset(token)


@contextmanager
def _watching(context: Context) -> Iterator[None]:
    """Note environment variables and the project's files that are read while the block runs."""
    with _lock:
        real_open, real_get = builtins.open, type(os.environ).__getitem__

        def noting_open(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            opened = real_open(file, mode, *args, **kwargs)
            if "r" in mode and "+" not in mode:
                _note_file(context, file)
            return opened

        def noting_get(environ: Any, key: str) -> str:
            if _is_users(context):
                context.observed[f"env:{key}"] = planning.current(f"env:{key}")
            return real_get(environ, key)

        builtins.open = noting_open
        type(os.environ).__getitem__ = noting_get  # type: ignore[method-assign]
        try:
            yield
        finally:
            builtins.open = real_open
            type(os.environ).__getitem__ = real_get  # type: ignore[method-assign]


def _note_file(context: Context, file: Any) -> None:
    if not isinstance(file, str | os.PathLike):
        return
    path = Path(os.fsdecode(file)).resolve()
    if set(_IGNORED) & set(path.parts) or not path.is_relative_to(context.folder):
        return
    if path.suffix not in (".py", ".pyc"):
        context.observed[f"file:{path}"] = planning.current(f"file:{path}")


def _is_users(context: Context) -> bool:
    """Whether the nearest caller outside of the standard library's os module is project code."""
    frame = inspect.currentframe()
    passing = ("os.py", "_collections_abc.py", str(Path(__file__).name))
    while frame is not None and frame.f_code.co_filename.endswith(passing):
        frame = frame.f_back
    if frame is None:
        return False
    return Path(frame.f_code.co_filename).is_relative_to(context.folder) and not (
        {"site-packages", ".venv"} & set(Path(frame.f_code.co_filename).parts)
    )
