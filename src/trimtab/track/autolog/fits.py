"""What a call of `fit` or `train` becomes: one run around the outermost, nothing around those inside.

Whatever goes wrong here is said once on stderr, and the user's call goes on as if nothing were there.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Mapping
from multiprocessing.dummy import DummyProcess
from typing import Any, Final

import msgspec

from trimtab.track.active import ActiveRun, active
from trimtab.track.run import start_run

_LONG: Final = 500
_MARK: Final = "__trimtab_autolog__"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What `autolog` was called with."""

    models: bool = False
    score: bool = True
    system: float = 0.0


class _Here(threading.local):
    run: ActiveRun | None = None
    depth: int = 0
    subject: Any = None


_here: Final = _Here()
_told: Final[set[str]] = set()
_options: Options | None = None
_outer = 0  # fits that have a run, in all threads
_count: Final = threading.Lock()
Before = Callable[[Any, tuple[Any, ...], dict[str, Any]], tuple[str, dict[str, Any]]]
After = Callable[[ActiveRun, Any, Any, tuple[Any, ...], dict[str, Any]], None]


def switch(options: Options | None) -> None:
    """Make runs of fits from now on, or none."""
    global _options
    _options = options


def options() -> Options | None:
    """How it is switched on, None where it is off."""
    return _options


def current() -> ActiveRun | None:
    """The run of the fit that is going on in this thread, where it is the outermost."""
    return _here.run if _here.depth == 1 else None


def tell(error: Exception) -> None:
    """Say once for each kind of error that something could not be logged."""
    text = f"{type(error).__name__}: {error}"
    if type(error).__name__ not in _told:
        _told.add(type(error).__name__)
        print(f"trimtab: autolog: {text}", file=sys.stderr)  # noqa: T201 - the fit goes on


def guarded(work: Callable[[], None]) -> None:
    """Do something that must not break the user's call."""
    try:
        work()
    except Exception as error:
        tell(error)


def wrapped(function: Callable[..., Any], before: Before, after: After) -> Callable[..., Any]:
    """A function around which there is a run; `before` gives its name and params."""

    @functools.wraps(function)
    def fit(*args: Any, **kwargs: Any) -> Any:
        # nothing but a name of this module: the function may be sent to another process by value
        return called(function, before, after, args, kwargs)

    setattr(fit, _MARK, True)
    return fit


def called(
    function: Callable[..., Any],
    before: Before,
    after: After,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Call a function, with a run around it where it is the outermost."""
    if _options is None or _is_inner():
        return function(*args, **kwargs)
    if _here.run is None:
        return _outermost(function, before, after, args, kwargs)
    if args and args[0] is _here.subject and _here.depth == 1:  # the fit of its own base class
        return function(*args, **kwargs)
    _here.depth += 1
    try:
        return function(*args, **kwargs)
    finally:
        _here.depth -= 1


def is_wrapped(function: Any) -> bool:
    """Whether a function is one of ours."""
    return bool(getattr(function, _MARK, False))


def _is_inner() -> bool:
    """Whether this is a worker thread of a fit in another thread, as joblib makes them."""
    return bool(_outer) and isinstance(threading.current_thread(), DummyProcess)


def _outermost(
    function: Callable[..., Any],
    before: Before,
    after: After,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    global _outer
    run = _begun(before, args, kwargs)
    if run is None:
        return function(*args, **kwargs)
    _here.run, _here.depth, _here.subject = run, 1, args[0] if args else None
    with _count:
        _outer += 1
    try:
        result = function(*args, **kwargs)
        guarded(lambda: after(run, result, args[0] if args else None, args[1:], kwargs))
    except BaseException as error:
        _ended(run, error)
        raise
    finally:
        _here.run, _here.depth, _here.subject = None, 0, None
        with _count:
            _outer -= 1
    _ended(run, None)
    return result


def _begun(before: Before, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ActiveRun | None:
    chosen = _options
    try:
        name, params = before(args[0] if args else None, args[1:], kwargs)
        assert chosen is not None
        tags = {"autolog": True}
        # the code and the environment are noted once, by the outer run where there is one
        alone = active.get() is None
        return start_run(
            name, readable(params), tags, kind="fit", system=chosen.system, capture=alone
        )
    except Exception as error:
        tell(error)
        return None


def _ended(run: ActiveRun, error: BaseException | None) -> None:
    def end() -> None:
        run.__exit__(None if error is None else type(error), error, None)

    guarded(end)


def readable(params: Mapping[str, Any]) -> dict[str, Any]:
    """Params as JSON holds them: numbers and text as they are, everything else as short text."""
    found: dict[str, Any] = {}
    for name, value in params.items():
        if value is None or type(value) in {bool, int, float, str}:
            found[str(name)] = value
        else:
            text = repr(value)
            found[str(name)] = text if len(text) <= _LONG else text[:_LONG] + "…"
    return found
