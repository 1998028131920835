"""A project's own code: the flow that `[model] flow = "module:name"` names."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from trimtab.errors import NotFoundError, PipelineError
from trimtab.pipeline.flow import Flow


def load(folder: Path, reference: str) -> Flow[..., Any]:
    """Import the flow from a project's folder; raises NotFoundError, PipelineError.

    The folder comes first on the import path, and a module of that name that was imported from
    elsewhere is imported anew.
    """
    module_name, _, attribute = reference.partition(":")
    if not module_name or not attribute:
        raise PipelineError(
            f"[model] flow = {reference!r} cannot be read", hint='write it as "pipeline:train"'
        )
    place = folder / Path(*module_name.split(".")).with_suffix(".py")
    if not place.is_file() and not (folder / Path(*module_name.split("."))).is_dir():
        raise NotFoundError(f"there is no {place}", hint=f'[model] flow = "{reference}" names it')
    _forget(folder, module_name)
    sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a user's module may raise anything
        raise PipelineError(
            f"importing {place.name} failed: {type(error).__name__}: {error}",
            hint=f"try `python {place.name}`",
        ) from error
    finally:
        sys.path.remove(str(folder))
    found = getattr(module, attribute, None)
    if isinstance(found, Flow):
        return found
    flows = [name for name, value in vars(module).items() if isinstance(value, Flow)]
    near = difflib.get_close_matches(attribute, flows, n=1)
    what = "is no @flow" if found is not None else "does not exist"
    raise NotFoundError(
        f"{attribute!r} in {place.name} {what}" + (f", did you mean {near[0]!r}?" if near else ""),
        hint=f"its flows: {', '.join(flows) or 'none'}",
    )


def _forget(folder: Path, module_name: str) -> None:
    """Drop modules of another project, or of an older state of this one, from the import cache."""
    importlib.invalidate_caches()
    own = folder.resolve()
    first = module_name.partition(".")[0]
    for name, module in list(sys.modules.items()):
        origin = getattr(module, "__file__", None)
        if name.partition(".")[0] == first or (origin and _inside(Path(origin), own)):
            del sys.modules[name]


def _inside(path: Path, folder: Path) -> bool:
    if not path.is_relative_to(folder):
        return False
    return not {"site-packages", ".venv", "venv"} & set(path.relative_to(folder).parts)
