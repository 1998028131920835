"""What a step reads while it runs: environment variables, files and folder listings.

They are part of what its result depends on, found out by watching `os.environ` and the interpreter's
audit events (PEP 578), and looked at again before the result is used another time. Values are kept
as digests only. Reads that happen outside of Python (by polars, by a C library) are not seen.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Final, Self

from trimtab import hashing
from trimtab.pipeline import origin

MAX_FILES: Final = 1_000
ABSENT: Final = "absent"
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_SYSTEM: Final = ("/proc/", "/sys/", "/dev/", "/etc/", "/usr/share/", "/usr/lib/")
_LOADERS: Final = ("linecache.py", "tokenize.py", "inspect.py")
_HIDDEN: Final = str(Path("~/.").expanduser()) + "/."
_ENVIRON_FILES: Final = ("/os.py", "/_collections_abc.py")
# Libraries that read the environment on the project's behalf. What any other library reads (threads,
# verbosity, certificates) steers how it works, and counting it would run steps again for nothing.
_SETTINGS: Final = ("pydantic_settings", "dynaconf", "decouple.py", "dotenv", "environs")
_AMBIENT: Final = frozenset(("HOME", "PATH", "PWD", "TMPDIR", "TEMP", "TMP", "COLUMNS", "LINES"))
_PLAIN_ENVIRON: Final = type(os.environ)
_watches: list[Watch] = []


class _Environ(_PLAIN_ENVIRON):  # type: ignore[misc,valid-type]
    """The type that `os.environ` has while a step is watched."""

    def __getitem__(self, key: str) -> str:
        try:
            value: str | None = super().__getitem__(key)
        except KeyError:
            value = None
        if _counts(key):
            for watch in tuple(_watches):
                watch.read_env(key, value)
        if value is None:
            raise KeyError(key)
        return value


class Watch:
    """A context manager that notes what is read inside of it, by any thread of the process.

    `base` is the project folder, whose files are named relative to it; files below `ignore` (the
    store itself) do not count. Both are absolute and free of links.
    """

    def __init__(self, base: Path, ignore: Path) -> None:
        self._base = str(base)
        self._ignore = f"{ignore}{os.sep}"
        self._files: dict[str, tuple[int, int] | None] = {}
        self._folders: dict[str, None] = {}
        self._written: set[str] = set()
        self._env: dict[str, str] = {}
        self.weak: set[str] = set()

    def __enter__(self) -> Self:
        _install()
        _watches.append(self)
        os.environ.__class__ = _Environ
        return self

    def __exit__(self, *_: object) -> None:
        _watches.remove(self)
        if not _watches:
            os.environ.__class__ = _PLAIN_ENVIRON

    def observed(self) -> dict[str, str]:
        """`env:NAME`, `file:PATH` and `folder:PATH` with the digests of what was read there."""
        found = dict(self._env)
        for path, before in self._files.items():
            found[f"file:{self._relative(path)}"] = _file(path)
            if before != _stamp(path):
                self.weak.add(f"{self._relative(path)} changed while it was read")
        for path in self._folders:
            found[f"folder:{self._relative(path)}"] = _folder(path)
        return dict(sorted(found.items()))

    def read_env(self, name: str, value: str | None) -> None:
        """Note that a variable was read; what was read first counts."""
        self._env.setdefault(f"env:{name}", _env(name, value))

    def opened(self, path: str, flags: int, mode: str | None) -> None:
        """Note that a file was opened to be read, unless this step wrote it."""
        path = os.path.abspath(path)
        if self._is_ignored(path):
            return
        if flags & _WRITES or (mode and set(mode) & set("wxa+")):
            self._written.add(path)
        elif path not in self._written and path not in self._files:
            if len(self._files) >= MAX_FILES:
                self.weak.add(f"reads more than {MAX_FILES} files")
            elif not _is_special(path):
                self._files[path] = _stamp(path)

    def listed(self, path: str) -> None:
        """Note that a folder was listed."""
        path = os.path.abspath(path)
        if not self._is_ignored(path) and len(self._folders) < MAX_FILES:
            self._folders[path] = None

    def connected(self, path: str) -> None:
        """Note that a database file was opened."""
        if not self._is_ignored(os.path.abspath(path)):
            self.weak.add(f"opens the database {path}")

    def _is_ignored(self, path: str) -> bool:
        return (
            path.startswith((self._ignore, *_SYSTEM))
            or f"{path}{os.sep}" == self._ignore
            or origin.is_installed_file(path)
        )

    def _relative(self, path: str) -> str:
        inside = path.startswith(self._base + os.sep)
        return path[len(self._base) + 1 :] if inside else path


def present(names: Mapping[str, str], base: Path) -> dict[str, str]:
    """What those variables, files and folders hold now."""
    return {name: _present(name, base) for name in names}


def _present(name: str, base: Path) -> str:
    kind, _, rest = name.partition(":")
    if kind == "env":
        return _env(rest, os.environ.get(rest))
    path = str(base / rest)
    return _file(path) if kind == "file" else _folder(path)


def _env(name: str, value: str | None) -> str:
    return ABSENT if value is None else hashing.object_digest("key", [name, value])


def _file(path: str) -> str:
    try:
        return hashing.file_digest(Path(path))
    except OSError:
        return ABSENT


def _folder(path: str) -> str:
    try:
        return hashing.object_digest("key", sorted(os.listdir(path)))
    except OSError:
        return ABSENT


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _is_special(path: str) -> bool:
    """Whether it is a folder, a pipe or a device."""
    try:
        found = os.stat(path)
    except OSError:
        return False
    return not stat.S_ISREG(found.st_mode)


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
    while frame is not None:
        yield frame
        frame = frame.f_back


def _asker() -> tuple[str, str]:
    """The file of the nearest code outside of Python's own and of ours, and that of the nearest
    code outside of this module and `os`.
    """
    direct = ""
    for frame in _frames():
        file = frame.f_code.co_filename
        if file == __file__ or file.startswith("<frozen") or file.endswith(_ENVIRON_FILES):
            continue
        direct = direct or file
        if not origin.is_standard_file(file):
            return file, direct
    return "", direct


def _asked_by_project() -> bool:
    return origin.is_project_file(_asker()[0])


def _counts(name: str) -> bool:
    """Whether a read of a variable is part of what the result depends on."""
    asker, direct = _asker()
    if name in _AMBIENT:  # Python's own modules read these in passing
        return asker == direct and origin.is_project_file(asker)
    return origin.is_project_file(asker) or any(f"/{part}" in asker for part in _SETTINGS)


_installed = False


def _install() -> None:
    """Audit hooks cannot be taken away again; this one returns at once where nothing is watched."""
    global _installed
    if not _installed:
        sys.addaudithook(_audit)
        _installed = True


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watches:
        return
    if event == "open":
        _on_open(*arguments)
    elif event in ("os.listdir", "os.scandir"):
        _on_list(arguments[0])
    elif event == "socket.connect":
        address = arguments[1]
        if isinstance(address, tuple):
            _blind(f"talks to the network ({address[0]})")
    elif event in ("subprocess.Popen", "os.system") and _asked_by_project():
        _blind("starts another program")
    elif event == "sqlite3.connect":
        _on_database(arguments[0])


def _on_open(path: object, mode: str | None, flags: int) -> None:
    if not isinstance(path, str | bytes | os.PathLike):
        return
    caller = sys._getframe(2).f_code.co_filename  # noqa: SLF001
    if caller.startswith("<frozen") or caller.endswith(_LOADERS):
        return
    name = os.fsdecode(path)
    if not name.endswith((".so", ".pyc")) and (not name.startswith(_HIDDEN) or _asked_by_project()):
        for watch in tuple(_watches):
            watch.opened(name, flags, mode)


def _on_database(path: object) -> None:
    if not isinstance(path, str | bytes | os.PathLike) or os.fsdecode(path) == ":memory:":
        return
    for watch in tuple(_watches):
        watch.connected(os.fsdecode(path))


def _on_list(path: object) -> None:
    if isinstance(path, str | os.PathLike | None) and _asked_by_project():
        for watch in tuple(_watches):
            watch.listed("." if path is None else str(os.fspath(path)))


def _blind(reason: str) -> None:
    for watch in tuple(_watches):
        watch.weak.add(reason)
