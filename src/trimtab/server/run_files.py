"""What a run made, as its page shows it: files to download, pictures to look at.

A file is always sent as a download under its own kind, so that nothing that a run made is run in the page.
"""

from __future__ import annotations

import mimetypes
from typing import Final
from urllib.parse import quote, urlencode

import msgspec
from starlette.responses import FileResponse

from trimtab.errors import NotFoundError
from trimtab.interop.mlflow import made
from trimtab.loop.project import Project
from trimtab.store.records import Link

_SHOWN: Final = 20
_PICTURES: Final = 12
_LARGEST: Final = 5_000_000
_DRAWN: Final = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg")


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a run: its path there, the address of its bytes."""

    path: str
    href: str
    size: int


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """An artifact with the first of its files and how many more there are."""

    name: str
    digest: str
    files: list[File]
    more: int


def outputs(project: Project, run: str, links: list[Link]) -> tuple[list[Output], list[File]]:
    """What a run made, and those of its files that are pictures."""
    found, _ = made.files(project.ws, run)
    every = {
        path: File(path=path, href=f"/runs/{run}/file?{urlencode({'path': path})}", size=size)
        for path, (_, size) in sorted(found.items())
    }
    told = []
    for link in links:
        inside = [
            one for path, one in every.items()
            if path == link.name or path.startswith(f"{link.name}/")
        ]  # fmt: skip
        more = max(len(inside) - _SHOWN, 0)
        told.append(Output(name=link.name, digest=link.digest, files=inside[:_SHOWN], more=more))
    drawn = [
        one for one in every.values() if one.path.lower().endswith(_DRAWN) and one.size <= _LARGEST
    ]
    return told, drawn[:_PICTURES]


def file(project: Project, run: str, path: str) -> FileResponse:
    """The bytes of a file that a run made; raises NotFoundError."""
    found, _ = made.files(project.ws, run)
    if path not in found:
        raise NotFoundError(f"run {run[:40]} made no file {path[:200]!r}")
    name = path.rpartition("/")[2]
    headers = {
        "content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "x-content-type-options": "nosniff",
    }
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return FileResponse(project.ws.blobs.path(found[path][0]), media_type=kind, headers=headers)
