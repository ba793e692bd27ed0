"""How far two series go together, and how sure that is. No word here is about causes."""

from __future__ import annotations

import math
from enum import StrEnum
from statistics import NormalDist

from domain.moments import Moments


class Strength(StrEnum):
    """What Cohen 1988 (Statistical Power Analysis for the Behavioral Sciences, 3.2) calls a correlation."""

    NEGLIGIBLE = "negligible"
    WEAK = "weak"
    MODERATE = "moderate"
    STRONG = "strong"


def pearson(pairs: Moments) -> float | None:
    """The correlation of Pearson; None where one side never changes."""
    if pairs.xx <= 0 or pairs.yy <= 0:
        return None
    # Roots first: the product of two large sums may leave double precision.
    return max(-1.0, min(1.0, pairs.xy / math.sqrt(pairs.xx) / math.sqrt(pairs.yy)))


def fisher_interval(r: float, n: int, confidence: float) -> tuple[float, float] | None:
    """Bounds of a correlation by Fisher's z (1921, Metron 1); None for fewer than four pairs.

    NIST/SEMATECH Dataplot Reference Manual, Correlation Confidence Limits.
    """
    if n < 4:
        return None
    if abs(r) == 1:
        return r, r
    margin = NormalDist().inv_cdf(0.5 + confidence / 2) / math.sqrt(n - 3)
    middle = math.atanh(r)
    return math.tanh(middle - margin), math.tanh(middle + margin)


def strength(r: float) -> Strength:
    """What to call a correlation of this size, whatever its sign."""
    for bound, word in ((0.5, Strength.STRONG), (0.3, Strength.MODERATE), (0.1, Strength.WEAK)):
        if abs(r) >= bound:
            return word
    return Strength.NEGLIGIBLE
