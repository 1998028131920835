"""Where a table comes from: a URI is fetched by the source registered for its scheme.

The built-in scheme is `file`, a path or glob beside the project file. Others (`s3`, `postgresql`)
register in the plug-in group `sources`; `trimtab.testing.sources` holds what each must satisfy.
Reading the bytes as a table is left to `trimtab.data.reader`.
"""

from __future__ import annotations

import difflib
import glob
import re
import urllib.parse
from pathlib import Path
from typing import Final, Protocol

import msgspec

from trimtab import plugins
from trimtab.errors import NotFoundError, RefusedError, StorageError

_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)


class SourceFile(msgspec.Struct, frozen=True, kw_only=True):
    """One fetched file: its name within the source, where its bytes lie, microseconds of mtime."""

    name: str
    path: Path
    mtime: int


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """What a source gave: files sorted by the bytes of their names, and the source's own version.

    `uri` never holds a password. `version` is an etag, snapshot id or such, "" where there is none.
    """

    uri: str
    files: tuple[SourceFile, ...]
    version: str = ""


class Source(Protocol):
    """A way to fetch a URI.

    `fetch` returns local files, at least one. It may return files where they lie or write them
    under `scratch`, an empty folder that outlives the call. The same remote content must give the
    same names and bytes. It raises NotFoundError naming what it looked for, StorageError where the
    far side fails, and leaves nothing outside `scratch`.
    """

    def fetch(self, uri: str, project_dir: Path, scratch: Path) -> Fetched:
        """Fetch `uri`; a relative path counts from `project_dir`."""
        ...


class FileSource:
    """Files on this machine: a path or a glob, absolute or relative to the project folder."""

    def fetch(self, uri: str, project_dir: Path, scratch: Path) -> Fetched:
        """The matching files where they lie; nothing is copied."""
        del scratch
        return Fetched(uri=uri, files=tuple(match(_local(uri), project_dir)))


def fetch(uri: str, project_dir: Path, scratch: Path) -> Fetched:
    """Fetch `uri` through the source of its scheme; raises NotFoundError for an unknown scheme."""
    source: Source = plugins.get("sources", scheme(uri))
    return source.fetch(uri, project_dir, scratch)


def scheme(uri: str) -> str:
    """The scheme of a URI in lower case; a plain path is "file"."""
    found = _SCHEME.match(uri)
    return found[1].lower() if found else "file"


def public(uri: str) -> str:
    """A URI without its user name and password, fit to be recorded."""
    if scheme(uri) == "file":
        return uri
    parts = urllib.parse.urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def match(pattern: str, project_dir: Path, *, confined: bool = False) -> list[SourceFile]:
    """The files of a path or glob, sorted by name; raises NotFoundError with near names.

    A name is the path below the pattern's fixed folder, with `/`. `confined` refuses (RefusedError)
    whatever resolves outside the project folder, for patterns that a stranger may have sent.
    """
    root = project_dir.resolve()
    if (root / pattern).is_file() or not glob.has_magic(pattern):
        base, found = _plain(root / pattern)
    else:
        base, found = _globbed(root, pattern)
    if confined:
        for path in (base, *found):
            if not path.resolve().is_relative_to(root):
                raise RefusedError(
                    f"{pattern} leads outside the project folder", hint=f"put the file below {root}"
                )
    if not found:
        raise _nothing(base, pattern, root)
    files = [
        SourceFile(
            name=path.relative_to(base).as_posix(),
            path=path,
            mtime=path.stat().st_mtime_ns // 1_000,
        )
        for path in found
    ]
    return sorted(files, key=lambda file: file.name.encode())


def _local(uri: str) -> str:
    found = _SCHEME.match(uri)
    return urllib.parse.unquote(uri[found.end() :]) if found else uri


def _plain(path: Path) -> tuple[Path, list[Path]]:
    if path.is_dir():
        raise NotFoundError(
            f"{path} is a folder, not a file",
            hint=f'name its files with a glob: "{path.name}/*.csv"',
        )
    return path.parent, [path] if path.is_file() else []


def _globbed(root: Path, pattern: str) -> tuple[Path, list[Path]]:
    fixed: list[str] = []
    parts = Path(pattern).parts
    for part in parts:
        if glob.has_magic(part):
            break
        fixed.append(part)
    base = root.joinpath(*fixed)
    rest = str(Path(*parts[len(fixed) :]))
    try:
        found = [path for path in base.glob(rest) if path.is_file()]
    except OSError as error:
        raise StorageError(f"cannot list {base}: {error}") from error
    return base, [path for path in found if not _hidden(path.relative_to(base))]


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _nothing(base: Path, pattern: str, root: Path) -> NotFoundError:
    wanted = root / pattern
    folder = base
    while not folder.is_dir():
        folder = folder.parent
    below = wanted.relative_to(folder).parts[0] if wanted != folder else ""
    beside = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    near = difflib.get_close_matches(below, beside, n=3, cutoff=0.5) or beside[:3]
    what = "no file matches" if glob.has_magic(pattern) else "there is no file"
    return NotFoundError(
        f"{what} {wanted}",
        hint=f"in {folder} there is: {', '.join(near)}" if near else f"{folder} is empty",
    )


plugins.register("sources", "file", FileSource())
