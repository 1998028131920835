"""Sample ratio mismatch: did the arms of an experiment get the shares that they should?

An experiment whose arms did not is broken, whatever its metrics say (Fabijan et al., "Diagnosing
sample ratio mismatch in online controlled experiments", KDD 2019).
"""

from __future__ import annotations

import math
from typing import Final

ALARM: Final = 0.001
"""Below this the shares are off; small, since a split by hash is never off by chance alone."""
_STRENGTH: Final = 500.0


def p_value(successes: int, n: int, share: float) -> float:
    """How unlikely `successes` of `n` are at a true `share`; it holds at any number of looks.

    One over the likelihood ratio of a beta mixture around the share against the share itself
    (Lindon & Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022).
    """
    if n <= 0:
        return 1.0
    a, b, failures = _STRENGTH * share, _STRENGTH * (1 - share), n - successes
    ratio = _log_beta(a + successes, b + failures) - _log_beta(a, b)
    ratio -= successes * math.log(share) + failures * math.log1p(-share)
    return math.exp(-max(ratio, 0.0))


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
