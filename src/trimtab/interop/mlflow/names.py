"""Names for runs that were given none: `calm-heron-417`."""

from __future__ import annotations

import random
from typing import Final

_HOW: Final = (
    "able agile airy apt bold brave brisk bright calm clear clever crisp deft eager early "
    "even fair fast fine firm fond free fresh glad grand keen kind lively lucid mellow "
    "merry mild neat nimble open placid plain polite proud quick quiet rapid ready sage "
    "sharp silent sleek smart smooth sober solid spry stable steady stout suave swift tidy "
    "tranquil true "
)
_WHO: Final = (
    "auk bass bear bee bison boar carp cod colt crab crane crow deer doe dove duck eel elk "
    "ewe fawn finch fox frog gnu goat goose grouse gull hare hawk hen heron horse ibex jay "
    "kite koi lamb lark lynx mare mink mole moth mouse newt otter owl ox perch pike pony "
    "ram ray robin seal shad shrew skink snail "
)


def invented() -> str:
    """A name that is easily told from others."""
    how, who = _HOW.split(), _WHO.split()
    return f"{random.choice(how)}-{random.choice(who)}-{random.randint(0, 999)}"
