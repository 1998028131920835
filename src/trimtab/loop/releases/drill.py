"""The rollback drill: go back on a live endpoint, time it, and count whether an answer was lost.

The model before (or the same one again) is put on a small share, as a rollout's candidate would be,
and rolled back by the code that rolls back any other. It is timed from the decision to the routes on
disk and to the first answer by the right model over HTTP, while other requests run. All of them are
replays, which never enter the prediction log. What is found is evidence.
"""

from __future__ import annotations

import contextlib
import http.client
import math
import statistics
import threading
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec

from trimtab import ids
from trimtab.deploy import local
from trimtab.errors import ConflictError, ModelError, NotFoundError, UsageError
from trimtab.loop import hand
from trimtab.loop.candidate import skew
from trimtab.loop.hand import Hand
from trimtab.loop.project import Project
from trimtab.loop.releases import release, steering
from trimtab.loop.releases.shown import Drilled
from trimtab.model import golden
from trimtab.serve.measured.skew import PATH
from trimtab.store import evidence, operations, versions
from trimtab.store.records import Endpoint, Evidence, Rollout, Version

METRIC: Final = "rollback_seconds"
ROUNDS: Final = 6
SHARE: Final = 0.01
_MOST_ROUNDS: Final = 50
_PATIENCE: Final = 30.0
_TRIES: Final = 3000
_ROWS: Final = 20
_AFTER: Final = 0.5
"""Seconds that requests go on after the first right answer: another worker may be later."""


class _Timed(NamedTuple):
    """One round: seconds from the decision, and requests meanwhile."""

    written: float
    answered: float
    settled: float
    sent: int
    lost: int


class _Caller:
    """A client of one endpoint with a row that it answers."""

    def __init__(self, project: Project, endpoint: Endpoint, champion: Version, key: str) -> None:
        self._address = (skew.reachable(endpoint), endpoint.port)
        self._sticky = project.config.serve.sticky
        self._headers = {"content-type": "application/json"}
        self._headers |= {"authorization": f"Bearer {key}"} if key else {}
        self._connection = http.client.HTTPConnection(*self._address, timeout=_PATIENCE)
        self._rows = _rows(project, champion)
        self.body = b""

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()

    def fresh(self) -> http.client.HTTPConnection:
        """A connection of its own, for a thread of its own."""
        return http.client.HTTPConnection(*self._address, timeout=_PATIENCE)

    def ready(self) -> None:
        """Find a row that is answered, and have the key known; raises ModelError."""
        until = time.monotonic() + _PATIENCE
        for row in self._rows:
            self.body = msgspec.json.encode({"row": row})
            status, _ = self.ask("ready")
            while status in (401, 404, 503) and time.monotonic() < until:
                time.sleep(0.05)
                status, _ = self.ask("ready")
            if status == 200:
                return
        raise ModelError("the endpoint answers none of the model's golden rows")

    def ask(
        self, key: str, connection: http.client.HTTPConnection | None = None
    ) -> tuple[int, str]:
        """Status and the label of the model that answered a request with this route key."""
        used = connection or self._connection
        headers = self._headers | {"x-route-key": key}
        if self._sticky:
            headers[self._sticky] = key
        used.request("POST", PATH, self.body, headers)
        answer = used.getresponse()
        text = answer.read()
        if answer.status != 200:
            return answer.status, ""
        return 200, str(msgspec.json.decode(text).get("model_version", ""))

    def key_of(self, label: str) -> str:
        """A route key whose requests that model answers; raises ModelError."""
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            for number in range(_TRIES):
                key = f"drill-{number}"
                if self.ask(key) == (200, label):
                    return key
        raise ModelError(f"{label} has a share of the traffic and answers nothing")

    def wait_for(self, key: str, label: str) -> None:
        """Ask until that model answers; raises ModelError."""
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            if self.ask(key) == (200, label):
                return
        raise ModelError(f"{label} does not answer {_PATIENCE:.0f} s after the rollback")


class _Traffic(threading.Thread):
    """Requests of many keys, each on a connection of its own, so that every worker is asked.

    Until `done`. `lost` had no good answer, `wrong_at` is when the model that was rolled back last
    answered a request that began after `decided_at`; both on the clock of `time.perf_counter`.
    """

    def __init__(self, caller: _Caller, probe: str, wrong: str) -> None:
        super().__init__(daemon=True)
        self._caller, self._probe, self._wrong = caller, probe, wrong
        self.done = threading.Event()
        self.sent = self.lost = 0
        self.decided_at = math.inf
        self.wrong_at = 0.0

    def run(self) -> None:
        """Ask, one request after the other."""
        while not self.done.is_set():
            # Half of them are of the share that changes hands.
            key = self._probe if self.sent % 2 else f"other-{self.sent}"
            begun, status, label = time.perf_counter(), 0, ""
            with (
                contextlib.suppress(OSError, http.client.HTTPException),
                contextlib.closing(self._caller.fresh()) as connection,
            ):
                status, label = self._caller.ask(key, connection)
            self.sent += 1
            self.lost += status != 200
            if label == self._wrong and begun >= self.decided_at:
                self.wrong_at = time.perf_counter()


def drill(
    project: Project, name: str = "", rounds: int = ROUNDS, who: Hand = hand.NOBODY
) -> Drilled:
    """Roll back on a live endpoint, several times.

    Raises NotFoundError without such an endpoint, ConflictError where it does not answer or a
    rollout is open, ModelError where the right model does not come back.
    """
    if not 1 <= rounds <= _MOST_ROUNDS:
        raise UsageError(f"a drill of {rounds} rounds", hint=f"from 1 to {_MOST_ROUNDS}")
    project, ws = project.applied(), project.ws
    name = name or project.config.model_name
    with hand.moving(ws):
        endpoint = _live(project, name)
        champion = release.champion_of(project, name)
        if champion is None:
            raise ConflictError(f"endpoint {name!r} has no champion")
        other, label = _other(project, champion)
        with (
            skew.passing_key(local.folder(ws, name)) as key,
            contextlib.closing(_Caller(project, endpoint, champion, key)) as caller,
        ):
            caller.ready()
            timed = [
                _round(project, name, champion, other, label, caller, who) for _ in range(rounds)
            ]
    found = _evidence(name, champion, timed, label)
    with ws.transaction():
        evidence.append(ws, [found])
    sent, lost = sum(one.sent for one in timed), sum(one.lost for one in timed)
    said = f"{lost} of {sent:,} answers were lost" if lost else f"none of {sent:,} answers was lost"
    return Drilled(
        endpoint=name,
        model=champion.label,
        other=label,
        share=SHARE,
        written=[one.written for one in timed],
        answered=[one.answered for one in timed],
        settled=[one.settled for one in timed],
        sent=sent,
        lost=lost,
        evidence=found,
        message=f"{champion.label} alone answered {found.value:.3f} s after the decision "
        f"[{found.lo:.3f}, {found.hi:.3f}] in {rounds} rounds; {said}",
    )


def mended(project: Project, one: Rollout) -> bool:
    """End a drill that was cut off; False for any other rollout."""
    if one.cause.get("kind") != steering.DRILL:
        return False
    steering.back(project, one, Hand("the controller", "the drill was cut off"))
    return True


def _live(project: Project, name: str) -> Endpoint:
    endpoint = local.find(project.ws, name)
    if endpoint is None:
        raise NotFoundError(f"there is no endpoint {name!r}", hint="see `trimtab endpoints ls`")
    local.check_ours(project.ws, name)
    if endpoint.state != "ready":
        raise ConflictError(f"endpoint {name!r} does not answer here: it is {endpoint.state}")
    if operations.rollouts(project.ws, endpoint=name, state="open"):
        raise ConflictError(
            f"a rollout is open at {name!r}", hint="a drill begins when it has ended"
        )
    return endpoint


def _other(project: Project, champion: Version) -> tuple[Version, str]:
    """The model before the champion, or the champion under another name."""
    ws = project.ws
    before = versions.aliases(ws, "model", champion.name).get(release.PREVIOUS)
    if before and before != champion.digest:
        found = versions.get(ws, "model", before)
        return found, found.label
    return champion, f"{champion.label} again"


def _round(
    project: Project,
    name: str,
    champion: Version,
    other: Version,
    label: str,
    caller: _Caller,
    who: Hand,
) -> _Timed:
    with _trial(project, name, champion, other, label) as trial:
        probe = caller.key_of(label)
        traffic = _Traffic(caller, probe, label)
        traffic.start()
        try:
            begun = traffic.decided_at = time.perf_counter()
            steering.back(project, trial, Hand(who.by, "a drill"))
            written = time.perf_counter() - begun
            caller.wait_for(probe, champion.label)
            answered = time.perf_counter() - begun
            time.sleep(_AFTER)
        finally:
            traffic.done.set()
            traffic.join()
    settled = max(answered, traffic.wrong_at - begun)
    return _Timed(written, answered, settled, traffic.sent, traffic.lost)


@contextlib.contextmanager
def _trial(
    project: Project, name: str, champion: Version, other: Version, label: str
) -> Iterator[Rollout]:
    """A rollout at a small share, over when this ends however it ends."""
    ws, now = project.ws, ids.now()
    trial = Rollout(
        id=ids.new_id(),
        endpoint=name,
        candidate=other.digest,
        champion=champion.digest,
        stages=[f"{100 * SHARE:g}%"],
        cause={"kind": steering.DRILL},
        opened_at=now,
        staged_at=now,
    )
    if not operations.open_rollout(ws, trial):
        raise ConflictError(f"a rollout is open at {name!r}")
    try:
        silent = msgspec.structs.replace(local.spec(ws, other, "canary", SHARE), label=label)
        local.set_routes(ws, name, [local.spec(ws, champion, "champion", 1 - SHARE), silent])
        yield trial
    finally:
        for one in operations.rollouts(ws, endpoint=name, state="open"):
            if one.id == trial.id:
                steering.back(project, one, Hand("", "the drill was cut off"))


def _rows(project: Project, version: Version) -> list[dict[str, Any]]:
    """Rows of the model's own, as a client would send them."""
    folder = local.package_folder(project.ws, version.digest)
    columns = golden.decode((folder / golden.FILE).read_bytes()).columns
    count = min((len(values) for values in columns.values()), default=0)
    return [{key: values[i] for key, values in columns.items()} for i in range(min(count, _ROWS))]


def _evidence(name: str, champion: Version, timed: list[_Timed], other: str) -> Evidence:
    """The median time until no answer was by the other model any more.

    Smallest and largest of n enclose it with probability 1 - 2^(1-n).
    """
    n, settled = len(timed), [one.settled for one in timed]
    return Evidence(
        id=ids.new_id(),
        metric=METRIC,
        subject=champion.digest,
        window=f"drill:{name}",
        value=statistics.median(settled),
        lo=min(settled),
        hi=max(settled),
        n=n,
        level=1 - 2.0 ** (1 - n),
        method="order-statistics",
        measured_at=ids.now(),
        details={
            "written": [one.written for one in timed],
            "answered": [one.answered for one in timed],
            "sent": sum(one.sent for one in timed),
            "lost": sum(one.lost for one in timed),
            "other": other,
            "share": SHARE,
        },
    )
