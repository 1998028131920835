"""Versions of MLflow's registry as candidates of this project: `NAME@mlflow-3`, `NAME@mlflow-champion`.

A client numbers what it registers; a number of trimtab's registry is given by the gate alone. So the
two never mean each other: `NAME@mlflow-N` is a candidate, `NAME@vN` a model that passed.
"""

from __future__ import annotations

import difflib
import re
from typing import Any, Final

from trimtab.errors import NotFoundError, RefusedError, UsageError
from trimtab.interop.mlflow import files, filters, rows
from trimtab.interop.mlflow.fault import Fault
from trimtab.interop.mlflow.state import Registered, RegisteredVersion
from trimtab.loop.candidate.foreign import KIND, Foreign
from trimtab.store import runs, tracked, trees
from trimtab.store.workspace import Workspace

MARK: Final = "@mlflow-"
_LATEST: Final = "latest"
_NAME: Final = re.compile(r"\w[\w .()+-]{0,99}\Z")


def is_one(reference: str) -> bool:
    """Whether a reference means a version of MLflow's registry."""
    return MARK in reference


def find(
    ws: Workspace, reference: str, *, allow_pickle: bool = False, strict: bool = False
) -> Foreign:
    """The model that `NAME@mlflow-N`, `NAME@mlflow-ALIAS` or `NAME@mlflow-latest` means.

    Raises NotFoundError saying what there is, RefusedError for files that are not kept here, UsageError
    for a name that no model of this project can have.
    """
    name, _, label = reference.rpartition(MARK)
    model, known = _registered(ws, name)
    if not _NAME.match(name):
        raise UsageError(
            f"{name[:100]!r} cannot name a model here",
            hint="register it under a name of letters, digits, '_', '-', '.' and spaces, at most 100",
        )
    number = _number(model, known, label)
    found = known[number]
    origin = {
        "kind": "mlflow",
        "model": name,
        "version": str(number),
        "run": found.run,
        "logged_model": found.model,
    }
    kept = {key: value for key, value in origin.items() if value}
    return Foreign(
        name=name, tree=_tree(ws, found), origin=kept, allow_pickle=allow_pickle, strict=strict
    )


def brought(ws: Workspace, reference: str) -> str:
    """The digest of the package that a version was made into last; raises NotFoundError before that."""
    found = find(ws, reference)
    for run in runs.find(ws, kind=KIND, name=found.name, status="done"):
        if run.cause.get("version") == found.origin["version"]:
            made = [one.digest for one in runs.links(ws, run.id) if one.direction == "out"]
            if made:
                return made[0]
    raise NotFoundError(
        f"{reference} was registered and not brought in yet",
        hint=f"`trimtab gate {reference}` packages, measures and judges it",
    )


def hint(ws: Workspace, reference: str) -> str:
    """What to ask for where a reference means nothing here and MLflow's registry has the name."""
    name = reference.partition("@")[0]
    numbers = sorted(
        row["number"]
        for row in tracked.load(ws, "registered_versions")
        if row["name"] == name and not _is_prompt(row)
    )
    if not numbers:
        return ""
    return (
        f"a client of MLflow registered {name}: `trimtab deploy {name}{MARK}{numbers[-1]}` brings "
        f"its version {numbers[-1]} through the gate"
    )


def _registered(ws: Workspace, name: str) -> tuple[Registered, dict[int, RegisteredVersion]]:
    models = {row["name"]: row for row in tracked.load(ws, "registered_models")}
    if name not in models:
        near = difflib.get_close_matches(name, list(models), n=1)
        raise NotFoundError(
            f"no client of MLflow registered a model called {name!r}"
            + (f", did you mean {near[0]!r}?" if near else ""),
            hint=f"registered: {', '.join(sorted(models)) or 'none yet'}",
        )
    model = rows.to_registered(models[name])
    if model.tags.get(filters.PROMPT, "").lower() == "true":
        raise NotFoundError(f"{name!r} is a prompt, not a model")
    versions = (
        rows.to_version(row)
        for row in tracked.load(ws, "registered_versions")
        if row["name"] == name
    )
    return model, {one.number: one for one in versions}


def _number(model: Registered, known: dict[int, RegisteredVersion], label: str) -> int:
    if label == _LATEST and known:
        return max(known)
    number = model.aliases.get(label)
    if number is None and label.isascii() and label.isdecimal() and len(label) < 19:
        number = int(label)
    if number is None or number not in known:
        there = [str(one) for one in sorted(known)] + sorted(model.aliases)
        raise NotFoundError(
            f"{model.name} has no version {label!r} in MLflow's registry",
            hint="it has " + (", ".join(f"{MARK[1:]}{one}" for one in there) or "none"),
        )
    return number


def _tree(ws: Workspace, found: RegisteredVersion) -> str:
    """The files of a version as one tree."""
    where = found.location or found.source
    try:
        root = files.below(where)
    except Fault as fault:
        raise RefusedError(
            f"version {found.number} of {found.name} lies at {where[:300]!r}, not in this project",
            hint="log the model with this server as MLFLOW_TRACKING_URI",
        ) from fault
    kept = {
        row["path"].removeprefix(f"{root}/"): str(row["digest"])
        for row in tracked.files(ws, root)
        if row["path"] != root
    }
    if not kept:
        raise NotFoundError(
            f"version {found.number} of {found.name} has no files",
            hint="they were deleted, or the upload did not end; log the model again",
        )
    return trees.put_files(ws.blobs, kept)


def _is_prompt(row: dict[str, Any]) -> bool:
    return str(row["body"].get("tags", {}).get(filters.PROMPT, "")).lower() == "true"
