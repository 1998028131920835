"""Which model answers: `routes.json` of an endpoint's folder, loaded, checked and swapped whole.

The file is replaced by rename; the router never reads a database. New models are loaded beside the
old ones, their digests checked and golden rows asked, before one pointer moves; a bad file or
package leaves the old routes serving and its error in `error`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Final

from trimtab.errors import ModelError, NotFoundError, TrimtabError
from trimtab.model.calibration import Calibration, read_calibration
from trimtab.model.digest import check_digest
from trimtab.model.load import LoadedModel, load
from trimtab.serve import routes as routes_in
from trimtab.serve.folder import stamp
from trimtab.serve.logged.privacy import Rule, Rules, read_key
from trimtab.serve.protocols.parse import Checker
from trimtab.serve.protocols.policy import Policies, Policy
from trimtab.serve.routes import FILE, Role, RouteSpec
from trimtab.serve.shell.fast import Fast

RETRY_SECONDS: Final = 5.0
INLINE: Final = 512
INLINE_SECONDS: Final = 0.002
MOST: Final = 64
_said = logging.getLogger("trimtab.serve")


@dataclass(frozen=True)
class Route:
    """A loaded route. `upto` is the end of its share of [0, 1).

    `most` rows are scored in one run of the model; more than `inline` rows together, and those of a
    `slow` model, run in a thread of their own. These are as the model's calibration says, where
    there is one. `rules` say what of a row may be logged, `policies`
    what becomes of cells that training knew nothing like.
    """

    role: Role
    digest: str
    label: str
    model: LoadedModel
    checker: Checker
    fast: Fast
    upto: float = 0.0
    most: int = MOST
    slow: bool = False
    inline: int = INLINE
    rules: Rules = field(default_factory=Rules)
    policies: Policies | None = None


@dataclass(frozen=True)
class Table:
    """Everything an endpoint answers with; immutable. `known` are the columns any of it reads."""

    version: int
    name: str
    routes: tuple[Route, ...]
    shadows: tuple[Route, ...]
    known: frozenset[str]

    def pick(self, key: str) -> Route:
        """The route of a request: always the same for one key while the weights stay.

        Raising the last route's weight keeps the keys that it has already.
        """
        if len(self.routes) == 1:
            return self.routes[0]
        place = int.from_bytes(blake2b(key.encode(), digest_size=8).digest()) / 2**64
        return next((route for route in self.routes if place < route.upto), self.routes[-1])


class Router:
    """The current table of an endpoint's folder; `reload` may run in a thread beside requests."""

    def __init__(
        self,
        folder: Path,
        pii: Mapping[str, Rule] | None = None,
        *,
        invalid: Mapping[str, Policy] | None = None,
        allow_python: bool = False,
    ) -> None:
        self.folder = folder
        self._pii = dict(pii or {})
        self._invalid = dict(invalid or {})
        self._allow_python = allow_python
        self.table: Table | None = None
        self.previous: Table | None = None
        self.error = ""
        self._seen: tuple[int, int, int] | None = None
        self._tried = 0.0

    def changed(self) -> bool:
        """Whether `routes.json` differs from what was tried last, or a failure is due again."""
        if self._stamp() != self._seen:
            return True
        return bool(self.error) and time.monotonic() - self._tried > RETRY_SECONDS

    def reload(self) -> bool:
        """Read the routes and load what is new; True where the table moved.

        Never raises for a bad file or package: the reason is in `error` and the old table stays.
        """
        self._seen, self._tried = self._stamp(), time.monotonic()
        if self._seen is None:
            self.error = f"there is no {FILE} in {self.folder}"
            return False
        try:
            known = _loaded(self.table, self.previous)
            table = build(
                self.folder,
                known,
                self._pii,
                invalid=self._invalid,
                allow_python=self._allow_python,
            )
        except TrimtabError as error:
            self.error = "; ".join(filter(None, (error.message, error.hint)))
            return False
        except OSError as error:
            self.error = str(error) or type(error).__name__
            return False
        except Exception as error:  # a package may be wrong in ways that nobody thought of
            _said.exception("the routes cannot be followed")
            self.error = f"{type(error).__name__}: {error}"
            return False
        self.error = ""
        self.previous, self.table = self.table, table
        return True

    def _stamp(self) -> tuple[int, int, int] | None:
        return stamp(self.folder / FILE)


def build(
    folder: Path,
    loaded: Mapping[str, Route],
    pii: Mapping[str, Rule] | None = None,
    *,
    invalid: Mapping[str, Policy] | None = None,
    allow_python: bool = False,
) -> Table:
    """Read `routes.json` and load every model that `loaded` (by digest) does not hold.

    Raises UsageError, ModelError, IntegrityError, NotFoundError or OSError.
    """
    file = routes_in.read(folder)
    if file is None:
        raise NotFoundError(f"there is no {FILE} in {folder}")
    total = sum(spec.weight for spec in file.routes)
    if not file.routes or any(spec.weight < 0 for spec in file.routes) or not total > 0:
        raise ModelError(f"{FILE} gives no route a positive weight")
    ready = dict(loaded)
    for spec in (*file.routes, *file.shadow):
        if spec.model not in ready:
            ready[spec.model] = _load(
                folder, spec, pii or {}, invalid or {}, allow_python=allow_python
            )
    routes, upto = [], 0.0
    for spec in file.routes:
        upto += spec.weight / total
        routes.append(_named(ready[spec.model], spec, upto))
    shadows = tuple(_named(ready[spec.model], spec, 0.0) for spec in file.shadow)
    names = [route.checker.names for route in (*routes, *shadows)]
    return Table(
        version=file.version,
        name=file.name,
        routes=tuple(routes),
        shadows=shadows,
        known=frozenset().union(*names),
    )


def _load(
    folder: Path,
    spec: RouteSpec,
    pii: Mapping[str, Rule],
    invalid: Mapping[str, Policy],
    *,
    allow_python: bool,
) -> Route:
    place = folder / spec.folder  # an absolute path stays as it is
    check_digest(place, spec.model)
    model = load(place, allow_python=allow_python)
    policies = Policies.compile(invalid, model.signature)
    model = policies.govern(model)
    cost = _calibration(place, spec)
    return Route(
        role=spec.role,
        digest=spec.model,
        label=spec.label,
        model=model,
        checker=Checker(model.signature),
        fast=Fast(model.signature),
        most=cost.most if cost else MOST,
        slow=cost.slow if cost else model.signature.engine != "onnx",
        inline=_inline(cost),
        policies=policies if policies.by_column else None,
        rules=Rules.compile(
            pii, model.signature, read_key(folder) if "hash" in pii.values() else b""
        ),
    )


def _calibration(place: Path, spec: RouteSpec) -> Calibration | None:
    """What was measured of the model; without a word of its own it is served all the same."""
    try:
        found = read_calibration(place)
    except (TrimtabError, OSError) as error:
        _said.warning("%s is served without its calibration: %s", spec.label, error)
        return None
    if found is not None and found.model != spec.model:
        _said.warning("%s is served without a calibration: the one there is another's", spec.label)
        return None
    return found


def _inline(cost: Calibration | None) -> int:
    """How many rows may hold the event loop up: those of two milliseconds."""
    if cost is None:
        return INLINE
    row = min(spent / size for size, spent in zip(cost.sizes, cost.seconds, strict=True))
    return max(1, min(INLINE, int(INLINE_SECONDS / max(row, 1e-9))))


def _named(route: Route, spec: RouteSpec, upto: float) -> Route:
    return replace(route, role=spec.role, label=spec.label, upto=upto)


def _loaded(*tables: Table | None) -> dict[str, Route]:
    """Models that need no loading: those of the current table and of the one before."""
    return {
        route.digest: route
        for table in tables
        if table
        for route in (*table.routes, *table.shadows)
    }
