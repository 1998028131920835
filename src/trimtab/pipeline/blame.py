"""Errors of user code as data, and as an error that names the step and the user's own line."""

from __future__ import annotations

import linecache
from pathlib import Path
from types import TracebackType
from typing import Any

from trimtab.errors import PipelineError, TrimtabError
from trimtab.pipeline import origin
from trimtab.pipeline.flow import Flow
from trimtab.track import run


def as_data(error: BaseException) -> dict[str, Any]:
    """An error as what the store keeps: type, message, hint, the user's line, traceback text."""
    return {**run.as_data(error), "where": line(error.__traceback__)}


def line(trace: TracebackType | None) -> str:
    """The innermost line of project code in a traceback: `pipeline.py:12: the code`, else ""."""
    found = ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if origin.is_project_file(file):
            text = linecache.getline(file, trace.tb_lineno).strip()
            found = f"{Path(file).name}:{trace.tb_lineno}" + (f": {text}" if text else "")
        trace = trace.tb_next
    return found


def failed(name: str, data: dict[str, Any]) -> PipelineError:
    """The error to raise for a step that failed with `data`."""
    kind, where = data["type"], data.get("where", "")
    said = (
        data["message"]
        if kind.endswith("Error") and data.get("hint")
        else f"{kind}: {data['message']}"
    )
    place = f" at {where}" if where else ""
    return PipelineError(f"step {name} failed{place}: {said}", hint=data.get("hint", ""))


def drawing(flow: Flow[..., Any], error: Exception) -> TrimtabError:
    """The error to raise for a flow whose own code failed while it was drawn."""
    where = line(error.__traceback__)
    place = f" ({where})" if where else ""
    if isinstance(error, PipelineError):
        return PipelineError(f"{error.message}{place}", hint=error.hint)
    if isinstance(error, TrimtabError):
        return error
    return PipelineError(
        f"flow {flow.name} failed{place}: {type(error).__name__}: {error}",
        hint="a flow only connects steps; work on rows belongs into a step",
    )
