"""Every operation of trimtab, typed once: the command line, the HTTP API and its OpenAPI read this.

Importing it loads no database, table or web library: a handler is imported when it is first called.
`plan` and `run` execute the project's own code, so as operations they do it in a child process.
"""

from __future__ import annotations

from typing import Any, Final

from trimtab.errors import NotFoundError
from trimtab.loop import reports
from trimtab.server import answers, disposal, endings, finding, replaying, rollouts, steering
from trimtab.server import requests as asked
from trimtab.server.finding import RUNS_LS, RUNS_METRICS, RUNS_SHOW
from trimtab.server.operation import PREFIX, Operation
from trimtab.store.records import Incident

__all__ = ["PREFIX", "RUNS_LS", "RUNS_METRICS", "RUNS_SHOW", "TABLE", "Operation", "get"]
OVERVIEW: Final = Operation(
    name="overview",
    method="GET",
    path="/overview",
    summary="The project's loop at a glance.",
    request=asked.Nothing,
    response=reports.Overview,
    handler="loop:overview",
)
TIMELINE: Final = Operation(
    name="timeline",
    method="GET",
    path="/timeline",
    summary="What happened, in order, each with its cause.",
    request=asked.Between,
    response=reports.Timeline,
    handler="loop:timeline",
)
APPLY: Final = Operation(
    name="apply",
    method="POST",
    path="/apply",
    summary="Make the project file what the controller and the monitor go by.",
    request=asked.Nothing,
    response=reports.Applied,
    handler="loop:apply",
    mutates=True,
)
PLAN: Final = Operation(
    name="plan",
    method="POST",
    path="/plan",
    summary="What a run would execute, and why.",
    request=asked.Params,
    response=answers.Planned,
    handler="children:plan",
)
RUN: Final = Operation(
    name="run",
    method="POST",
    path="/runs",
    summary="Begin a run in a process of its own.",
    request=asked.Params,
    response=answers.Submitted,
    handler="children:run",
    mutates=True,
    status=202,
)
GATE: Final = Operation(
    name="gate",
    method="POST",
    path="/gate",
    summary="Hold the requirements against a packaged candidate.",
    request=asked.Candidate,
    response=reports.Decision,
    handler="release:gate",
    mutates=True,
)
DEPLOY: Final = Operation(
    name="deploy",
    method="POST",
    path="/endpoints",
    summary="Put a model version behind an endpoint.",
    request=asked.Deployment,
    response=reports.Deployed,
    handler="release:deploy",
    mutates=True,
    status=201,
)
ROLLBACK: Final = Operation(
    name="rollback",
    method="POST",
    path="/endpoints/{name}/rollback",
    summary="End an open rollout, or go back to the model before.",
    request=asked.Return,
    response=reports.Deployed,
    handler="release:rollback",
    mutates=True,
)
TICK: Final = Operation(
    name="tick",
    method="POST",
    path="/tick",
    summary="One pass of the controller: observe, compare, act.",
    request=asked.Nothing,
    response=reports.Pass,
    handler="loop:tick",
    mutates=True,
)
WHY: Final = Operation(
    name="why",
    method="GET",
    path="/why",
    summary="What something was made of, decided by and caused by.",
    request=asked.Question,
    response=reports.Lineage,
    handler="account:why",
)
DOCTOR: Final = Operation(
    name="doctor",
    method="GET",
    path="/doctor",
    summary="Verify the ledger's chain and every blob.",
    request=asked.Anchor,
    response=reports.Health,
    handler="account:doctor",
)
DATA_ADD: Final = Operation(
    name="data.add",
    method="POST",
    path="/data",
    summary="Read a named source and make a version of what it holds now.",
    request=asked.Named,
    response=answers.DataAdded,
    handler="data:add",
    mutates=True,
    status=201,
)
DATA_LS: Final = Operation(
    name="data.ls",
    method="GET",
    path="/data",
    summary="Data versions, newest first.",
    request=asked.Nothing,
    response=answers.Versions,
    handler="data:ls",
)
DATA_SHOW: Final = Operation(
    name="data.show",
    method="GET",
    path="/data/{reference}",
    summary="A data version: source, schema, distributions, and who used it.",
    request=asked.Reference,
    response=answers.DataShown,
    handler="data:show",
)
DATA_DIFF: Final = Operation(
    name="data.diff",
    method="GET",
    path="/data/{before}/diff/{after}",
    summary="What differs between two data versions: rows, by key where there is one, and distributions.",
    request=asked.Comparison,
    response=answers.DataDiff,
    handler="data:diff",
)
MODELS_LS: Final = Operation(
    name="models.ls",
    method="GET",
    path="/models",
    summary="Model versions, newest first.",
    request=asked.Nothing,
    response=answers.Versions,
    handler="models:ls",
)
MODELS_SHOW: Final = Operation(
    name="models.show",
    method="GET",
    path="/models/{reference}",
    summary="A model version or a refused candidate, with verdicts and evidence.",
    request=asked.Reference,
    response=answers.ModelShown,
    handler="models:show",
)
ENDPOINTS_LS: Final = Operation(
    name="endpoints.ls",
    method="GET",
    path="/endpoints",
    summary="Every endpoint.",
    request=asked.Nothing,
    response=answers.Endpoints,
    handler="endpoints:ls",
)
ENDPOINTS_SHOW: Final = Operation(
    name="endpoints.show",
    method="GET",
    path="/endpoints/{name}",
    summary="An endpoint: models, rollouts, incidents and windows of traffic.",
    request=asked.Named,
    response=answers.EndpointShown,
    handler="endpoints:show",
)
ENDPOINTS_COMPACT: Final = Operation(
    name="endpoints.compact",
    method="POST",
    path="/endpoints/{name}/compact",
    summary="Turn closed segments of the prediction log into Parquet files.",
    request=asked.Named,
    response=answers.LogCompacted,
    handler="endpoints:compact",
    mutates=True,
)
KEYS_LS: Final = Operation(
    name="endpoints.keys.ls",
    method="GET",
    path="/endpoints/{name}/keys",
    summary="Who has a key to an endpoint.",
    request=asked.Named,
    response=answers.Keys,
    handler="keys:ls",
)
KEYS_ADD: Final = Operation(
    name="endpoints.keys.add",
    method="POST",
    path="/endpoints/{name}/keys",
    summary="Make a key to an endpoint; it is told once.",
    request=asked.KeyWanted,
    response=answers.KeyMade,
    handler="keys:add",
    mutates=True,
    status=201,
)
KEYS_RM: Final = Operation(
    name="endpoints.keys.rm",
    method="POST",
    path="/endpoints/{name}/keys/{key}/remove",
    summary="Remove a key: it opens nothing from then on.",
    request=asked.KeyNamed,
    response=answers.KeyRemoved,
    handler="keys:rm",
    mutates=True,
)
INCIDENTS_LS: Final = Operation(
    name="incidents.ls",
    method="GET",
    path="/incidents",
    summary="Incidents, newest first.",
    request=asked.StateFilter,
    response=answers.Incidents,
    handler="incidents:ls",
)
INCIDENTS_SHOW: Final = Operation(
    name="incidents.show",
    method="GET",
    path="/incidents/{id}",
    summary="An incident with its detail, how often it was seen and what was told of it.",
    request=asked.Identified,
    response=answers.IncidentShown,
    handler="incidents:show",
)
INCIDENTS_ACK: Final = Operation(
    name="incidents.ack",
    method="POST",
    path="/incidents/{id}/ack",
    summary="Say that somebody has an incident in hand.",
    request=asked.Acknowledgement,
    response=Incident,
    handler="incidents:ack",
    mutates=True,
)
INCIDENTS_RESOLVE: Final = Operation(
    name="incidents.resolve",
    method="POST",
    path="/incidents/{id}/resolve",
    summary="Close an incident by hand, with a note.",
    request=asked.Resolution,
    response=Incident,
    handler="incidents:resolve",
    mutates=True,
)
MONITOR_SHOW: Final = Operation(
    name="monitor.show",
    method="GET",
    path="/monitor",
    summary="What is watched: windows, per-feature measures, findings, estimated quality.",
    request=asked.Watched,
    response=answers.Monitored,
    handler="monitor:show",
)
LABELS_LS: Final = Operation(
    name="labels.ls",
    method="GET",
    path="/labels",
    summary="Requests for labels, newest first.",
    request=asked.StateFilter,
    response=answers.LabelRequests,
    handler="labels:ls",
)
LABELS_SHOW: Final = Operation(
    name="labels.show",
    method="GET",
    path="/labels/{id}",
    summary="A request for labels: why, how many, and which rows in which order.",
    request=asked.Identified,
    response=answers.LabelRequestShown,
    handler="labels:show",
)
CONFIG_SHOW: Final = Operation(
    name="config.show",
    method="GET",
    path="/config",
    summary="The project file as it is read, defaults filled in.",
    request=asked.Nothing,
    response=answers.ConfigShown,
    handler="settings:show",
)
CONFIG_SCHEMA: Final = Operation(
    name="config.schema",
    method="GET",
    path="/config/schema",
    summary="The JSON schema of the project file.",
    request=asked.Nothing,
    response=answers.ConfigSchema,
    handler="settings:schema",
)

TABLE: Final[tuple[Operation[Any, Any], ...]] = (
    OVERVIEW,
    TIMELINE,
    APPLY,
    PLAN,
    RUN,
    GATE,
    DEPLOY,
    ROLLBACK,
    TICK,
    WHY,
    DOCTOR,
    DATA_ADD,
    DATA_LS,
    DATA_SHOW,
    DATA_DIFF,
    *finding.TABLE,
    MODELS_LS,
    MODELS_SHOW,
    ENDPOINTS_LS,
    ENDPOINTS_SHOW,
    ENDPOINTS_COMPACT,
    KEYS_LS,
    KEYS_ADD,
    KEYS_RM,
    *disposal.TABLE,
    *endings.TABLE,
    INCIDENTS_LS,
    INCIDENTS_SHOW,
    INCIDENTS_ACK,
    INCIDENTS_RESOLVE,
    MONITOR_SHOW,
    LABELS_LS,
    LABELS_SHOW,
    *replaying.TABLE,
    *steering.TABLE,
    *rollouts.TABLE,
    CONFIG_SHOW,
    CONFIG_SCHEMA,
)


def get(name: str) -> Operation[Any, Any]:
    """An operation by its name; raises NotFoundError."""
    for operation in TABLE:
        if operation.name == name:
            return operation
    raise NotFoundError(f"there is no operation {name!r}")
