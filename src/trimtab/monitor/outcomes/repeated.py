"""Prediction ids that a client gave to several rows: of which of them a label tells, nobody knows.

A request that was sent again, with the same answer, is one row. Rows with unlike answers under one id
get no label, so that no row is measured by another's outcome; what was joined before the id came
again stays. How many ids that are is remembered and said.
"""

from __future__ import annotations

from typing import Final

from trimtab.monitor.log import catalogue, traffic
from trimtab.monitor.log.catalogue import Catalogue
from trimtab.monitor.log.history import Key
from trimtab.monitor.log.traffic import Answers

_MOST: Final = 1_000
_KEY: Final = "repeated"


def apart(index: Catalogue, found: dict[Key, Answers]) -> dict[Key, Answers]:
    """Each answer once, without those whose id has several; call it in a transaction."""
    result, names = {}, set(catalogue.get(index, _KEY) or ())
    before = len(names)
    for key, rows in found.items():
        places, unlike = traffic.once(rows)
        result[key] = rows if len(places) == rows.rows else rows.take(places)
        names |= unlike
    if len(names) > before:
        catalogue.put(index, _KEY, sorted(names)[:_MOST])
    return result


def known(index: Catalogue) -> int:
    """How many ids with unlike answers were met."""
    return len(catalogue.get(index, _KEY) or ())


def said(endpoint: str, index: Catalogue) -> list[str]:
    """The sentence about them, if there are any."""
    count = known(index)
    if not count:
        return []
    many = f"{count:,} or more" if count == _MOST else f"{count:,}"
    what = "prediction id stands" if count == 1 else "prediction ids stand"
    example = catalogue.get(index, _KEY)[0]
    told = f"{endpoint}: {many} {what} for several rows with unlike answers, such as {example}"
    return [f"{told}; labels of such ids are left out: give each row an id of its own"]
