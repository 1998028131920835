"""Which contract speaks at which path, and what a platform's environment says about it.

`table` is built once per endpoint; a request costs one look into a dict. Everything that is only
looked at is in `lookups`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from trimtab.errors import UsageError
from trimtab.serve.answer import Contract
from trimtab.serve.measured import skew
from trimtab.serve.protocols import kserve, sagemaker, vertex
from trimtab.serve.protocols.kserve import Kserve
from trimtab.serve.protocols.oip import Oip
from trimtab.serve.protocols.sagemaker import Invocations
from trimtab.serve.protocols.typed import Typed
from trimtab.serve.protocols.vertex import Vertex
from trimtab.serve.reply import Refusal
from trimtab.serve.router import Route, Table

PREDICT: Final = "/predict"
# The first that is set counts: a platform that says which port it means, before the general PORT.
PORTS: Final = ("SAGEMAKER_BIND_TO_PORT", "AIP_HTTP_PORT", "AWS_LWA_PORT", "PORT")
_MAX_PATH: Final = 2_000


@dataclass(frozen=True, slots=True)
class Found:
    """The contract of a request, and the version of the model where the path names one."""

    contract: Contract
    version: str | None = None


class Contracts:
    """The contracts of one endpoint.

    `posts` are the paths that take a POST, `health` those where GET asks whether predictions are
    answered; `execution` is what SageMaker's batch transform is told.
    """

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        self.name = name
        self.typed = Typed("predict")
        self.invocations = Invocations(environment)
        self.oip = Oip()
        self.execution = sagemaker.execution_parameters(environment)
        model = f"/v2/models/{name}"
        self._versions = f"{model}/versions/"
        self.posts: dict[str, Found] = {
            PREDICT: Found(self.typed),
            # Rows that no client asked about: answered alike, and logged apart from the traffic.
            skew.PATH: Found(Typed(skew.CONTRACT)),
            sagemaker.PATH: Found(self.invocations),
            kserve.path(name): Found(Kserve()),
            f"{model}/infer": Found(self.oip),
        }
        self.health: tuple[str, ...] = ("/ping", "/health", "/healthz", "/readyz")
        self.vertex = vertex.routes(environment)
        if self.vertex is None:
            return
        if self.vertex.health not in ("", *self.health):
            self.health = (*self.health, self.vertex.health)
        # Where the route is one of ours, its body parser is the same or the protocol was chosen.
        if self.vertex.predict not in ("", *self.posts) or self.vertex.predict == PREDICT:
            self.posts[self.vertex.predict] = Found(Vertex())

    def find(self, method: str, path: str) -> Found | None:
        """Who reads a POST of this path; None for everything that is looked up instead."""
        if method != "POST":
            return None
        return self.posts.get(path) or self.at(path)

    def at(self, path: str) -> Found | None:
        """Who would read a POST of this path, also where it is written with %40 or %3A."""
        if "%" in path and len(path) <= _MAX_PATH:
            path = unquote(path)
        found = self.posts.get(path)
        if found is not None or not path.startswith(self._versions):
            return found
        version, _, rest = path[len(self._versions) :].partition("/")
        return Found(self.oip, version) if rest == "infer" and version else None


def table(name: str, environment: Mapping[str, str]) -> Contracts:
    """The contracts of an endpoint; raises UsageError where the environment makes no sense."""
    return Contracts(name, environment)


def route_of(table: Table, version: str) -> Route:
    """The route that a version names: its label, or the number or name after the label's last @.

    Raises Refusal 404.
    """
    for route in table.routes:
        if route.label == version:
            return route
    for route in table.routes:
        end = route.label.rpartition("@")[2]
        if version in (end, end.removeprefix("v")):
            return route
    raise Refusal(
        404,
        "not_found",
        "this endpoint has no such version of the model",
        hint=f"it has {', '.join(route.label for route in table.routes)}",
    )


def port_from(environment: Mapping[str, str]) -> int | None:
    """The port that the platform wants listened on, None where it says nothing.

    Raises UsageError where it is no port.
    """
    for name in PORTS:
        text = environment.get(name, "").strip()
        if not text:
            continue
        if not (text.isascii() and text.isdecimal() and 0 < int(text[:6]) < 65_536):
            raise UsageError(f"{name} is not a port", hint="set a number from 1 to 65535")
        return int(text)
    return None
