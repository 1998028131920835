"""What an operation is: one thing that can be asked of a project, typed once.

The command line, the HTTP API and its OpenAPI document read it. A handler is named here and
imported when it is first called, so that knowing an operation loads no database or table library.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeVar, cast

import msgspec

from trimtab.server import requests as asked

if TYPE_CHECKING:  # the project brings the database with it
    from trimtab.loop.project import Project

PREFIX: Final = "/api/v1"
Q = TypeVar("Q", bound=asked.Request)
A = TypeVar("A", bound=msgspec.Struct)


@dataclass(frozen=True, kw_only=True)
class Operation(Generic[Q, A]):
    """One thing that can be asked of a project.

    `handler` is `module:function` below `trimtab.server.handlers`, taking the project and the
    request. A path's `{fields}` and, for GET, the query are fields of the request; for POST the
    rest of them is the JSON body. `mutates` says whether anything may be different afterwards.
    """

    name: str
    method: Literal["GET", "POST"]
    path: str
    summary: str
    request: type[Q]
    response: type[A]
    handler: str
    mutates: bool = False
    status: int = 200

    @property
    def url(self) -> str:
        """The path below the server's root."""
        return PREFIX + self.path

    def call(self, project: Project, request: Q) -> A:
        """Do it in this process; raises the errors of `trimtab.errors`."""
        module, _, function = self.handler.partition(":")
        found = importlib.import_module(f"trimtab.server.handlers.{module}")
        return cast("A", getattr(found, function)(project, request))
