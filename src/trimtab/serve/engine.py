"""The endpoint without a network: a request's method, path, headers and body in, a response out.

Picks a route, reads the body by its contract, checks it against the signature, scores, appends to
the prediction log, and only then answers. Shells (ASGI today) move bytes and nothing else.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from trimtab import ids
from trimtab.errors import InputError, ModelError, StorageError, TrimtabError
from trimtab.model.load import Outputs
from trimtab.serve import frame as bytes_of
from trimtab.serve import lookups, parse, typed
from trimtab.serve.answer import Answer, Call, Contract
from trimtab.serve.frame import Frame
from trimtab.serve.log import Log
from trimtab.serve.metrics import Metrics
from trimtab.serve.oip import Oip
from trimtab.serve.parse import Checked, Rows
from trimtab.serve.reply import Refusal, Response, code_of, status_of
from trimtab.serve.router import Route, Router, Table

MAX_BODY: Final = 16 << 20
_OTHER_TYPES: Final = ("text/csv", "application/vnd.apache.", "application/x-np", "multipart/")
_said = logging.getLogger("trimtab.serve")


@dataclass(frozen=True)
class Request:
    """A prediction request as it arrived; `received_at` in microseconds, `begun` of perf_counter."""

    id: str
    contract: Contract
    call: Call
    received_at: int
    begun: float


@dataclass(frozen=True)
class Job:
    """A request that was read and whose rows are numbered; each model checks the rows itself."""

    request: Request
    table: Table
    rows: Rows
    ids: tuple[str, ...]
    event_times: tuple[int, ...]


class Engine:
    """One endpoint. `handle` is called from one thread; the router may reload beside it."""

    def __init__(
        self,
        *,
        name: str,
        router: Router,
        log: Log,
        event_time: Literal["server", "client"] = "server",
        metrics: Metrics | None = None,
    ) -> None:
        self.name = name
        self.router = router
        self.log = log
        self.event_time = event_time
        self.metrics = metrics or Metrics(name)
        self.draining = False
        self._contracts: dict[str, Contract] = {
            "/predict": typed.Typed("predict"),
            "/invocations": typed.Typed("sagemaker"),
            f"/v2/models/{name}/infer": Oip(),
        }

    @property
    def ready(self) -> bool:
        """Whether it answers predictions and will go on to."""
        return self.router.table is not None and not self.draining

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Answer one request; `headers` have lower-case names. Raises nothing."""
        contract = self._contracts.get(path)
        if contract is None:
            return lookups.look(self, method, path)
        if method != "POST":
            refusal = Refusal(405, "method", f"{path} takes POST", headers={"allow": "POST"})
            return _failed(contract, refusal, "")
        begun = time.perf_counter()
        name = ""
        try:
            name = _request_id(headers)
            call = Call(path=path, headers=headers, body=body)
            request = Request(name, contract, call, ids.now(), begun)
            response = self._predict(request)
        except TrimtabError as error:
            response = _failed(contract, error, name)
        except Exception:
            _said.exception("request %s failed", name)
            internal = Refusal(500, "internal", "the endpoint failed on this request")
            response = _failed(contract, internal, name)
        self.metrics.observe(contract.name, time.perf_counter() - begun)
        self.metrics.add("requests_total", contract=contract.name, code=str(response.status))
        return response

    def _predict(self, request: Request) -> Response:
        table = self.router.table
        if table is None:
            raise Refusal(503, "not_ready", "no model is loaded", hint=self.router.error)
        _check_form(request.call.headers, request.call.body)
        route = table.pick(request.call.headers.get("x-route-key") or request.id)
        try:
            job = self._read(request, table, route)
            checked, outputs = _score(job, route)
        except InputError as error:
            self._log_refusal(request, route, error)
            raise
        except ModelError as error:
            failed = Refusal(500, "model", error.message, hint=error.hint)
            self._log_refusal(request, route, failed)
            raise failed from error
        self.log.append([_frame(self.name, job, route, checked, outputs)])
        self._count(route, checked)
        answer = Answer(
            name=self.name,
            label=route.label,
            request=request.id,
            ids=job.ids,
            signature=route.model.signature,
            outputs=outputs,
            options=job.rows.options,
        )
        written = request.contract.write(answer)
        return replace(
            written,
            headers={**written.headers, "x-request-id": request.id, "x-model-version": route.label},
            after=(lambda: self._shadow(job)) if table.shadows else None,
        )

    def _read(self, request: Request, table: Table, route: Route) -> Job:
        rows = request.contract.read(request.call, route.model.signature)
        numbered = rows.ids or [ids.new_id() for _ in range(rows.count)]
        times = self._event_times(request.call.headers, rows)
        return Job(request=request, table=table, rows=rows, ids=tuple(numbered), event_times=times)

    def _event_times(self, headers: Mapping[str, str], rows: Rows) -> tuple[int, ...]:
        header = headers.get("x-event-time")
        if rows.event_times is None and header is None:
            return ()
        if self.event_time == "server":
            raise InputError(
                "this endpoint sets the event time itself",
                hint='set [serve] event_time = "client", or leave event_time out',
                column="event_time",
            )
        if rows.event_times is not None:
            return tuple(rows.event_times)
        moment: str | int = int(header) if header and header.isdecimal() else str(header)
        return (typed.read_time(moment),) * rows.count

    def _shadow(self, job: Job) -> None:
        """Score and log what shadows would have answered, under the same prediction ids."""
        frames = []
        for route in job.table.shadows:
            again = replace(job, request=replace(job.request, begun=time.perf_counter()))
            try:
                checked, outputs = _score(again, route)
            except TrimtabError as error:
                self.metrics.add("shadow_errors_total", model=route.label, error=code_of(error))
                continue
            frames.append(_frame(self.name, again, route, checked, outputs))
            self._count(route, checked)
        if frames:
            self._append_quietly(frames)

    def _log_refusal(self, request: Request, route: Route, error: TrimtabError) -> None:
        place = f" in {error.column}" if isinstance(error, InputError) and error.column else ""
        frame = Frame(
            ids=(),
            request=request.id,
            received_at=request.received_at,
            endpoint=self.name,
            role=route.role,
            model=route.digest,
            label=route.label,
            contract=request.contract.name,
            status=status_of(error),
            latency_us=_spent(request),
            error=code_of(error) + place,
        )
        self._append_quietly([frame])

    def _append_quietly(self, frames: list[Frame]) -> None:
        """Log what no answer depends on: a full disk is counted and does not change the answer."""
        try:
            self.log.append(frames)
        except StorageError:
            self.metrics.add("unlogged_frames_total", len(frames))

    def _count(self, route: Route, checked: Checked) -> None:
        self.metrics.add("rows_total", checked.count, role=route.role, model=route.label)
        for column, count in checked.unseen.items():
            self.metrics.add("unseen_categories_total", count, model=route.label, column=column)


def _score(job: Job, route: Route) -> tuple[Checked, Outputs]:
    checked = route.checker.check(job.rows, job.table.known)
    return checked, route.model.predict(checked.arrays)


def _frame(endpoint: str, job: Job, route: Route, checked: Checked, outputs: Outputs) -> Frame:
    score = outputs.score
    return Frame(
        ids=job.ids,
        request=job.request.id,
        received_at=job.request.received_at,
        endpoint=endpoint,
        role=route.role,
        model=route.digest,
        label=route.label,
        contract=job.request.contract.name,
        latency_us=_spent(job.request),
        event_times=job.event_times,
        numbers=bytes_of.pack_numbers(
            {name: x for name, x in checked.arrays.items() if name not in checked.words}
        ),
        words=checked.words,
        context=checked.context,
        score=score.astype("<f4", copy=False).tobytes(),
        width=score.shape[1] if score.ndim == 2 else 1,
        decision=outputs.decision,
    )


def _spent(request: Request) -> int:
    return int((time.perf_counter() - request.begun) * 1e6)


def _request_id(headers: Mapping[str, str]) -> str:
    given = headers.get("x-request-id")
    if given is None:
        return ids.new_id()
    if not 0 < len(given) <= parse.MAX_ID or not given.isprintable():
        raise Refusal(
            400,
            "bad_request",
            f"x-request-id is not printable text of 1 to {parse.MAX_ID} characters",
        )
    return given


def _check_form(headers: Mapping[str, str], body: bytes) -> None:
    if len(body) > MAX_BODY:
        raise too_large()
    kind = headers.get("content-type", "").lower()
    binary = "inference-header-content-length" in headers
    if binary or kind.startswith(_OTHER_TYPES) or "content-encoding" in headers:
        raise Refusal(
            415,
            "content_type",
            "this endpoint reads JSON only, neither compressed nor binary",
            hint="send content-type: application/json",
        )


def too_large() -> Refusal:
    """The refusal of a body above 16 MiB."""
    return Refusal(
        413,
        "body_too_large",
        f"the body is larger than {MAX_BODY >> 20} MiB",
        hint="send several requests",
    )


def _failed(contract: Contract, error: TrimtabError, request: str) -> Response:
    response = contract.fail(error)
    if not request:
        return response
    return replace(response, headers={**response.headers, "x-request-id": request})
