"""What a running step may ask of the platform: its run, its extras, and memory for sub-results."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from trimtab import hashing, ids
from trimtab.pipeline import lookup, outputs
from trimtab.pipeline.events import Listener, Progress
from trimtab.pipeline.keys import StepKey
from trimtab.pipeline.observe import Watch
from trimtab.store import cache
from trimtab.store.records import CachedStep
from trimtab.store.workspace import Workspace

T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """The step that is running: its workspace, run id and key."""

    ws: Workspace
    run: str
    step: StepKey
    listener: Listener

    @property
    def extras(self) -> dict[str, Any]:
        """The declared extras, as they are in the key."""
        return self.step.extras

    def progress(self, done: int, total: int, text: str = "") -> None:
        """Tell how far the step is."""
        self.listener(Progress(self.step.name, done, total, text))


active: Final[ContextVar[Context | None]] = ContextVar("context", default=None)


def current() -> Context | None:
    """The context of the step that is running, None outside of one."""
    return active.get()


def memo(
    context: Context | None, key: Any, make: Callable[[], T], *, without: Collection[str] = ()
) -> T:
    """A sub-result that is remembered on its own, so that a killed step does not make it again.

    It depends on `key` (JSON-able) and on all components of the step's key but those `without`
    names, and like a step on the environment variables and files that it reads. It is durable when
    this returns. Without a context it is simply made.
    """
    if context is None:
        return make()
    ws, step = context.ws, context.step
    kept = {name: value for name, value in step.components.items() if name not in without}
    full = hashing.object_digest("key", ["memo", step.name, kept, key])
    known, _ = lookup.find(ws, full, ws.project_dir)
    if known is not None:
        found: T = outputs.load(ws, outputs.of_cached(known))
        return found
    watch = Watch(ws.project_dir, ws.root)
    with watch:
        value = make()
    stored = outputs.store(ws, value)
    step_row = CachedStep(
        key=full,
        run=context.run,
        name=f"{step.name}/memo",
        outputs=[stored.digest],
        codecs=[stored.codec],
        observed=watch.observed(),
        weak=sorted(watch.weak),
        created_at=ids.now(),
    )
    cache.replace(ws, lookup.rows(step_row))
    return value
