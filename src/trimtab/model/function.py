"""A Python function as a model: the files of the project that it needs, found by reading its imports."""

from __future__ import annotations

import ast
import importlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from trimtab.errors import ModelError, NotFoundError, RefusedError
from trimtab.model import code
from trimtab.model.signature import Signature
from trimtab.model.witness import arrays
from trimtab.pipeline import origin

_PICKLES: Final = (".pkl", ".pickle", ".joblib", ".dill", ".pt", ".pth", ".ckpt")


@dataclass(frozen=True, eq=False)
class FunctionCode:
    """`call` (`module:name`), the files below the code's root that it needs, and its signature."""

    call: str
    files: dict[str, bytes]
    signature: Signature

    def write(self, folder: Path) -> None:
        """Write `function.json` and the folder of code."""
        entry = code.Entry(call=self.call)
        (folder / code.FILE).write_bytes(msgspec.json.encode(entry) + b"\n")
        for name, data in self.files.items():
            path = folder / code.FOLDER / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def read(folder: Path, signed: Signature) -> FunctionCode:
    """What `write` wrote; raises NotFoundError or IntegrityError."""
    root = folder / code.FOLDER
    files = {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
    return FunctionCode(call=code.read(folder).call, files=files, signature=signed)


def collect(
    function: str | Callable[..., Any], signed: Signature, *, files: Sequence[str] = ()
) -> FunctionCode:
    """The function with the modules of its project that it imports, and `files` beside them.

    Raises NotFoundError for a file or module that is not there, RefusedError for a pickle, ModelError
    for what cannot be carried: a lambda, a function of an installed library, a late import.
    """
    call = function if isinstance(function, str) else _name(function)
    module, _, name = call.partition(":")
    if not module or not name:
        raise ModelError(f"{call!r} names no function", hint='write "module:function"')
    root = _root(module)
    found: dict[str, bytes] = {}
    _walk(root, module, found)
    for extra in files:
        path = PurePosixPath(extra)
        if path.is_absolute() or ".." in path.parts or not (root / path).is_file():
            raise NotFoundError(f"{extra!r} is no file below {root}")
        if path.suffix in _PICKLES:
            raise RefusedError(
                f"{extra!r} is a pickle, which runs code when it is read",
                hint="keep weights as .npz, .json or .safetensors",
            )
        found[path.as_posix()] = (root / path).read_bytes()
    return FunctionCode(call=call, files=dict(sorted(found.items())), signature=signed)


def check(function: str | Callable[..., Any], carried: FunctionCode, frame: pl.DataFrame) -> None:
    """Raises ModelError where the carried code answers these rows otherwise than the project's."""
    signed = carried.signature
    here = function if callable(function) else _imported(function)
    columns = arrays(frame, signed)
    with tempfile.TemporaryDirectory() as place:
        carried.write(Path(place))
        there = code.load(Path(place) / code.FOLDER, carried.call)
        try:
            expected = code.answers(here, columns, signed)
            got = code.answers(there, columns, signed)
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(
                f"{carried.call} fails on the given rows: {type(error).__name__}: {error}",
                hint="it gets a dictionary of arrays, one per column: NaN and '' are null",
            ) from error
    if not np.array_equal(expected, got, equal_nan=True):
        raise ModelError(
            f"{carried.call} answers otherwise when it is loaded from its own files",
            hint="give answers that depend on the row alone, and name data files in files=",
        )


def asker(folder: Path, signed: Signature) -> Callable[[pl.DataFrame], NDArray[np.float64]]:
    """Prepared rows to scores, by the code in a package's folder; ModelError where it fails."""
    function = code.load(folder / code.FOLDER, code.read(folder).call)

    def ask(frame: pl.DataFrame) -> NDArray[np.float64]:
        try:
            return code.answers(function, arrays(frame, signed), signed)
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(f"the function fails: {type(error).__name__}: {error}") from error

    return ask


def _name(function: Callable[..., Any]) -> str:
    module, name = function.__module__, getattr(function, "__qualname__", "")
    if "<" in name or not name or module == "__main__":
        raise ModelError(
            f"{name or function!r} cannot be found by a name",
            hint="write it as a function at the top of a module of the project",
        )
    return f"{module}:{name}"


def _imported(call: str) -> Any:
    module, _, name = call.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise NotFoundError(f"there is no function {call}: {error}") from error
    return found


def _root(module: str) -> Path:
    """The folder from which the module is imported by its full name."""
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise NotFoundError(f"there is no module {module}: {error}") from error
    file = getattr(found, "__file__", None)
    if not file or not origin.is_project_file(str(file)) or module in sys.stdlib_module_names:
        raise ModelError(
            f"module {module} is no code of the project",
            hint="write a function of your own that calls it",
        )
    path = Path(file).resolve()
    depth = module.count(".") + (path.name == "__init__.py")
    return path.parents[depth]


def _walk(root: Path, module: str, found: dict[str, bytes]) -> None:
    """Add the files of a module, of the packages around it, and of what it imports of the project."""
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        path = _file(root, parts[:depth])
        if path is None or path.relative_to(root).as_posix() in found:
            continue
        data = path.read_bytes()
        found[path.relative_to(root).as_posix()] = data
        here = ".".join(parts[:depth])
        package = here if path.name == "__init__.py" else here.rpartition(".")[0]
        tree = ast.parse(data, filename=str(path))
        late = {id(node) for node in _late(tree)}
        for node in ast.walk(tree):
            for name in _names(node, package):
                if _file(root, name.split(".")) is None:
                    continue
                if id(node) in late:
                    raise ModelError(
                        f"{path.name} imports {name} inside of a function",
                        hint="import code of the project at the top of the module",
                    )
                _walk(root, name, found)


def _file(root: Path, parts: Sequence[str]) -> Path | None:
    base = root.joinpath(*parts)
    return next(
        (x for x in (base / "__init__.py", base.with_suffix(".py")) if parts and x.is_file()), None
    )


def _late(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from ast.walk(node)


def _names(node: ast.AST, package: str) -> Iterator[str]:
    """The full names of modules that an import statement may mean."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*above, *([node.module] if node.module else [])])
        if base:
            yield base
        yield from (f"{base}.{alias.name}" if base else alias.name for alias in node.names)
