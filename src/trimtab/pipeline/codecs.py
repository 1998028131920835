"""How a step's output becomes files and a value again; strangers register in the group "codecs".

The built-in codecs are `json`, `text`, `bytes`, `numpy`, `frame` and `file`. None of them runs code
that is stored (no pickle). A table library is never loaded to ask whether a value is its own.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol, TypeGuard, runtime_checkable

from trimtab import plugins
from trimtab.errors import PipelineError

_JSON: Final = (type(None), bool, int, float, str)


class Codec(Protocol):
    """Writes values of a kind into an empty folder, and reads them back from an equal one.

    `matches` must be cheap and import nothing heavy. `write` must give the same bytes for the same
    value: their digest is what steps further on depend on. `read` gets a folder of read-only files
    that is gone after the call, unless the codec has a true attribute `keeps_folder`. A codec with
    a true attribute `shares` gives values that nobody can change; they are handed on in memory.
    """

    name: str

    def matches(self, value: object) -> bool:
        """Whether the value is of this kind."""
        ...

    def write(self, value: Any, folder: Path) -> None:
        """Write the value's files into `folder`."""
        ...

    def read(self, folder: Path) -> Any:
        """The value of the files in `folder`."""
        ...


_small: Final[dict[type, bool]] = {}


@runtime_checkable
class SmallCodec(Protocol):
    """A codec whose one file, called `file`, is made in memory, without a folder."""

    name: str
    file: str

    def encode(self, value: Any) -> bytes:
        """The file's bytes."""
        ...

    def decode(self, data: bytes) -> Any:
        """The value of the bytes."""
        ...


def is_small(codec: Codec) -> TypeGuard[SmallCodec]:
    """Whether a codec makes its file in memory; asked for every step, so each is looked at once."""
    kind = type(codec)
    if kind not in _small:
        _small[kind] = isinstance(codec, SmallCodec)
    return _small[kind]


class _InMemory:
    name: str
    file: str

    def encode(self, value: Any) -> bytes:
        raise NotImplementedError

    def decode(self, data: bytes) -> Any:
        raise NotImplementedError

    def write(self, value: Any, folder: Path) -> None:
        """Write the one file."""
        (folder / self.file).write_bytes(self.encode(value))

    def read(self, folder: Path) -> Any:
        """Read the one file."""
        return self.decode((folder / self.file).read_bytes())


class JsonCodec(_InMemory):
    """None, numbers, and lists and dicts (with text keys) of these and of text; NaN keeps."""

    name = "json"
    file = "value.json"

    def matches(self, value: object) -> bool:
        """Whether JSON gives back exactly this value: no tuples, no subclasses."""
        kind = type(value)
        if kind is list:
            return all(self.matches(item) for item in value)  # type: ignore[attr-defined]
        if kind is dict:
            pairs = value.items()  # type: ignore[attr-defined]
            return all(type(key) is str and self.matches(item) for key, item in pairs)
        return kind in _JSON

    def encode(self, value: Any) -> bytes:
        """JSON in the order of the value's own keys."""
        return json.dumps(value, separators=(",", ":")).encode()

    def decode(self, data: bytes) -> Any:
        """The value."""
        return json.loads(data)


class TextCodec(_InMemory):
    """Text as UTF-8."""

    name = "text"
    file = "value.txt"
    shares = True

    def matches(self, value: object) -> bool:
        """Whether it is a str."""
        return type(value) is str

    def encode(self, value: Any) -> bytes:
        """UTF-8; a lone surrogate keeps its place."""
        return bytes(value.encode("utf-8", "surrogatepass"))

    def decode(self, data: bytes) -> str:
        """The text."""
        return data.decode("utf-8", "surrogatepass")


class BytesCodec(_InMemory):
    """Bytes as they are."""

    name = "bytes"
    file = "value.bin"
    shares = True

    def matches(self, value: object) -> bool:
        """Whether it is bytes."""
        return type(value) is bytes

    def encode(self, value: Any) -> bytes:
        """The bytes."""
        return bytes(value)

    def decode(self, data: bytes) -> bytes:
        """The bytes."""
        return data


class NumpyCodec:
    """Arrays and scalars of numpy that hold no Python objects, as .npy."""

    name = "numpy"

    def matches(self, value: object) -> bool:
        """Whether it is an array or scalar without objects."""
        kind = type(value)
        dtype = getattr(value, "dtype", None)
        return kind.__module__ == "numpy" and dtype is not None and not dtype.hasobject

    def write(self, value: Any, folder: Path) -> None:
        """Write `array.npy`, or `scalar.npy` for a scalar."""
        import numpy as np  # noqa: PLC0415  (heavy; here only where an array is stored)

        name = "array.npy" if isinstance(value, np.ndarray) else "scalar.npy"
        np.save(folder / name, np.asarray(value), allow_pickle=False)

    def read(self, folder: Path) -> Any:
        """Read it back, writable."""
        import numpy as np  # noqa: PLC0415

        if (folder / "scalar.npy").exists():
            return np.load(folder / "scalar.npy", allow_pickle=False)[()]
        return np.load(folder / "array.npy", allow_pickle=False)


class FrameCodec:
    """DataFrames and Series of polars as Parquet."""

    name = "frame"
    shares = True

    def matches(self, value: object) -> bool:
        """Whether it is a DataFrame or Series."""
        kind = type(value)
        return kind.__module__.startswith("polars.") and kind.__name__ in ("DataFrame", "Series")

    def write(self, value: Any, folder: Path) -> None:
        """Write `frame.parquet`, or `series.parquet` for a Series."""
        is_frame = type(value).__name__ == "DataFrame"
        frame = value if is_frame else value.to_frame()
        name = "frame.parquet" if is_frame else "series.parquet"
        frame.rechunk().write_parquet(folder / name, compression="zstd", row_group_size=131_072)

    def read(self, folder: Path) -> Any:
        """Read it back."""
        import polars as pl  # noqa: PLC0415  (heavy; here only where a frame is stored)

        series = folder / "series.parquet"
        if series.exists():
            return pl.read_parquet(series, glob=False, memory_map=False).to_series()
        return pl.read_parquet(folder / "frame.parquet", glob=False, memory_map=False)


class FileCodec:
    """A file or folder that a step made and returns the path of; its content is stored."""

    name = "file"
    keeps_folder = True

    def matches(self, value: object) -> bool:
        """Whether it is a path."""
        return isinstance(value, Path)

    def write(self, value: Any, folder: Path) -> None:
        """Copy the file or folder in; raises PipelineError where there is none."""
        if not value.exists():
            raise PipelineError(
                f"the path {value} does not exist", hint="write it before returning"
            )
        target = folder / (value.name or "folder")
        if value.is_dir():
            shutil.copytree(value, target)
        else:
            shutil.copyfile(value, target)

    def read(self, folder: Path) -> Path:
        """The path of the stored copy, which is read-only."""
        return folder / os.listdir(folder)[0]


BUILT_IN: Final[tuple[Codec, ...]] = (
    *(JsonCodec(), TextCodec(), BytesCodec()),
    *(NumpyCodec(), FrameCodec(), FileCodec()),
)
_BY_NAME: Final = {codec.name: codec for codec in BUILT_IN}
for _codec in BUILT_IN:
    plugins.register("codecs", _codec.name, _codec)
# An upper layer's, named here by text so that every process knows them without importing them.
for _name in ("estimator", "candidate"):
    plugins.register("codecs", _name, f"trimtab.model.codec:{_name.upper()}")


def find(value: object) -> Codec:
    """The codec that stores a value; raises PipelineError with what to return in its stead."""
    for codec in _candidates():
        if codec.matches(value):
            return codec
    kind = type(value)
    raise PipelineError(
        f"cannot store a {kind.__module__}.{kind.__qualname__}", hint=_instead(value, kind)
    )


def get(name: str) -> Codec:
    """The codec of that name; raises NotFoundError."""
    found: Codec = _BY_NAME.get(name) or plugins.get("codecs", name)
    return found


def _candidates() -> Iterator[Codec]:
    yield from BUILT_IN
    for name in plugins.names("codecs"):
        if name not in _BY_NAME:
            yield plugins.get("codecs", name)


def _instead(value: object, kind: type) -> str:
    home = kind.__module__.partition(".")[0]
    if kind.__name__ == "LazyFrame":
        return "call .collect() on it and return the DataFrame"
    if home == "pandas":
        return "return polars.from_pandas(frame)"
    if home == "numpy":
        return "an array of objects cannot be stored: give it a type, or return a list"
    if isinstance(value, Mapping | list | tuple | set):
        return "inside of dicts and lists only None, numbers, text, lists and dicts can be stored"
    return "return a polars frame, a numpy array, JSON-able values, text, bytes or a Path"
