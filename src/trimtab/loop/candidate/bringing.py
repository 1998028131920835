"""The child of `foreign`, within the limits of `confined`: its arguments are PROJECT_FILE ASKED ANSWER.

It reads a model that another tool logged, packages it, measures it on the rows that a search would
have withheld, and asks the gate. What was brought is known by its files, the data and the project
file, and is not brought twice.
"""

from __future__ import annotations

import contextlib
import tempfile
import traceback
from pathlib import Path
from typing import Final

import msgspec

from trimtab import hashing, ids
from trimtab.data import snapshot, tables
from trimtab.errors import ConfigError, ConflictError, RefusedError, TrimtabError
from trimtab.loop import gate as gating
from trimtab.loop.candidate import train
from trimtab.loop.candidate.foreign import KIND, Foreign, Outcome
from trimtab.loop.candidate.packaging import write_package
from trimtab.loop.project import Project, apply, open_project
from trimtab.loop.reports import Decision
from trimtab.loop.turn import turn
from trimtab.model import adopted, flavors, mlmodel, registry
from trimtab.model.equipment import equip
from trimtab.pipeline import outputs
from trimtab.store import artifacts, cache, runs, tracked, trees, versions
from trimtab.store.records import Artifact, CachedStep, Run
from trimtab.tune import roles
from trimtab.tune.candidate import Candidate

LIMITS: Final = "limits"
"""The tag that says what of the process that read the model was bounded."""


def main(arguments: list[str], limits: tuple[str, ...] = ()) -> int:
    """Do what is asked and write how it ended; the exit code is 0 where there is an answer.

    `limits` are the limits that hold for this process; the run says so.
    """
    path, asked, answer = map(Path, arguments)
    model = msgspec.json.decode(asked.read_bytes(), type=Foreign)
    try:
        outcome = Outcome(decision=bring(open_project(path.parent), model, limits))
    except TrimtabError as error:
        outcome = Outcome(code=error.code, message=error.message, hint=error.hint)
    except MemoryError:
        outcome = Outcome(
            code="model",
            message=f"{model.name} takes more memory than the process that reads it may have",
            hint="half of the machine's memory, or 2 GiB if that is more",
        )
    except Exception as error:  # whatever the libraries raise on a stranger's file
        traceback.print_exc()
        said = f"{type(error).__name__}: {str(error)[:300]}"
        outcome = Outcome(code="model", message=f"{model.name} cannot be brought in: {said}")
    part = answer.with_suffix(".part")
    part.write_bytes(msgspec.json.encode(outcome))
    part.rename(answer)
    return 0


def bring(project: Project, model: Foreign, limits: tuple[str, ...] = ()) -> Decision:
    """The gate's decision on a foreign model; raises the errors of `model` and `data`."""
    apply(project)
    ws = project.ws
    label, given = _rows(project)
    key = hashing.object_digest("key", [KIND, model.tree, label, project.config.digest])
    with turn(ws, key):
        known = cache.get(ws, key)
        decided = gating.last(project, known.outputs[0]) if known and not model.strict else None
        if known is not None and decided is not None:
            return _named(project, model, decided, known)
        tags = {LIMITS: ", ".join(limits) or "none"}
        run = runs.start(ws, KIND, model.name, key=key, cause=dict(model.origin), tags=tags)
        try:
            decision = _brought(project, model, given, run, known.outputs[0] if known else "")
        except BaseException as error:
            runs.fail(ws, run.id, error)
            raise
        runs.finish(ws, run.id, "done")
    return decision


def _named(project: Project, model: Foreign, decided: Decision, known: CachedStep) -> Decision:
    """What was decided before, under the name that is asked for now."""
    if not decided.allowed:
        return decided
    mine = versions.find(project.ws, "model", model.name)
    found = next((one for one in mine if one.digest == decided.subject), None)
    if found is not None:
        return msgspec.structs.replace(decided, version=found)
    return gating.gate(project, decided.subject, run=known.run, name=model.name)


def _rows(project: Project) -> tuple[str, adopted.Rows]:
    """The source that has a target, as it is now; raises ConfigError without one."""
    name = next((name for name, one in project.config.data.items() if one.target), "")
    if not name:
        raise ConfigError(
            "there are no rows to judge the model by: no source names a target",
            hint="[data.NAME] source = ..., target = COLUMN",
        )
    version = snapshot.add(project.ws, project.config, name).version
    table = tables.read(project.ws, version.label)
    return version.label, adopted.rows(version.label, table, roles.of(project.config))


def _brought(
    project: Project, model: Foreign, given: adopted.Rows, run: Run, before: str
) -> Decision:
    ws = project.ws
    with tempfile.TemporaryDirectory(dir=ws.root / "tmp") as place:
        files = Path(place) / "files"
        trees.checkout(ws.blobs, model.tree, files)
        described = mlmodel.read(files)
        read = flavors.load(
            files, described, given.task, len(given.classes), allow_pickle=model.allow_pickle
        )
        candidate = adopted.candidate(described, read, given)
        origin = {**model.origin, "flavor": read.said, "client": described.client}
        runs.update(ws, run.id, cause=origin, params={"data": given.label})
        subject = before or _packaged(project, candidate, origin, Path(place) / "package", run)
    data = {given.label.partition("@")[0]: given.label}
    with ws.transaction():
        runs.link(ws, run.id, "in", "files", model.tree)
        runs.link(ws, run.id, "in", "data", tables.resolve(ws, given.label).digest)
        runs.link(ws, run.id, "out", "model", subject)
    train.measured(project, candidate, subject, run, data, lambda _: None)
    _check_there(project, model)
    strict = True if model.strict else None
    return gating.gate(project, subject, run=run.id, strict=strict, name=model.name)


def _packaged(
    project: Project, candidate: Candidate, origin: dict[str, str], out: Path, run: Run
) -> str:
    ws, config = project.ws, project.config
    found = write_package(project, candidate, out)
    digest = registry.put(ws, out, parity=found.parity, run=run.id, meta={"origin": origin})
    equip(
        ws, digest, out, name=config.model_name, signing_key=config.model.signing_key,
        allow_python=config.serve.allow_python,
    )  # fmt: skip
    step = CachedStep(
        key=run.key, run=run.id, name=KIND, outputs=[digest], codecs=["model"], created_at=ids.now()
    )
    cache.put(ws, step)
    _keep(project, candidate, run)
    return digest


def _keep(project: Project, candidate: Candidate, run: Run) -> None:
    """Store the candidate as that of a flow is, for whoever asks later what a champion was made of."""
    ws = project.ws
    with contextlib.suppress(
        RefusedError
    ):  # of types that are not built from a file, only the graph
        kept = outputs.store(ws, candidate)
        artifacts.record(
            ws, Artifact(digest=kept.digest, kind=kept.codec, size=kept.size, run=run.id)
        )
        runs.link(ws, run.id, "in", "candidate", kept.digest)


def _check_there(project: Project, model: Foreign) -> None:
    """Raise ConflictError where the version was deleted while it was measured."""
    name, number = model.origin["model"], int(model.origin["version"])
    if not tracked.has_version(project.ws, name, number):
        raise ConflictError(
            f"version {number} of {name} was deleted meanwhile", hint="register it again"
        )
