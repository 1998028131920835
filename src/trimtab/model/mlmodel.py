"""What MLflow writes beside a model: the file `MLmodel` with its flavours and the columns it takes.

It is somebody else's text: what it says is checked against the files and the data, and a path in it
never leads out of the folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from trimtab.errors import DataError, ModelError
from trimtab.model.signature import Kind

FILE: Final = "MLmodel"
MAX_BYTES: Final = 1 << 20
MAX_COLUMNS: Final = 10_000
_KINDS: Final[dict[str, Kind]] = {
    "integer": "number",
    "long": "number",
    "float": "number",
    "double": "number",
    "boolean": "boolean",
    "string": "text",
}
_HINT: Final = "log it with signature=infer_signature(X, model.predict(X)) of a table"


class Declared(msgspec.Struct, frozen=True):
    """A column that a model says it takes."""

    name: str
    kind: Kind


class MlModel(msgspec.Struct, frozen=True, kw_only=True):
    """`flavors` are MLflow's own entries; `columns` are empty where the model names none."""

    flavors: dict[str, dict[str, Any]]
    columns: tuple[Declared, ...] = ()
    client: str = ""


def read(folder: Path) -> MlModel:
    """The `MLmodel` of a folder; raises ModelError where it is none or cannot be served."""
    path = folder / FILE
    if not path.is_file():
        raise ModelError(
            f"the files have no {FILE} at their top, so they are no model of MLflow's",
            hint="register what log_model logged",
        )
    if path.stat().st_size > MAX_BYTES:
        raise ModelError(f"{FILE} is longer than {MAX_BYTES:,} bytes")
    try:
        found = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a text that is no UTF-8 too
        said = str(error).strip().partition("\n")[0]
        raise ModelError(f"{FILE} cannot be read: {said or type(error).__name__}") from error
    flavors = found.get("flavors") if isinstance(found, dict) else None
    if not isinstance(flavors, dict) or not flavors:
        raise ModelError(f"{FILE} names no flavors", hint="register what log_model logged")
    return MlModel(
        flavors={str(name): one for name, one in flavors.items() if isinstance(one, dict)},
        columns=_columns(found.get("signature")),
        client=text(found.get("mlflow_version")),
    )


def inside(folder: Path, said: Any) -> Path:
    """The file that an entry names, in the folder; raises ModelError for any other."""
    name = text(said)
    parts = Path(name).parts
    is_odd = not name or "\0" in name or "\\" in name or ".." in parts or Path(name).is_absolute()
    path = folder / name if not is_odd else folder
    if is_odd or path.is_symlink() or not path.resolve().is_relative_to(folder.resolve()):
        raise ModelError(f"{FILE} names {name[:200]!r}, which is no file of the model")
    if not path.is_file():
        raise ModelError(
            f"{FILE} names {name[:200]!r}, and there is no such file among the model's",
            hint="the upload did not end; log the model again",
        )
    return path


def _columns(signature: Any) -> tuple[Declared, ...]:
    if not isinstance(signature, dict) or not signature.get("inputs"):
        return ()
    try:
        entries = msgspec.json.decode(text(signature["inputs"]), type=list[dict[str, Any]])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ModelError(f"the signature in {FILE} cannot be read: {error}", hint=_HINT) from error
    if len(entries) > MAX_COLUMNS:
        raise ModelError(f"the signature in {FILE} has more than {MAX_COLUMNS:,} columns")
    if len(entries) == 1 and not entries[0].get("name"):
        return ()  # one array: its columns have no names there
    found = tuple(_column(one) for one in entries)
    names = [one.name for one in found]
    if len(set(names)) != len(names):
        raise DataError(f"the signature in {FILE} names a column twice")
    return found


def _column(entry: dict[str, Any]) -> Declared:
    name, kind = text(entry.get("name")), text(entry.get("type"))
    if not name:
        raise ModelError(f"the signature in {FILE} has a column without a name", hint=_HINT)
    if kind not in _KINDS:
        raise ModelError(
            f"column {name!r} is of type {kind[:40]!r}, which trimtab does not serve",
            hint="numbers, booleans and texts are served, one column each",
        )
    return Declared(name, _KINDS[kind])


def text(value: Any) -> str:
    """A value as a text, "" for any other: what is nested may be endless as a text."""
    return value if isinstance(value, str) else ""
