"""The binned two-sample Anderson-Darling test: the default for every numeric feature.

Near the best power against shifts, sensitive to scale and tails, and deaf to one absurd value.
"""

from __future__ import annotations

import math

from trimtab.monitor.statistics.overdispersion import squared_normal_sf
from trimtab.profile.distance import CONTINUOUS, anderson_darling

__all__ = ["anderson_darling", "p_value"]


def p_value(
    a2: float, phi: float = 1.0, chunks: int = 0, law: tuple[float, float] = CONTINUOUS
) -> float:
    """P(A2 this large | equal distributions) = sqrt(3) * erfc(sqrt(A2)), at most 1.

    The leading term of Zolotarev's tail expansion (1961) for sum_j chi2_1/(j(j+1)): the product of
    (1 - 2/(j(j+1)))^(-1/2) over j >= 2 telescopes to sqrt(3). With `phi` from `chunks` chunks the
    squared normal 2*A2/phi becomes F(1, chunks). `law` (scale, factor) takes the place of 1/2 and
    sqrt(3) where many rows share a value (`anderson_law`).
    """
    if math.isnan(a2):
        return 1.0
    scale, factor = law
    return min(1.0, factor * squared_normal_sf(a2 / scale, phi, chunks))
