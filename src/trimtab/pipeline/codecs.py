"""How values become artifacts: a codec writes a value into a folder and reads it back.

Built-ins register under the same names as plug-ins; estimators and candidates are `model`'s.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from trimtab import plugins
from trimtab.errors import PipelineError
from trimtab.store import trees
from trimtab.store.workspace import Workspace


class Codec(Protocol):
    """A way to store one kind of value.

    `matches` must be cheap and import nothing heavy. `write` fills an empty folder, `read` gives
    an equal value. Neither may use pickle. `trimtab.testing.codecs` is the contract as tests.
    """

    name: str

    def matches(self, value: Any) -> bool:
        """Whether this codec stores the value."""
        ...

    def write(self, value: Any, folder: Path) -> None:
        """Write the value into an empty folder."""
        ...

    def read(self, folder: Path) -> Any:
        """The value of a folder."""
        ...


class FrameCodec:
    """A polars DataFrame as Parquet."""

    name = "frame"

    def matches(self, value: Any) -> bool:
        """Whether it is a DataFrame."""
        return _is(value, "polars", "DataFrame")

    def write(self, value: Any, folder: Path) -> None:
        """Write `table.parquet`."""
        value.write_parquet(folder / "table.parquet", compression="zstd")

    def read(self, folder: Path) -> Any:
        """Read `table.parquet`."""
        import polars as pl  # noqa: PLC0415 only where a table is read

        return pl.read_parquet(folder / "table.parquet")


class ArrayCodec:
    """A numpy array as .npy, never with pickled objects."""

    name = "array"

    def matches(self, value: Any) -> bool:
        """Whether it is an array without Python objects."""
        return _is(value, "numpy", "ndarray") and not value.dtype.hasobject

    def write(self, value: Any, folder: Path) -> None:
        """Write `array.npy`."""
        import numpy as np  # noqa: PLC0415 only where an array is stored

        np.save(folder / "array.npy", value, allow_pickle=False)

    def read(self, folder: Path) -> Any:
        """Read `array.npy`."""
        import numpy as np  # noqa: PLC0415 only where an array is read

        return np.load(folder / "array.npy", allow_pickle=False)


class BytesCodec:
    """Bytes as they are."""

    name = "bytes"

    def matches(self, value: Any) -> bool:
        """Whether it is bytes."""
        return isinstance(value, bytes)

    def write(self, value: Any, folder: Path) -> None:
        """Write `bytes`."""
        (folder / "bytes").write_bytes(value)

    def read(self, folder: Path) -> Any:
        """Read `bytes`."""
        return (folder / "bytes").read_bytes()


class JsonCodec:
    """None, booleans, numbers, text, and lists and dicts of them with text keys, as JSON."""

    name = "json"

    def matches(self, value: Any) -> bool:
        """Whether JSON gives back an equal value of equal types."""
        return _is_json(value)

    def write(self, value: Any, folder: Path) -> None:
        """Write `value.json`."""
        (folder / "value.json").write_bytes(msgspec.json.encode(value, order="sorted"))

    def read(self, folder: Path) -> Any:
        """Read `value.json`."""
        return msgspec.json.decode((folder / "value.json").read_bytes())


BUILT_IN: Final = (FrameCodec(), ArrayCodec(), BytesCodec(), JsonCodec())
for _codec in BUILT_IN:
    plugins.register("codecs", _codec.name, _codec)
for _name in ("estimator", "candidate"):
    plugins.register("codecs", _name, f"trimtab.model.codec:{_name.upper()}")


def put(ws: Workspace, value: Any, what: str) -> tuple[str, str]:
    """Store a value; returns its digest and its codec. Raises PipelineError for a foreign type."""
    codec = _for(value, what)
    with tempfile.TemporaryDirectory(dir=ws.root / "tmp") as folder:
        codec.write(value, Path(folder))
        return trees.put_folder(ws.blobs, Path(folder)), codec.name


def get(ws: Workspace, digest: str, codec: str) -> Any:
    """The value of an artifact."""
    with tempfile.TemporaryDirectory(dir=ws.root / "tmp") as place:
        folder = Path(place) / "value"
        trees.checkout(ws.blobs, digest, folder)
        return plugins.get("codecs", codec).read(folder)


def _for(value: Any, what: str) -> Codec:
    for name in plugins.names("codecs"):
        codec: Codec = plugins.get("codecs", name)
        if codec.matches(value):
            return codec
    raise PipelineError(
        f"{what} returned {type(value).__module__}.{type(value).__qualname__}, "
        "which no codec can store",
        hint="return a polars DataFrame, numpy array, estimator, JSON-like value or bytes, "
        "or register a codec (entry points `trimtab.codecs`)",
    )


def _is(value: Any, package: str, name: str) -> bool:
    kind = type(value)
    return kind.__name__ == name and kind.__module__.partition(".")[0] == package


def _is_json(value: Any) -> bool:
    if value is None or isinstance(value, str | bool | int):
        return True
    if isinstance(value, float):
        return math.isfinite(value)
    if type(value) is list:
        return all(_is_json(one) for one in value)
    if type(value) is dict:
        return all(isinstance(key, str) and _is_json(one) for key, one in value.items())
    return False
