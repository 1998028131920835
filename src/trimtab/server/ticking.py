"""The controller's passes in a thread beside the server, and the endpoints that should run.

The controller is loaded for the first pass that has something to look at, and not before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from trimtab.errors import NotFoundError, TrimtabError
from trimtab.loop.bare import is_bare
from trimtab.server.opened import Opened
from trimtab.store import place

Say = Callable[[str], None]


class Ticking:
    """Starts what should run, then ticks every so many seconds until it is told to stop."""

    def __init__(self, opened: Opened, seconds: float, say: Say) -> None:
        self._opened = opened
        self._seconds = seconds
        self._say = say
        self._steers = False
        self._over = threading.Event()
        self._told: set[str] = set()
        # A daemon: a pass may be long, and one that is cut off is repaired by the next.
        self._thread = threading.Thread(target=self._run, name="tick", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, seconds: float = 10.0) -> None:
        """End after the pass that is at work, waiting so long at most."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        self._guarded(self._adopt)
        while not self._over.is_set():
            self._guarded(self._tick)
            self._guarded(self._tidy)
            self._over.wait(self._seconds)

    def _adopt(self) -> None:
        if self._is_bare():
            return
        from trimtab.loop.releases import release  # noqa: PLC0415 - as the controller

        for endpoint in release.start(self._opened.project()):
            if endpoint.state == "ready":
                self._say(f"{endpoint.name} answers at http://{endpoint.host}:{endpoint.port}")
            else:
                self._say(f"{endpoint.name} is {endpoint.state}")

    def _tick(self) -> None:
        if self._is_bare():
            self._told = set()
            return
        # 30 MB and a quarter of a second, which a server that only takes metrics never needs.
        from trimtab.loop import tick as controller  # noqa: PLC0415

        done = controller.tick(self._opened.project())
        for action in done.acted:
            said = action.result.get("said", "")
            self._say(f"{action.kind} ({action.state})" + (f": {said}" if said else ""))
        self._tell_new(done.waiting)

    def _tidy(self) -> None:
        """Put metric series that have come in many batches in order."""
        if not self._opened.is_open:
            return
        from trimtab.store.series import arrivals  # noqa: PLC0415 - the database

        ws = self._opened.project().ws
        if arrivals.waiting(ws):
            from trimtab.store.series import compaction  # noqa: PLC0415 - brings numpy

            compaction.tidy(ws)

    def _is_bare(self) -> bool:
        """Whether there was nothing to look at so far; once there is, the controller stays."""
        opened = self._opened
        self._steers = self._steers or not is_bare(opened.path.parent / place.FOLDER, opened.config)
        return not self._steers

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except NotFoundError as error:
            self._tell_new([error.message])
        except TrimtabError as error:
            self._tell_new(
                [f"the pass failed: {error.message}" + (f" ({error.hint})" if error.hint else "")]
            )
        except Exception as error:  # whatever a pass meets, the next one begins afresh
            self._tell_new([f"the pass failed: {type(error).__name__}: {error}"])

    def _tell_new(self, lines: list[str]) -> None:
        """Say what was not said by the pass before: what lasts is news only once."""
        for line in lines:
            if line not in self._told:
                self._say(line)
        self._told = set(lines)
