"""A replay in sentences: why this training, what is wrong with the models, what cannot be known."""

from __future__ import annotations

from trimtab.loop.replay import judge
from trimtab.loop.replay.guesses import NO_CHANGE
from trimtab.loop.replay.history import History
from trimtab.loop.replay.judge import Choice
from trimtab.loop.replay.losses import Floats
from trimtab.loop.replay.report import Outcome

_LOSS = {
    "log_loss": "log loss",
    "error": "share of wrong decisions",
    "absolute_error": "absolute error",
    "squared_error": "squared error",
}
_FOLLOW = (
    "labels follow each other and the models do not know the last one: where it is known in time "
    "they are of no use as they stand. Give them earlier outcomes as features"
)
_DULL = "the features tell too little, or what they told has changed"


def because(
    policies: list[Outcome], choice: Choice, compared: dict[str, judge.Compared], loss: str
) -> str:
    """Why this policy, with the numbers that say so."""
    by = {one.policy: one for one in policies}
    static = by["never"].losses[loss].value
    if choice.policy == "never":
        if not compared:
            return "no other policy was tried"
        busy = [name for name in compared if by[name].retrains or by[name].updates]
        if not busy:
            return "no other policy trained again"
        best = max(busy, key=lambda name: compared[name].gain.value)
        gain = compared[best].gain
        if gain.lo > 0:
            return (
                f"{best} saves {_share(gain.lo, static)} to {_share(gain.hi, static)} of the "
                f"{_LOSS[loss]}, which is not surely {judge.MARGIN:.0%}: too little to train for"
            )
        return (
            f"no other policy is surely better: {best} comes nearest, with a gain between "
            f"{_share(gain.lo, static)} and {_share(gain.hi, static)} of the {_LOSS[loss]}"
        )
    gain = compared[choice.policy].gain
    chosen = by[choice.policy]
    count, word = (
        (chosen.updates, "update") if chosen.updates else (len(chosen.retrains), "retraining")
    )
    what = f"{count} {word}{'s' if count != 1 else ''}"
    text = (
        f"{choice.policy} saves {_share(gain.value, static)} of never's {_LOSS[loss]} "
        f"({_share(gain.lo, static)} to {_share(gain.hi, static)}) with {what}"
    )
    if choice.alike:
        verb = "trains" if len(choice.alike) == 1 else "train"
        text += f"; {' and '.join(choice.alike)} cannot be told from it and {verb} more often"
    return text


def warnings(
    history: History,
    recommended: dict[str, Floats],
    guesses: dict[str, dict[str, Floats]],
    loss: str,
    level: float,
) -> list[str]:
    """Where a predictor that reads no feature is as good as the policy that is recommended."""
    found = []
    for guess, losses in guesses.items():
        name = loss if loss in losses else "error"
        mine = recommended[name]
        lead = judge.figure(history, mine - losses[name], level)
        if lead.hi < 0:
            continue
        means = f"{_LOSS[name]} {losses[name].mean():.4g} against {mine.mean():.4g}"
        sure = "is better than" if lead.lo > 0 else "cannot be told from"
        if guess == NO_CHANGE:
            reason = _FOLLOW if _follow(guesses, name) else _DULL
            found.append(f"repeating the last label {sure} the best policy: {means}; {reason}")
        else:
            found.append(f"always saying the {guess} {sure} the best policy: {means}; {_DULL}")
    return found


def _follow(guesses: dict[str, dict[str, Floats]], loss: str) -> bool:
    """Whether labels follow each other: the last one tells more than the commonest."""
    rest = [losses[loss].mean() for guess, losses in guesses.items() if guess != NO_CHANGE]
    return bool(guesses[NO_CHANGE][loss].mean() < 0.9 * min(rest))


def unknown(
    policies: list[Outcome],
    choice: Choice,
    delay: str,
    *,
    selected: bool,
    searched: bool,
    loss: str,
) -> list[str]:
    """What this history cannot tell."""
    by = {one.policy: one for one in policies}
    static = by["never"].losses[loss].value
    found = []
    drift = by.get("drift")
    if choice.policy == "never":
        if drift is not None and drift.waits:
            found.append(f"{drift.waits}; fewer with --min-rows")
        elif drift is not None and not drift.retrains:
            found.append(
                "the detector found no change in this history: what one would cost cannot be known from it"
            )
        least = judge.MARGIN * static
        wide = [one for one in policies if one.gain is not None and one.gain.hi > least]
        found += [
            f"that {one.policy} saves up to {_share(one.gain.hi, static)} is not excluded"
            for one in wide
            if one.gain is not None
        ]
    elif drift is not None and len(drift.retrains) == 1:
        found.append("the gain rests on one change; whether others will come cannot be known")
    elif drift is not None and not drift.retrains and not drift.waits:
        found.append(
            "the detector found no change: the gain may come of more rows, or of rows in places that "
            "the first part did not cover; a longer --first shows which"
        )
    if delay == "0":
        found.append(
            "labels were taken as known as soon as their row was over; where they come later, say --delay"
        )
    if selected:
        found.append(
            "outcomes are known for accepted cases only: the rest of the rows is not judged"
        )
    if searched:
        found.append(
            "the parameters were searched on rows of this same history, so all losses are a little too good"
        )
    return found


def otherwise(loss: str, policy: str, values: dict[str, Floats]) -> str:
    """What another loss would recommend."""
    means = {name: float(one.mean()) for name, one in values.items()}
    if policy == "never":
        return f"by the {_LOSS[loss]} no policy is surely better than never ({means['never']:.4g})"
    return (
        f"by the {_LOSS[loss]} it would be dynamic, {policy}: {means[policy]:.4g} against never's "
        f"{means['never']:.4g}. Say --loss {loss} where that is what counts"
    )


def guess(name: str, regression: bool) -> str:
    """What a predictor without features does."""
    if name == NO_CHANGE:
        return "repeats the last label that is known when a row comes"
    return "the median of the labels so far" if regression else "the commonest label so far"


def _share(value: float, whole: float) -> str:
    return f"{value / whole:.1%}" if whole > 0 else f"{value:.3g}"
