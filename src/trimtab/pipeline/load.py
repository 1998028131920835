"""Importing the project's own code: `pipeline:train` from the project folder.

The module must be the project's file: a name that an installed module has already is refused, so
that nothing is shadowed. No bytecode files are written, whose one-second stamps would hide an edit.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from trimtab.errors import NotFoundError, PipelineError, UsageError
from trimtab.pipeline import blame
from trimtab.pipeline import origin as origins
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
    with _importing(folder):
        _refuse_shadowing(name, file)
        try:
            return importlib.import_module(name)
        except Exception as error:
            raise PipelineError(_said(name, error), hint=getattr(error, "hint", "")) from error


def forget(folder: Path) -> None:
    """Drop the folder's modules, so that the next import reads their files again."""
    base = str(folder.resolve())
    for name, module in list(sys.modules.items()):
        file = str(getattr(module, "__file__", None) or "")
        if name == "__main__" or not origins.is_project_file(file):
            continue  # most modules are a library's, and following links takes time
        if Path(file).resolve().is_relative_to(base):
            del sys.modules[name]
    importlib.invalidate_caches()


def _file(name: str, folder: Path) -> Path | None:
    base = folder.joinpath(*name.split("."))
    for candidate in (base.with_name(base.name + ".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate.resolve()
    return None


def _refuse_shadowing(name: str, file: Path) -> None:
    loaded = sys.modules.get(name)
    if loaded is not None:
        origin = getattr(loaded, "__file__", None)
        if origin is None or Path(origin).resolve() != file:
            raise PipelineError(
                f"module {name!r} is loaded already from {origin or 'Python itself'}",
                hint=f"rename {file.name}, or run this in a process of its own",
            )
        return
    top = name.partition(".")[0]
    installed = [path for path in sys.path if origins.is_installed_file(f"{path}/")]
    other = PathFinder.find_spec(top, installed)
    if top in sys.stdlib_module_names or (other is not None and other.origin):
        raise PipelineError(
            f"{file.name} has the name of another module "
            f"({(other and other.origin) or 'Python itself'})",
            hint=f"rename {file.name}",
        )


class _ProjectFinder(MetaPathFinder):
    """Finds top-level modules in one folder, before any other folder but behind Python's own.

    A folder of earlier code has modules of the same names as the project, which may lie on the path.
    """

    folder = ""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module in the folder, None where it is not there."""
        if path is not None or not self.folder or fullname in sys.stdlib_module_names:
            return None
        return PathFinder.find_spec(fullname, [self.folder], target)


_finder: Final = _ProjectFinder()


@contextmanager
def _importing(folder: Path) -> Iterator[None]:
    """Import from the folder, now and later: steps may import when they run."""
    _finder.folder = str(folder.resolve())
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    if _finder.folder not in sys.path:
        sys.path.append(_finder.folder)  # for processes that steps start
    with without_bytecode():
        yield


@contextmanager
def without_bytecode() -> Iterator[None]:
    """Import and leave no bytecode: an edit of the same second and length would go unseen."""
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
