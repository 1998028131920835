"""Python code that a package carries: read from its own files, and only where that is allowed.

Modules of two packages may have the same names and live in one process. Nothing is written beside
the files, so that their digest stays.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.errors import IntegrityError, ModelError, NotFoundError, RefusedError
from trimtab.model.shaping import shaped
from trimtab.model.signature import Signature

FOLDER: Final = "code"
FILE: Final = "function.json"
FORMAT: Final = 1

Function = Callable[[Mapping[str, NDArray[Any]]], Any]
_importing: Final = threading.RLock()  # sys.modules and sys.meta_path belong to the whole process


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """`call` is `module:function` below the package's folder of code."""

    call: str
    format: int = FORMAT


def read(folder: Path) -> Entry:
    """What a package calls; raises NotFoundError or IntegrityError."""
    path = folder / FILE
    if not path.is_file():
        raise NotFoundError(f"{folder} is no package of a function: it has no {FILE}")
    try:
        entry = msgspec.json.decode(path.read_bytes(), type=Entry)
    except msgspec.MsgspecError as error:
        raise IntegrityError(f"{FILE} of the model package cannot be read: {error}") from error
    if entry.format > FORMAT:
        raise IntegrityError(f"{FILE} has format {entry.format}, known here is {FORMAT}")
    return entry


def runner(
    folder: Path, signed: Signature, *, allow: bool
) -> Callable[[Mapping[str, NDArray[Any]]], NDArray[np.float32]]:
    """Columns to float32 scores; raises RefusedError without `allow`, ModelError where it fails."""
    entry = read(folder)
    if not allow:
        raise RefusedError(
            f"this package runs Python code of its own ({entry.call})",
            hint="where you trust it: [serve] allow_python = true",
        )
    function = load(folder / FOLDER, entry.call)

    def run(columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        return answers(function, columns, signed).astype(np.float32)

    return run


def answers(
    function: Function, columns: Mapping[str, NDArray[Any]], signed: Signature
) -> NDArray[np.float64]:
    """The function's scores in the shape of the signature; raises ModelError for any other."""
    rows = len(next(iter(columns.values())))
    found = np.asarray(function({c.name: columns[c.name] for c in signed.inputs}))
    if found.dtype.kind not in "fiub":
        raise ModelError(f"the function returns {found.dtype} and not numbers")
    return shaped(found.astype(np.float64), signed, rows)


def load(folder: Path, call: str) -> Function:
    """The function `module:name` of the code in `folder`; raises ModelError."""
    module, _, name = call.partition(":")
    try:
        with _modules_of(folder):
            found: Any = importlib.import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
    except Exception as error:  # the code may raise anything
        raise ModelError(
            f"the package's code cannot be loaded: {call}: {type(error).__name__}: {error}",
            hint="it needs the libraries that it imports; name data files that it reads in files=",
        ) from error
    if not callable(found):
        raise ModelError(f"{call} is no function")
    return found


@contextmanager
def _modules_of(folder: Path) -> Iterator[None]:
    """Import from `folder` first, and leave no module of it behind under its name."""
    own = {path.name.removesuffix(".py") for path in folder.iterdir()}
    finder = _Finder(folder)
    with _importing:
        kept = _taken(own)
        sys.meta_path.insert(0, finder)
        try:
            yield
        finally:
            sys.meta_path.remove(finder)
            _taken(own)
            sys.modules.update(kept)


def _taken(tops: set[str]) -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name.partition(".")[0] in tops]
    return {name: sys.modules.pop(name) for name in names}


class _Finder(MetaPathFinder):
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module in the folder, None where it is not there."""
        base = self.folder.joinpath(*fullname.split("."))
        for file, inside in ((base / "__init__.py", [str(base)]), (base.with_suffix(".py"), None)):
            if file.is_file():
                return spec_from_file_location(
                    fullname,
                    file,
                    loader=_Source(fullname, str(file)),
                    submodule_search_locations=inside,
                )
        if base.is_dir():
            spec = ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [str(base)]
            return spec
        return None


class _Source(SourceLoader):
    """Compiles the file; a loader of Python's own would write bytecode beside it."""

    def __init__(self, name: str, path: str) -> None:
        self.name, self.path = name, path

    def get_filename(self, fullname: str) -> str:
        """The file's path."""
        return self.path

    def get_data(self, path: str) -> bytes:
        """The bytes of a file."""
        return Path(path).read_bytes()
