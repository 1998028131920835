"""Importing the project's own code: `pipeline:train` from the project folder.

The module must be the project's file: a name that an installed module has already is refused, so
that nothing is shadowed. No bytecode files are written, whose one-second stamps would hide an edit.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from trimtab.errors import NotFoundError, PipelineError, UsageError
from trimtab.pipeline import blame
from trimtab.pipeline.flow import Flow


def load_flow(reference: str, folder: Path, *, fresh: bool = False) -> Flow[..., Any]:
    """The flow that `module:attribute` names in `folder`.

    With `fresh` the folder's modules are imported anew. Raises NotFoundError for a missing module
    or attribute, PipelineError for one that cannot be imported or is no flow.
    """
    name, colon, attribute = reference.partition(":")
    if not (name and colon and attribute):
        raise UsageError(
            f"{reference!r} does not name a flow",
            hint="write it as MODULE:FUNCTION: pipeline:train",
        )
    if fresh:
        forget(folder)
    module = load_module(name, folder)
    found: Any = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if isinstance(found, Flow):
        return found
    flows = [key for key, value in vars(module).items() if isinstance(value, Flow)]
    if found is not None:
        raise PipelineError(
            f"{reference} is a {type(found).__name__}, not a flow", hint="decorate it with @flow"
        )
    near = difflib.get_close_matches(attribute, flows, n=1)
    raise NotFoundError(
        f"{name}.py has no flow {attribute!r}" + (f", did you mean {near[0]!r}?" if near else ""),
        hint=f"flows in it: {', '.join(flows) or 'none'}",
    )


def load_module(name: str, folder: Path) -> ModuleType:
    """Import a module of `folder` by its dotted name."""
    file = _file(name, folder)
    if file is None:
        here = sorted(path.stem for path in folder.glob("*.py"))
        near = difflib.get_close_matches(name, here, n=1)
        raise NotFoundError(
            f"there is no module {name!r} in {folder}"
            + (f", did you mean {near[0]!r}?" if near else ""),
            hint=f"modules there: {', '.join(here) or 'none'}",
        )
    with _on_path(folder):
        _refuse_shadowing(name, file)
        try:
            return importlib.import_module(name)
        except Exception as error:
            raise PipelineError(_said(name, error), hint=getattr(error, "hint", "")) from error


def forget(folder: Path) -> None:
    """Drop the folder's modules, so that the next import reads their files again."""
    base = str(folder.resolve())
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        inside = file and Path(file).resolve().is_relative_to(base)
        if inside and "site-packages" not in str(file) and name != "__main__":
            del sys.modules[name]
    importlib.invalidate_caches()


def _file(name: str, folder: Path) -> Path | None:
    base = folder.joinpath(*name.split("."))
    for candidate in (base.with_name(base.name + ".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate.resolve()
    return None


def _refuse_shadowing(name: str, file: Path) -> None:
    top = name.partition(".")[0]
    loaded = sys.modules.get(name)
    if loaded is not None:
        origin = getattr(loaded, "__file__", None)
        if origin is None or Path(origin).resolve() != file:
            raise PipelineError(
                f"module {name!r} is loaded already from {origin or 'Python itself'}",
                hint=f"rename {file.name}, or run this in a process of its own",
            )
        return
    spec = importlib.util.find_spec(name)
    found = spec.origin if spec else None
    if top in sys.stdlib_module_names or found is None or Path(found).resolve() != file:
        raise PipelineError(
            f"{file.name} has the name of another module ({found or 'Python itself'})",
            hint=f"rename {file.name}",
        )


@contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    """The folder on the import path, where it stays: steps may import late.

    It goes behind Python's own modules, so that a file named like one of those shadows nothing,
    and before the installed ones.
    """
    entry = str(folder.resolve())
    if entry not in sys.path:
        places = (at for at, path in enumerate(sys.path) if "site-packages" in path)
        sys.path.insert(next(places, len(sys.path)), entry)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _said(name: str, error: Exception) -> str:
    if isinstance(error, SyntaxError):
        place = f"{Path(error.filename or name).name}:{error.lineno}"
        return f"{place} cannot be read: {error.msg}"
    where = blame.line(error.__traceback__)
    place = f" at {where}" if where else ""
    return f"module {name!r} cannot be imported{place}: {type(error).__name__}: {error}"
