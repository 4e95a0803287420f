"""Individuals chart of lot means (ISO 7870-2:2023, control charts for individuals), with exact constants.

    σ̂ = mean |x[i] − x[i−1]| / d2          d2(2) = 2/√π = 1.128379…
    limits = x̄ ± 3·σ̂ = x̄ ± 2.6586…·mean moving range

Lots are the unit: raw readings are autocorrelated, and a moving range of them is nearly 0.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtrit

D2 = 2 / math.sqrt(math.pi)
"""Expected range of two standard normal values, exact (tables print 1.128; 3/d2 as E2 = 2.66)."""
LOTS_MIN = 20
"""Fewer lots do not make limits."""
PROVISIONAL_LOTS_MIN = 8
"""From here to LOTS_MIN the limits are provisional and wider."""
SIGMA_LIMIT = 3.0
_TAIL = 0.5 * math.erfc(SIGMA_LIMIT / math.sqrt(2))
"""P(z > 3) = 0.00135: what a provisional limit keeps."""
_MOVING_RANGE_FREEDOM = 0.62
"""Degrees of freedom of a mean moving range are about 0.62·(n − 1); see docs/statistics.md."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndividualsChart:
    """Centre and limits of a sequence of lot means, in the signal's unit. None = too few lots to say."""

    n: int
    centre: float | None
    sigma: float | None
    lower: float | None
    upper: float | None
    provisional: bool
    outside: tuple[int, ...]
    """Indices of the values strictly beyond a limit."""


def individuals_chart(values: Sequence[float], *, resolution: float = 0.0) -> IndividualsChart:
    """Chart of `values` in the order in which the lots were made.

    20 lots or more: x̄ ± 3·σ̂. 8 to 19: x̄ ± t(0.99865; ν)·σ̂·√(1 + 1/n), ν = 0.62·(n − 1), a prediction interval of
    the same tail. Fewer: no limits. σ̂ is never below resolution/√12.

    Raises:
        ValueError: a value is not a finite number.
    """
    if not all(math.isfinite(value) for value in values):
        raise ValueError("got a lot mean that is not a finite number; leave lots without readings out")
    n = len(values)
    if n == 0:
        return IndividualsChart(n=0, centre=None, sigma=None, lower=None, upper=None, provisional=False, outside=())
    centre = math.fsum(values) / n
    if n < PROVISIONAL_LOTS_MIN:
        return IndividualsChart(n=n, centre=centre, sigma=None, lower=None, upper=None, provisional=False, outside=())
    ranges = [abs(after - before) for before, after in itertools.pairwise(values)]
    sigma = max(math.fsum(ranges) / len(ranges) / D2, resolution / math.sqrt(12))
    provisional = n < LOTS_MIN
    half_width = sigma * (_provisional_factor(n) if provisional else SIGMA_LIMIT)
    return IndividualsChart(
        n=n,
        centre=centre,
        sigma=sigma,
        lower=centre - half_width,
        upper=centre + half_width,
        provisional=provisional,
        outside=tuple(i for i, value in enumerate(values) if abs(value - centre) > half_width),
    )


def _provisional_factor(n: int) -> float:
    freedom = _MOVING_RANGE_FREEDOM * (n - 1)
    return float(stdtrit(freedom, 1 - _TAIL)) * math.sqrt(1 + 1 / n)
