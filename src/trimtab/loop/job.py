"""What the controller has done in another process: `python -m trimtab.loop.job PROJECT_FILE ACTION_ID`.

A retrain on what production taught, or the flow of a trigger that fired.

Everything it needs is in the action's row; everything it finds goes back there. Killed and started
again, it goes on: the data version is known by its bytes, finished steps and trials are cached.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

from trimtab import ids
from trimtab.errors import PipelineError, TrimtabError
from trimtab.loop import gate, jobs, triggers
from trimtab.loop.candidate import feedback
from trimtab.loop.project import Project, open_project
from trimtab.pipeline import driver
from trimtab.serve.process import started
from trimtab.store import operations, runs, versions
from trimtab.store.records import Action, Version


def main(arguments: list[str]) -> int:
    """Do the job; the exit code is 0 where the action's row tells how it ended."""
    path, action_id = arguments
    project = open_project(Path(path).parent).applied()
    action = next(one for one in operations.actions(project.ws) if one.id == action_id)
    pid = os.getpid()
    operations.update_action(project.ws, action.id, "running", pid=pid, pid_started=started(pid))
    try:
        if action.kind == triggers.KIND and "since" not in action.cause:
            fired(project, action)
        else:
            retrain(project, action)
    except PipelineError as error:  # the flow's own: what it needs may be there later
        return _failed(project, action, error.message, error.hint)
    except TrimtabError as error:
        operations.update_action(
            project.ws, action.id, "failed", reason=error.message, hint=error.hint
        )
        return error.exit_code
    except Exception as error:
        return _failed(project, action, f"{type(error).__name__}: {error}", traceback.format_exc())
    return 0


def _failed(project: Project, action: Action, reason: str, hint: str) -> int:
    """Say that the flow failed: the controller begins it again later, up to the last attempt."""
    now = next(one for one in operations.actions(project.ws) if one.id == action.id)
    last = now.result.get("attempts", 0) >= jobs.MAX_ATTEMPTS
    if last:
        reason = f"it failed {jobs.MAX_ATTEMPTS} times: {reason}"
    state = "failed" if last else "running"
    operations.update_action(
        project.ws, action.id, state, reason=reason, hint=hint, failed_at=ids.now()
    )
    return 1


def retrain(project: Project, action: Action) -> None:
    """Publish the labelled rows, run the flow on them, and note what the gate said."""
    # Modelling libraries take seconds to load.
    from trimtab.loop.candidate import accept, train  # noqa: PLC0415

    ws, cause = project.ws, action.cause
    version = _published(project, action) or feedback.publish(
        project, cause["endpoint"], int(cause["since"])
    )
    operations.update_action(ws, action.id, "running", data=version.label)
    accept.admit(project, version, action)
    trained = train.train(
        project,
        cause={**cause, "kind": "retrain", "reason": cause["kind"], "action": action.id},
        code=champion_code(project) if project.config.retrain.code == "champion" else "",
        data={version.name: version.label},
    )
    decision = trained.decision
    facts = {"run": trained.run.id, "subject": trained.subject, "data": version.label}
    if decision.allowed and decision.version is not None:
        operations.update_action(ws, action.id, "done", version=decision.version.label, **facts)
    else:
        operations.update_action(ws, action.id, "failed", reason=gate.refusal(decision), **facts)


def fired(project: Project, action: Action) -> None:
    """Run a trigger's flow; the model's is packaged, measured and gated as well."""
    ws, cause = project.ws, {**action.cause, "action": action.id}
    flow = action.cause.get("flow", "")
    if flow and flow != project.config.model.flow:
        done = driver.run(ws, project.config, flow, cause=cause)
        operations.update_action(ws, action.id, "done", run=done.run.id)
        return
    # Modelling libraries take seconds, and a flow of its own may need none.
    from trimtab.loop.candidate import accept, train  # noqa: PLC0415

    code = champion_code(project) if _of_champion(project, action) else ""
    data = accept.incoming(project, action)
    trained = train.train(project, cause=cause, code=code, data=data)
    decision = trained.decision
    facts = {"run": trained.run.id, "subject": trained.subject}
    if decision.allowed and decision.version is not None:
        operations.update_action(ws, action.id, "done", version=decision.version.label, **facts)
    else:
        operations.update_action(ws, action.id, "failed", reason=gate.refusal(decision), **facts)


def _of_champion(project: Project, action: Action) -> bool:
    """Whether the champion's own code is to run; before there is a champion it is the project's."""
    if action.cause["trigger"] != triggers.RETRAIN or project.config.retrain.code != "champion":
        return False
    return gate.CHAMPION in versions.aliases(project.ws, "model", project.config.model_name)


def _published(project: Project, action: Action) -> Version | None:
    """The rows that an attempt which died published: more labels may have come since."""
    since = ids.iso(int(action.cause["since"]))
    for version in versions.find(project.ws, "data"):
        origin = version.meta.get("source", {}).get("provenance") or {}
        if (
            version.created_at >= action.created_at
            and origin.get("endpoint") == action.cause["endpoint"]
            and origin.get("since") == since
        ):
            return version
    return None


def champion_code(project: Project) -> str:
    """The digest of the code that trained the champion; "" where its run is not known."""
    ws = project.ws
    champion = versions.get(ws, "model", f"{project.config.model_name}@{gate.CHAMPION}")
    return runs.get(ws, champion.run).code if champion.run else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
