"""Windows merged for judging: small ones joined, and sums over the last 1, 2, 3, ... of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trimtab.errors import ConflictError
from trimtab.monitor.budget import merges
from trimtab.profile.profile import Profile, merge

LEAST_ROWS = 50


@dataclass(frozen=True, eq=False)
class Suffixes:
    """Sums over the newest windows: entry k-1 of every array is the sum of the last k blocks.

    A block is a window, or several that hold too few rows alone. `first` is the index of the oldest
    window in each sum, `scales` the entries that are judged (k = 1, 2, 4, ...), `merges` those on
    which shapes are (k = 1, 2, 3, 4, 6, ...).
    """

    counts: NDArray[np.int64]
    moments: NDArray[np.int64]
    rows: NDArray[np.int64]
    first: NDArray[np.int64]
    scales: tuple[int, ...]
    merges: tuple[int, ...]


def suffixes(bins: str, windows: Sequence[Profile], scales: int, least: int) -> Suffixes | None:
    """The sums over the newest blocks; None where all windows together hold under `least` rows.

    Raises ConflictError where a window was not counted on the bins with digest `bins`.
    """
    for place, window in enumerate(windows):
        if window.bins != bins:
            raise ConflictError(
                f"window {place} was counted on other bins ({window.bins}) than the reference's",
                hint="count every window on the bins of the model that served it",
            )
    found = _blocks(windows, least, 1 << (scales - 1))
    if not found:
        return None
    sums = {
        "counts": np.cumsum([block.counts for _, block in found], axis=0),
        "moments": np.cumsum([block.moments for _, block in found], axis=0),
        "rows": np.cumsum([block.rows for _, block in found]),
    }
    return Suffixes(
        **sums,
        first=np.array([first for first, _ in found]),
        scales=tuple(k - 1 for k in (1 << s for s in range(scales)) if k <= len(found)),
        merges=tuple(k - 1 for k in merges(scales) if k <= len(found)),
    )


def _blocks(windows: Sequence[Profile], least: int, most: int) -> list[tuple[int, Profile]]:
    """Up to `most` blocks of at least `least` rows, newest first, each with its oldest window."""
    found: list[tuple[int, Profile]] = []
    waiting: Profile | None = None
    for place in range(len(windows) - 1, -1, -1):
        if len(found) == most:
            break
        window = windows[place]
        waiting = window if waiting is None else merge(waiting, window)
        if waiting.rows >= least:
            found.append((place, waiting))
            waiting = None
    return found
