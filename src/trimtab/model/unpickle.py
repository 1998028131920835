"""Pickled estimators, read only where a person allows it, in a process that is there for nothing else.

Only what a fitted estimator is made of is built: types of scikit-learn, NumPy, SciPy, LightGBM and
XGBoost and the constructors named here. Anything else that a file asks for is refused by name before
it is called. A pickle stays a program: allow one only from whom you would run code of.
"""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any, Final

from trimtab.errors import ModelError, RefusedError
from trimtab.model.native import HOUSES, is_trusted

_BUILDERS: Final = frozenset(
    {
        *(f"builtins.{name}" for name in ("object", "set", "frozenset", "slice", "complex")),
        *(f"builtins.{name}" for name in ("bytearray", "int", "float", "bool", "str", "range")),
        "_codecs.encode",
        "copyreg._reconstructor",
        "collections.OrderedDict",
        "collections.defaultdict",
        *(f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core")),
        *(f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")),
        *(f"numpy.{core}.numeric._frombuffer" for core in ("core", "_core")),
        *(f"numpy.random._pickle.__{kind}_ctor" for kind in ("randomstate", "generator")),
        "numpy.random._pickle.__bit_generator_ctor",
        "sklearn.metrics._dist_metrics.newObj",
        "sklearn.neighbors._kd_tree.newObj",
        "sklearn.neighbors._ball_tree.newObj",
    }
)
_CYTHON: Final = "__pyx_unpickle_"


def load(path: Path) -> Any:
    """The estimator of a pickle; raises RefusedError for what it must not build, ModelError."""
    try:
        with path.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of versions: the gate measures what it answers
            return _Careful(stream).load()
    except RefusedError:
        raise
    except Exception as error:  # a damaged or foreign pickle raises anything
        raise ModelError(
            f"the pickle cannot be read: {type(error).__name__}: {str(error)[:200]}",
            hint="it needs the versions of the libraries that it was written with",
        ) from error


def _is_type(wanted: str, name: str) -> bool:
    """Whether a name is a trusted type, or what Cython makes one of such a type with."""
    if "." in name:
        return False
    return is_trusted(wanted) or (wanted.startswith(HOUSES) and name.startswith(_CYTHON))


class _Careful(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        wanted = f"{module}.{name}"
        if wanted not in _BUILDERS and not _is_type(wanted, name):
            raise RefusedError(
                f"the pickle builds {wanted[:200]}, which no fitted estimator is made of",
                hint="use estimators and transformers of scikit-learn, LightGBM or XGBoost; "
                "code of your own belongs into the rows before the fit",
            )
        return super().find_class(module, name)
