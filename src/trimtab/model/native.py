"""Fitted scikit-learn estimators as bytes and back, by skops and never by pickle.

Only classes of scikit-learn, NumPy, SciPy, LightGBM and XGBoost (and the few functions named here)
are built from a file; any other type is refused by name, when written and when read. The same
estimator gives the same bytes in every process.
"""

from __future__ import annotations

import importlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import skops.io

from trimtab.errors import IntegrityError, RefusedError

HOUSES: Final = ("sklearn.", "numpy.", "scipy.", "lightgbm.", "xgboost.")
# Functions could be called with bytes of the file as arguments, so they are named one by one.
_FUNCTIONS: Final = frozenset(
    {
        "collections.OrderedDict",
        "functools.partial",
        "sklearn.utils.validation.check_array",
        "scipy._lib.array_api_compat.numpy._aliases.asarray",
    }
)
# Parts of the houses that no fitted estimator is of: what they have reads, writes, listens or builds.
_ASIDE: Final = frozenset(
    {"__main__", "_testing", "callback", "collective", "conftest", "dask", "datasets", "distutils"}
    | {"f2py", "federated", "io", "lib", "memmap", "odr", "spark", "testing", "tests", "tracker"}
)
_METRICS: Final = "sklearn.metrics."
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


def dumps(estimator: Any) -> bytes:
    """An estimator as a skops file; raises RefusedError for a type that `loads` would refuse."""
    try:
        data = skops.io.dumps(estimator)
    except Exception as error:  # skops lets through whatever __reduce__ or JSON raises
        raise RefusedError(
            f"{type(estimator).__name__} cannot be stored without pickle: {error}",
            hint="replace lambdas and local functions inside the estimator by named transformers",
        ) from error
    data = _canonical(data)
    trusted_types(data)
    return data


def loads(data: bytes) -> Any:
    """The estimator of a skops file.

    Raises RefusedError naming the first type outside the allow-list, IntegrityError where the
    bytes are no skops file.
    """
    trusted = trusted_types(data)
    try:
        return skops.io.loads(data, trusted=trusted)
    except RefusedError:
        raise
    except Exception as error:  # a damaged file fails in any of skops' node classes
        raise IntegrityError(f"the stored estimator cannot be rebuilt: {error}") from error


def load(path: Path) -> Any:
    """`loads` of a file."""
    return loads(path.read_bytes())


def trusted_types(data: bytes) -> list[str]:
    """The types of a skops file that need trust, all of which have it; raises RefusedError."""
    try:
        asked: list[str] = skops.io.get_untrusted_types(data=data)
    except Exception as error:
        raise IntegrityError(f"the stored estimator is not a skops file: {error}") from error
    for name in asked:
        if not is_trusted(name):
            raise RefusedError(
                f"the estimator holds {name}, which trimtab does not build from a file",
                hint="use estimators and transformers of scikit-learn, LightGBM or XGBoost; "
                "code of your own belongs into the rows before the fit",
            )
    return asked


def is_trusted(name: str) -> bool:
    """Whether a type may be built from a file, by its full name."""
    if name in _FUNCTIONS:
        return True
    if not name.startswith(HOUSES) or not _ASIDE.isdisjoint(name.split(".")):
        return False
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return False
    if isinstance(found, np.ufunc):
        return True
    # Where it was made counts, not where it is imported: a house has names such as Popen in its modules.
    home = f"{getattr(found, '__module__', '')}.{getattr(found, '__name__', '')}"
    if isinstance(found, type):
        return home.startswith(HOUSES) and _ASIDE.isdisjoint(home.split("."))
    is_public = not attribute.startswith("_") and callable(found)
    return is_public and name.startswith(_METRICS) and home.startswith(_METRICS)


def _canonical(data: bytes) -> bytes:
    """Number objects by their first appearance where skops writes memory addresses and the hour."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        schema = json.loads(archive.read("schema.json"))
        names: dict[Any, int] = {}
        files: dict[str, str] = {}
        _renumber(schema, names, files)
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as target:
            for old, new in files.items():
                target.writestr(zipfile.ZipInfo(new, _EPOCH), archive.read(old))
            text = json.dumps(schema, separators=(",", ":"))
            target.writestr(zipfile.ZipInfo("schema.json", _EPOCH), text)
    return out.getvalue()


def _renumber(node: Any, names: dict[Any, int], files: dict[str, str]) -> None:
    if isinstance(node, list):
        for child in node:
            _renumber(child, names, files)
    if not isinstance(node, dict):
        return
    if isinstance(node.get("__id__"), int):
        # Whether two equal texts or numbers are one object depends on the interpreter's caches.
        json_text = (node["__class__"], node["content"]) if node.get("is_json") else None
        node["__id__"] = names.setdefault(json_text or node["__id__"], len(names))
    if isinstance(node.get("file"), str):
        suffix = Path(node["file"]).suffix
        node["file"] = files.setdefault(node["file"], f"{len(files)}{suffix}")
    for child in node.values():
        _renumber(child, names, files)
