"""Taking in logged models with their files, and registered models with their versions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from trimtab import ids
from trimtab.interop.mlflow import files, limits, ours, rows
from trimtab.interop.mlflow.fault import Fault
from trimtab.interop.mlflow.state import (
    DELETED,
    Experiment,
    LoggedModel,
    Registered,
    RegisteredVersion,
)
from trimtab.interop.transfer import bytes_in
from trimtab.interop.transfer.chosen import stored
from trimtab.interop.transfer.intake import OUTSIDE, Taking, is_dated, named
from trimtab.store import artifacts, outside, runs, tables, tracked, trees
from trimtab.store.records import Artifact


def logged(taking: Taking, there: Experiment, here: Experiment) -> None:
    """Take in the logged models of an experiment."""
    for model in taking.source.models(there):
        if not _is_id(model.id):
            taking.tally.skip("logged model", model.id[:100], "its id is none")
            continue
        if not is_dated(model.created, model.updated):
            taking.tally.skip("logged model", model.id, OUTSIDE)
            continue
        location = f"{here.location.rstrip('/')}/models/{model.id}/artifacts"
        taking.places[model.location] = taking.places[f"models:/{model.id}"] = location
        own = _row(taking, tables.logged_models, id=model.id)
        known = rows.to_logged(own) if own else None
        if known and (known.created, known.name) != (model.created, model.name):
            taking.tally.skip("logged model", model.id, "one of that id is here, made otherwise")
            continue
        if known and known.stage == DELETED:
            taking.tally.skip("logged model", model.id, "it is deleted here")
            continue
        has = bytes_in.kept(taking.ws, location) if known and known.digest else {}
        made = bytes_in.take(taking, model, has)
        if taking.tally.dry_run:
            taking.tally.models += known is None
            continue
        one = replace(
            model, experiment=here.number, location=location, digest=known.digest if known else "",
            params=named(taking.tally, model.id, model.params, "model param"),
            tags=named(taking.tally, model.id, model.tags, "model tag"),
        )  # fmt: skip
        if known and not made and replace(one, updated=known.updated) == known:
            continue
        with taking.ws.transaction():
            for file in made:
                bytes_in.note(taking.ws, files.below(location, file.path), file, model.run)
            _keep(taking, one)
            tracked.save(taking.ws, "logged_models", [rows.logged(one)])
            outside.note(taking.ws)
        taking.tally.models += known is None


def registered(taking: Taking) -> None:
    """Take in the registered models."""
    for found, inner in taking.source.registered():
        model = _checked(taking, found)
        versions = [one for one in inner if _is_version(taking, one)]
        if model is None:
            continue
        row = _row(taking, tables.registered_models, name=model.name)
        own = rows.to_registered(row) if row else None
        if own and own.created != model.created:
            taking.tally.skip("registered model", model.name, "one of that name is here already")
            continue
        known = _versions(taking, model.name) if own else {}
        fresh = [_placed(taking, one) for one in versions if one.number not in known]
        for one in versions:
            if one.number in known and known[one.number].source != _placed(taking, one).source:
                name = f"{one.name} version {one.number}"
                taking.tally.skip(
                    "model version", name, "one of that number is here, of another source"
                )
        taking.tally.registered += own is None
        taking.tally.versions += len(fresh)
        if taking.tally.dry_run:
            continue
        last = max([own.last if own else 0, *(one.number for one in versions)])
        merged = replace(model, last=last, tags=(own.tags if own else {}) | model.tags)
        merged.aliases = (own.aliases if own else {}) | model.aliases
        if own == merged and not fresh:
            continue
        with taking.ws.transaction():
            tracked.save(taking.ws, "registered_models", [rows.registered(merged)])
            tracked.save(taking.ws, "registered_versions", [rows.version(one) for one in fresh])
            outside.note(taking.ws)


def _is_version(taking: Taking, one: RegisteredVersion) -> bool:
    """Whether number and times of a version can be stored; one that cannot be is listed."""
    if 0 < one.number < 2**31 and is_dated(one.created, one.updated):
        return True
    taking.tally.skip(
        "model version", f"{one.name} version {str(one.number)[:20]}", "its number or time is none"
    )
    return False


def _is_id(text: str) -> bool:
    try:
        return bool(limits.run_id(text))
    except Fault:
        return False


def _checked(taking: Taking, one: Registered) -> Registered | None:
    """A registered model with what of it has names that are stored here."""
    skip = taking.tally.skip
    try:
        limits.registered_name(one.name)
    except Fault as fault:
        skip("registered model", one.name[:100], str(fault))
        return None
    if not is_dated(one.created, one.updated):
        skip("registered model", one.name, OUTSIDE)
        return None
    if one.name.startswith(ours.PREFIX):
        skip("registered model", one.name, "such a name is of a model that passed trimtab's gate")
        return None
    aliases = {}
    for alias, number in one.aliases.items():
        try:
            aliases[limits.alias(alias)] = number
        except Fault as fault:
            skip("alias", f"{one.name}@{alias[:100]}", str(fault))
    tags = named(taking.tally, one.name, one.tags, "model tag")
    return replace(one, aliases=aliases, tags=tags)


def _keep(taking: Taking, model: LoggedModel) -> None:
    """The files of a model as a tree, an output of its run."""
    found = bytes_in.kept(taking.ws, model.location)
    if not found:
        return
    ws = taking.ws
    model.digest = trees.put_files(ws.blobs, {path: one.digest for path, one in found.items()})
    made = Artifact(
        digest=model.digest,
        kind="mlflow-model",
        size=sum(one.size for one in found.values()),
        meta={"model_id": model.id, "name": model.name},
        run=model.run,
        created_at=ids.now(),
    )
    artifacts.record(ws, made)
    if model.run and stored(ws, model.run):
        runs.link(ws, model.run, "out", model.name, model.digest)


def _placed(taking: Taking, one: RegisteredVersion) -> RegisteredVersion:
    """A version whose source and files are where they are here."""
    is_name = one.source.startswith(("models:/", "runs:/"))
    source = one.source if is_name else _moved(taking, one.source) or one.source
    location = _moved(taking, f"models:/{one.model}") if one.model else ""
    location = location or _moved(taking, one.location) or _moved(taking, _of_run(taking, one))
    if not location and not one.tags.get("mlflow.prompt.is_prompt"):
        name = f"{one.name} version {one.number}"
        taking.tally.skip("files", name, f"they are at {(one.location or one.source)[:200]}")
    tags = named(taking.tally, f"{one.name} version {one.number}", one.tags, "version tag")
    return replace(one, source=source, location=location or source, tags=tags)


def _of_run(taking: Taking, one: RegisteredVersion) -> str:
    """The location that a source `runs:/ID/path` means."""
    if not one.source.startswith("runs:/"):
        return one.source
    run, _, path = one.source.removeprefix("runs:/").partition("/")
    own = stored(taking.ws, run)
    return f"{own.location}/{path}" if own else ""


def _moved(taking: Taking, location: str) -> str:
    """Where here is what is at a location there; "" where it was not carried."""
    head, tail = location.rstrip("/"), ""
    while head:
        if head in taking.places:
            return taking.places[head] + tail
        if head in taking.places.values():
            return location
        head, slash, name = head.rpartition("/")
        tail = f"{slash}{name}{tail}"
    return ""


def _versions(taking: Taking, name: str) -> dict[int, RegisteredVersion]:
    table = tables.registered_versions
    query = sa.select(table).where(table.c.project == taking.ws.project, table.c.name == name)
    with taking.ws.reading() as db:
        found = [rows.to_version(dict(row)) for row in db.execute(query).mappings()]
    return {one.number: one for one in found}


def _row(taking: Taking, table: sa.Table, **keys: Any) -> dict[str, Any] | None:
    matches = [table.c[key] == value for key, value in keys.items()]
    query = sa.select(table).where(table.c.project == taking.ws.project, *matches)
    with taking.ws.reading() as db:
        row = db.execute(query).mappings().first()
    return dict(row) if row else None
