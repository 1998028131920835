"""All policies on one history, judged: from rows and an estimator to a report.

Deterministic for a seed, but for the seconds that were measured.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from trimtab.errors import UsageError
from trimtab.loop.replay import guesses, judge, policies, walk, wording
from trimtab.loop.replay import losses as known_losses
from trimtab.loop.replay.history import Cut, History
from trimtab.loop.replay.losses import Floats
from trimtab.loop.replay.policies import Policy, Settings
from trimtab.loop.replay.report import Guess, Outcome, Replayed, Window
from trimtab.loop.replay.walk import Tell, Trace
from trimtab.monitor import budget
from trimtab.monitor.budget import Budget
from trimtab.tune import learner

_NO_PARTIAL: Final = "has no partial_fit, so continuous training is left out; --refit fits it anew"
_MONTH: Final = 30 * 86_400_000_000


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a replay. `price` is the cost of an hour of fitting, 0 where none is known,
    `pages` the false alarms a month that the detector may give.

    `loss` is "" for the task's own. `selected` and `searched` say what is known of the labels and
    the parameters, to be repeated in the report.
    """

    policies: tuple[str, ...] = policies.NAMES
    cut: Cut = Cut()
    settings: Settings = Settings()
    loss: str = ""
    level: float = 0.95
    seed: int = 0
    price: float = 0.0
    pages: float = 0.1
    selected: bool = False
    searched: bool = False


def check(ask: Ask) -> None:
    """Raises UsageError for what can be refused before anything is read."""
    for name in ask.policies:
        if name not in policies.NAMES:
            raise UsageError(
                f"there is no policy {name!r}", hint=f"known policies: {', '.join(policies.NAMES)}"
            )
    if not ask.policies:
        raise UsageError("no policy is named", hint=f"known: {', '.join(policies.NAMES)}")


def replay(
    history: History, template: Any, ask: Ask, *, source: str, target: str, tell: Tell
) -> Replayed:
    """Walk every policy through the history; raises DataError, PipelineError, UsageError."""
    check(ask)
    loss = _loss(history, template, ask.loss)
    template = learner.seeded(template, ask.seed)
    wanted, notes = _wanted(template, ask)
    settings = msgspec.structs.replace(ask.settings, run_length=_run_length(history, ask.pages))
    start = walk.first(history, template)
    traces: dict[str, Trace] = {}
    walked: dict[str, Policy] = {}
    for name in wanted:
        policy = policies.make(name, history, settings, can_learn=learner.can_learn(template))
        traces[name] = walk.walk(history, policy, template, start, tell)
        walked[name] = policy
    notes += [
        f"{name}: {len(one.failed)} trainings made no model, so the old one stayed: {one.failed[0]}"
        for name, one in traces.items()
        if one.failed
    ]
    dull = _guesses(history)
    values = {name: one.losses[loss] for name, one in traces.items()}
    others = {name: one for name, one in values.items() if name != "never"}
    compared = judge.compare(history, values["never"], others, ask.level)
    fits = {name: len(one.retrains) + one.updates for name, one in traces.items()}
    choice = judge.choose(history, values, compared, fits, ask.level)
    warned = wording.warnings(history, traces[choice.policy].losses, dull, loss, ask.level)
    warned += _otherwise(history, traces, fits, loss, choice.policy, ask.level)
    outcomes = [
        _outcome(history, walked[name], traces[name], loss, ask, compared.get(name), dull)
        for name in wanted
    ]
    return Replayed(
        source=source,
        estimator=learner.name_of(template),
        task=history.task,
        target=target,
        rows=history.rows,
        first_rows=history.tested,
        loss=loss,
        level=ask.level,
        margin=judge.MARGIN,
        seed=ask.seed,
        windows=_windows(history),
        policies=outcomes,
        guesses=[_guess(history, name, one, loss, ask.level) for name, one in dull.items()],
        training="static" if choice.policy == "never" else "dynamic",
        recommends=choice.policy,
        because=wording.because(outcomes, choice, compared, loss),
        warnings=warned,
        unknown=wording.unknown(
            outcomes,
            choice,
            ask.cut.delay,
            selected=ask.selected,
            searched=ask.searched,
            loss=loss,
        ),
        notes=[*history.notes, *notes],
    )


def _loss(history: History, template: Any, asked: str) -> str:
    known = known_losses.KNOWN[history.task]
    if history.task != "regression" and not learner.has_chances(template):
        known = known[1:]
        if asked == "log_loss":
            raise UsageError(
                f"{learner.name_of(template)} gives no probabilities, so it has no log loss",
                hint="--loss error",
            )
    if asked and asked not in known:
        raise UsageError(
            f"a {history.task} target has no loss {asked!r}", hint=f"it has {', '.join(known)}"
        )
    return asked or known[0]


def _wanted(template: Any, ask: Ask) -> tuple[list[str], list[str]]:
    """The policies to walk, `never` first, since the others are held against it; and notes."""
    wanted: list[str] = [name for name in policies.NAMES if name in {"never", *ask.policies}]
    notes = []
    if "never" not in ask.policies:
        notes.append("never was added: the other policies are held against it")
    if "continuous" in wanted and not learner.can_learn(template):
        kind = learner.name_of(template)
        if ask.settings.refit:
            notes.append(f"{kind} has no partial_fit: continuous fits it anew for every window")
        else:
            wanted.remove("continuous")
            notes.append(f"{kind} {_NO_PARTIAL} for every window")
    return wanted, notes


def _otherwise(
    history: History,
    traces: dict[str, Trace],
    fits: dict[str, int],
    loss: str,
    chosen: str,
    level: float,
) -> list[str]:
    """Other losses by which the training would be of the other sort."""
    found = []
    for other in traces["never"].losses:
        if other == loss:
            continue
        values = {name: one.losses[other] for name, one in traces.items()}
        rest = {name: one for name, one in values.items() if name != "never"}
        compared = judge.compare(history, values["never"], rest, level)
        choice = judge.choose(history, values, compared, fits, level)
        if (choice.policy == "never") != (chosen == "never"):
            found.append(wording.otherwise(other, choice.policy, values))
    return found


def _run_length(history: History, pages: float) -> float:
    """Rows between false alarms: the monitor's budget, or without times 20 histories."""
    if history.times is None:
        return 20.0 * history.rows
    span = int(history.times[-1] - history.times[0]) or 1
    monthly = max(history.rows * _MONTH / span, 1.0)
    return max(budget.run_length(Budget(pages_per_month=pages), monthly), 2.0)


def _guesses(history: History) -> dict[str, dict[str, Floats]]:
    name, commonest = guesses.commonest(history)
    return {guesses.NO_CHANGE: guesses.no_change(history), name: commonest}


def _outcome(
    history: History,
    policy: Policy,
    trace: Trace,
    loss: str,
    ask: Ask,
    compared: judge.Compared | None,
    dull: dict[str, dict[str, Floats]],
) -> Outcome:
    kappa = None
    if history.task != "regression":
        kappa = guesses.kappa_temporal(
            float(trace.losses["error"].mean()), float(dull[guesses.NO_CHANGE]["error"].mean())
        )
    return Outcome(
        policy=policy.name,
        about=policy.about,
        losses={
            key: judge.figure(history, values, ask.level) for key, values in trace.losses.items()
        },
        windows=judge.by_window(history, trace.losses[loss]),
        retrains=trace.retrains,
        updates=trace.updates,
        seconds=round(trace.seconds, 6),
        rows_fitted=trace.rows_fitted,
        cost=round(trace.seconds, 6) / 3600 * ask.price if ask.price else None,
        gain=compared.gain if compared else None,
        better=bool(compared and compared.better),
        kappa_temporal=kappa,
        waits=policy.waits,
    )


def _guess(
    history: History, name: str, losses: dict[str, Floats], loss: str, level: float
) -> Guess:
    return Guess(
        name=name,
        about=wording.guess(name, history.task == "regression"),
        losses={key: judge.figure(history, values, level) for key, values in losses.items()},
        windows=judge.by_window(history, losses[loss]) if loss in losses else [],
    )


def _windows(history: History) -> list[Window]:
    found = []
    for number in history.windows:
        rows = history.rows_of(number)
        found.append(
            Window(
                number=number,
                row=rows.start,
                rows=rows.stop - rows.start,
                start=history.moment(rows.start),
            )
        )
    return found
