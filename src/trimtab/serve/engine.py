"""The endpoint without a network: a request's method, path, headers and body in, a response out.

`begin` picks a route and reads the body by its contract; `score` (of `job`) answers many requests
together; `finish` appends them to the prediction log and only then gives the responses. Shells
(native HTTP, ASGI) decide when what is scored together, and move bytes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from trimtab import ids
from trimtab.errors import InputError, TrimtabError
from trimtab.model.load import Outputs
from trimtab.serve import contracts, lookups
from trimtab.serve.access.auth import ANYBODY, HEALTH, Caller, Gate, scope_of
from trimtab.serve.access.consumers import Counter
from trimtab.serve.access.limits import Buckets, Limits
from trimtab.serve.answer import Answer, Call, Contract
from trimtab.serve.contracts import Found
from trimtab.serve.folder import Settings
from trimtab.serve.job import Failed, Job, Scored, apart, score
from trimtab.serve.logged.frame import TooLongError
from trimtab.serve.logged.log import Log
from trimtab.serve.logged.record import Recorder
from trimtab.serve.metrics import Counts, Metrics
from trimtab.serve.notice import Notice
from trimtab.serve.notice import headers as told_by
from trimtab.serve.protocols import parse, policy, typed
from trimtab.serve.reply import JSON, Refusal, Response, code_of
from trimtab.serve.router import Route, Router, Table
from trimtab.serve.shell import fast
from trimtab.serve.shell.encoding import WORTH, deflate_for, inflate
from trimtab.serve.shell.hot import Hot

_said = logging.getLogger("trimtab.serve")


class Engine:
    """One endpoint. Called from one thread, but for `score`; the router may reload beside it.

    `others` tells what other processes of the endpoint counted.
    """

    def __init__(
        self,
        *,
        name: str,
        router: Router,
        log: Log,
        settings: Settings | None = None,
        gate: Gate | None = None,
        environment: Mapping[str, str] | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.name = name
        self.router = router
        self.log = log
        self.settings = settings or Settings(name=name)
        self.event_time = self.settings.event_time
        self.metrics = metrics or Metrics(name)
        self.limits = Limits.of(self.settings.limits)
        self.contracts = contracts.table(name, environment or {})
        self.draining = False
        self.consumers = Counter()
        self.others: Callable[[], Sequence[Counts]] = tuple
        self.gate = gate
        self._health = HEALTH.union(self.contracts.health)
        self._buckets = Buckets(self.limits.rate)
        self.recorder = Recorder(log, self.settings, self.metrics)
        self.announced: dict[str, str] = {}
        self.hot = Hot(self)

    @property
    def ready(self) -> bool:
        """Whether it answers predictions and will go on to."""
        return self.router.table is not None and not self.draining

    def handle(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, query: str = ""
    ) -> Response:
        """Answer one request alone; `headers` have lower-case names. Raises nothing."""
        found = self.begin(method, path, headers, body, query)
        return found if isinstance(found, Response) else self.answer((found,))[0]

    def begin(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, query: str = ""
    ) -> Response | Job:
        """Read a request: a job to be scored, or at once the response. Raises nothing."""
        begun, now = time.perf_counter(), ids.now()
        found = self.contracts.find(method, path)
        contract = found.contract if found else None
        name = ""
        try:
            gate, caller, told = self.gate, ANYBODY, None
            if gate is not None:
                scope = "infer" if contract is not None else scope_of(path, self._health)
                if scope is not None:
                    caller = gate.check(headers, scope, now)
                    told = self._buckets.take(caller, now) or None
            if found is None:
                sent = self._body(headers, body) if method == "POST" else b""
                response = lookups.look(self, method, path, headers, sent, contracts=self.contracts)
                return self._packed(response, headers)
            name = _request_id(headers)
            call = Call(path, headers, self._body(headers, body), query)
            return self._read(name, found, call, (begun, now), caller, told)
        except TrimtabError as error:
            failure = error
        except Exception:
            _said.exception("request %s failed", name)
            failure = Refusal(500, "internal", "the endpoint failed on this request")
        if contract is None:
            return lookups.refusal(path, failure)
        return self._failed(contract, failure, name, begun)

    def answer(self, jobs: Sequence[Job]) -> list[Response]:
        """Score jobs of one route and contract together, log them, and answer in their order."""
        return self.finish(score(jobs))

    def finish(self, scored: Sequence[Scored | Failed]) -> list[Response]:
        """Log what was scored with one append, and only then give the responses, in order.

        What is too long for one frame of the log is logged and answered in parts.
        """
        full = self.recorder.keep([one for one in scored if isinstance(one, Scored)])
        if isinstance(full, TooLongError) and (parts := apart(scored)):
            return [response for part in parts for response in self.finish(part)]
        responses: list[Response] = []
        for one in scored:
            if isinstance(one, Failed):
                self._count_failure(one)
                self.recorder.refusal(one.job, one.error)
                responses.append(self.fail(one.job, one.error))
            elif full is not None:
                responses += [self.fail(job, full) for job in one.jobs]
            else:
                responses += self._replies(one)
        return responses

    def shadow(self, jobs: Sequence[Job]) -> None:
        """Score and log what shadows would have answered, under the same prediction ids."""
        kept = []
        for route in jobs[0].table.shadows:
            for one in score([_for_shadow(job, route) for job in jobs]):
                if isinstance(one, Scored):
                    kept.append(one)
                    self._count(one)
                else:
                    code = code_of(one.error)
                    self.metrics.add("shadow_errors_total", model=route.label, error=code)
                    self.recorder.refusal(one.job, one.error)
        self.recorder.keep_quietly(kept)

    def fail(self, job: Job, error: TrimtabError) -> Response:
        """The response to a job that will not be scored."""
        return self._failed(job.contract, error, job.request, job.begun)

    def follow_keys(self) -> None:
        """Read the keys anew where they were changed."""
        if self.gate is not None and self.gate.changed():
            self.gate.reload()

    def announce(self, notice: Notice | None) -> None:
        """Tell every client from now on that the endpoint will end; None takes it back."""
        self.announced = told_by(notice)

    def _body(self, headers: Mapping[str, str], body: bytes) -> bytes:
        """The body within its limit, inflated."""
        self.limits.check_body(len(body))
        encoding = headers.get("content-encoding")
        if encoding is None:
            return body
        return inflate(body, encoding, self.limits.inflated_cap(len(body)))

    def _packed(self, response: Response, headers: Mapping[str, str]) -> Response:
        """The response, compressed where the client wants that and it is worth it."""
        accepted = headers.get("accept-encoding")
        if accepted is None or len(response.body) < WORTH:
            return response
        body, encoding = deflate_for(accepted, response.body)
        if not encoding:
            return response
        response.headers["content-encoding"] = encoding
        response.headers["vary"] = "accept-encoding"
        return msgspec.structs.replace(response, body=body)

    def _read(
        self,
        name: str,
        found: Found,
        call: Call,
        when: tuple[float, int],
        caller: Caller,
        told: dict[str, str] | None,
    ) -> Job:
        table = self.router.table
        if table is None:
            raise Refusal(503, "not_ready", "no model is loaded", hint=self.router.error)
        request = name or ids.new_id()
        route = self._route(table, found, call, request)
        self.consumers.note(caller.id, caller.name, found.contract.name, route.label)
        job = Job(request, found.contract, call, table, route, when[1], when[0], (), told=told)
        try:
            self._take(job, made=not name)
        except InputError as error:
            self.recorder.refusal(job, error)
            raise
        self.limits.check_rows(job.count)
        return job

    def _route(self, table: Table, found: Found, call: Call, request: str) -> Route:
        """The route of a request: the one it names, or the one that its key falls on."""
        if found.version is not None:
            return contracts.route_of(table, found.version)
        wanted = call.headers.get("x-route")
        if wanted is not None:
            for route in table.routes:
                if wanted in (route.role, route.label):
                    return route
            raise Refusal(404, "not_found", "this endpoint has no route of the name in x-route")
        if len(table.routes) == 1:
            return table.routes[0]
        sticky = self.settings.sticky
        return table.pick(
            (sticky and _cell(call, sticky)) or call.headers.get("x-route-key") or request
        )

    def _take(self, job: Job, *, made: bool) -> None:
        """Read the rows: the short way where that is possible."""
        if _is_plain(job.call.headers):
            taken = None
            if job.contract is self.contracts.typed:
                taken = job.route.fast.read(job.call.body)
            elif job.contract is self.contracts.oip:
                taken, job.options = self.contracts.oip.short(job.call, job.route.fast)
            if taken is not None:
                job.taken = taken
                count = len(taken.rows)
                # One row of a request that we named may bear its name: one id less to make.
                alone = (job.request,) if made and count == 1 else None
                job.ids = taken.ids or alone or tuple([ids.new_id() for _ in taken.rows])
                return
        rows = job.contract.read(job.call, job.route.model.signature)
        job.checked = job.route.checker.check(rows, job.table.known)
        job.ids = tuple(rows.ids or [ids.new_id() for _ in range(rows.count)])
        job.event_times = self._event_times(job.call.headers, rows)
        job.options = rows.options

    def _event_times(self, headers: Mapping[str, str], rows: parse.Rows) -> tuple[int, ...]:
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

    def _replies(self, one: Scored) -> list[Response]:
        """The responses of jobs that were scored together."""
        self._count(one)
        contract, label = one.jobs[0].contract, one.jobs[0].route.label
        signature = one.jobs[0].route.model.signature
        plain = contract is self.contracts.typed and all(job.options is None for job in one.jobs)
        if plain and signature.task != "multiclass":
            written = fast.replies(self.name, label, signature, one.outputs, one.jobs)
        else:
            written = [contract.write(answer) for answer in _answers(self.name, one)]
        self._tell_invalid(one, written)
        now, responses, announced = time.perf_counter(), [], self.announced
        for job, response in zip(one.jobs, written, strict=True):
            headers = response.headers
            headers["x-request-id"] = job.request
            headers["x-model-version"] = label
            if job.told is not None:
                headers.update(job.told)
            if announced:
                headers.update(announced)
            if "accept-encoding" in job.call.headers:
                response = self._packed(response, job.call.headers)
            self.metrics.answered(contract.name, 200, now - job.begun)
            responses.append(response)
        return responses

    def _tell_invalid(self, one: Scored, responses: Sequence[Response]) -> None:
        """Say which cells were let through by a policy, to the client and in the metrics."""
        route, start = one.jobs[0].route, 0
        if route.policies is None:
            return
        for job, response in zip(one.jobs, responses, strict=True):
            found = route.policies.told(one.checked, start, start + job.count)
            start += job.count
            if found:
                response.headers[policy.HEADER] = policy.header(found)
            for cell in found:
                self.metrics.add(
                    "invalid_cells_total", cell.cells, model=route.label, column=cell.column,
                    reason=cell.reason, policy=cell.policy,
                )  # fmt: skip

    def _failed(
        self, contract: Contract, error: TrimtabError, request: str, begun: float
    ) -> Response:
        response = contract.fail(error)
        if request:
            response.headers["x-request-id"] = request
        if self.announced:
            response.headers.update(self.announced)
        self.metrics.answered(contract.name, response.status, time.perf_counter() - begun)
        return response

    def _count_failure(self, one: Failed) -> None:
        if not isinstance(one.error, InputError):  # the request was at fault
            route, spent = one.job.route, time.perf_counter() - one.job.begun
            self.metrics.failed(route.role, route.label, spent)

    def _count(self, one: Scored) -> None:
        route, checked = one.jobs[0].route, one.checked
        self.metrics.scored(
            route.role,
            route.label,
            requests=len(one.jobs),
            rows=checked.count,
            runs=one.runs,
            waited=one.waited,
            spent=one.spent,
        )
        for column, count in checked.unseen.items():
            self.metrics.add("unseen_categories_total", count, model=route.label, column=column)


def _answers(name: str, one: Scored) -> Iterator[Answer]:
    """What each of the jobs that were scored together may be told."""
    route, start = one.jobs[0].route, 0
    for job in one.jobs:
        end = start + job.count
        outputs = Outputs(one.outputs.score[start:end], one.outputs.decision[start:end])
        yield Answer(
            name, route.label, job.request, job.ids, route.model.signature, outputs, job.options
        )
        start = end


def _for_shadow(job: Job, route: Route) -> Job:
    """The same request for another model, read anew where that takes other columns."""
    mine, theirs = job.route.model.signature, route.model.signature
    same = (mine.inputs, mine.context) == (theirs.inputs, theirs.context)
    return msgspec.structs.replace(
        job,
        route=route,
        begun=time.perf_counter(),
        taken=job.taken if same else None,
        checked=job.checked if same else None,
    )


def _request_id(headers: Mapping[str, str]) -> str:
    """The request's id as the client gave it, "" where it gave none."""
    given = headers.get("x-request-id")
    if given is None:
        return ""
    if not 0 < len(given) <= parse.MAX_ID or not given.isprintable():
        raise Refusal(
            400,
            "bad_request",
            f"x-request-id is not printable text of 1 to {parse.MAX_ID} characters",
        )
    return given


def _is_plain(headers: Mapping[str, str]) -> bool:
    """Whether nothing in the head asks for more than JSON in and JSON out."""
    return (
        headers.get("content-type", JSON) == JSON
        and "x-event-time" not in headers
        and headers.get("accept", "*/*") in ("*/*", JSON)
    )


def _cell(call: Call, name: str) -> str | None:
    """A header, or a field of the first row in JSON, as text."""
    if name.lower() in call.headers:
        return call.headers[name.lower()]
    try:
        body = msgspec.json.decode(call.body)
        row = body.get("row") or (body.get("rows") or body["instances"])[0]
        value = row[name]
    except (msgspec.MsgspecError, LookupError, TypeError, AttributeError, UnicodeDecodeError):
        return None
    return None if value is None else str(value)
