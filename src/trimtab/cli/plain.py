"""Texts of runs, files and clients as a terminal may show them: nothing in them moves its cursor,
changes its colours or writes into its clipboard.
"""

from __future__ import annotations

import re
from typing import Final

# ECMA-48's control characters but tab and newline, and halves of characters that no encoding has
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def plain(text: str) -> str:
    r"""The text with control characters written out, as `\x1b`."""
    return _CONTROL.sub(_written, text)


def _written(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
