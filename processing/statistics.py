"""Statistics of one signal over one run, weighted by time.

Reading i holds until the next one, but never longer than HOLD_PERIODS sampling periods, so that a gap is not counted as
knowledge; the first also stands for the time since the start of the window, up to one period. With t in seconds, P the
period, t[n] = the stop of the window:

    w[i] = min(t[i+1] − t[i], 3·P)          w[0] += min(t[0] − start, P)          (P = 0, on change: no cap, w[0] += 0)
    mean = Σ w·x / Σ w          sd = √(Σ w·(x − mean)² / Σ w)          (over the good readings)
    completeness = Σ w / (stop − start)     minutes_outside = Σ w[x outside the limits] / 60

The sums are `math.fsum`: correctly rounded, so that every machine gets the same bits.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filiere.clock import NS_PER_S
from filiere.plant import Limits
from filiere.readings import Series
from processing.exact import COVERAGE_FACTOR

HOLD_PERIODS = 3
"""A reading is believed for at most this many sampling periods."""
PHI_MAX = 0.9999
"""Autocorrelation above this is this: with less than one effective reading nothing could be said."""
_S_PER_MINUTE = 60

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalStatistics:
    """What one signal did during one run. Values are in the signal's unit; None where there was no good reading."""

    key: str
    """`extruder.melt_temp`."""
    n: int
    """Good readings."""
    mean: float | None
    sd: float | None
    """As observed: 0 for a constant; `u_mean` never takes it below resolution/√12."""
    minimum: float | None
    maximum: float | None
    limits: Limits
    minutes_outside: float
    """Minutes of good readings strictly outside the limits."""
    completeness: float
    """Covered good time / duration of the window, 0..1."""
    phi: float
    """Lag-1 autocorrelation of the good readings, mended for its bias, cut to [0, PHI_MAX]."""
    n_effective: float
    """n·(1 − φ)/(1 + φ), at least 1 (0 when there is no reading)."""
    u_mean: float | None
    """Standard uncertainty of the mean (k = 1)."""

    @property
    def u95(self) -> float | None:
        """2·u_mean."""
        return None if self.u_mean is None else COVERAGE_FACTOR * self.u_mean


def signal_statistics(
    series: Series, *, limits: Limits, period_s: float, resolution: float, start_ns: int, stop_ns: int
) -> SignalStatistics:
    """Statistics of a series over [start_ns, stop_ns).

    Readings outside the window are left out; so are those whose quality is not good, which yet end the hold of the
    reading before them. `period_s` = 0 means *on change*: a reading then holds until the next one, however
    long, and the first says nothing of the time before it.

    Raises:
        ValueError: the window ends before it starts, or the times go back.
    """
    if stop_ns < start_ns:
        raise ValueError(
            f"{series.key}: got a window of {stop_ns - start_ns} ns; expected a stop at or after the start"
        )
    inside = (series.time_ns >= start_ns) & (series.time_ns < stop_ns)
    time_ns, value = series.time_ns[inside], series.value[inside]
    if np.any(np.diff(time_ns) < 0):
        raise ValueError(f"{series.key}: got times that go back; expected a series ordered by time")
    good = (series.quality[inside] == 0) & np.isfinite(value)
    weight_s = hold_s(time_ns, period_s=period_s, start_ns=start_ns, stop_ns=stop_ns)[good]
    x = value[good]
    covered_s = math.fsum(weight_s)
    if covered_s <= 0.0:
        return _nothing(series.key, limits)
    low, high = float(x.min()), float(x.max())
    mean = min(max(math.fsum(weight_s * x) / covered_s, low), high)  # a constant's mean is itself, to the last bit
    sd = math.sqrt(math.fsum(weight_s * (x - mean) ** 2) / covered_s)
    phi = autocorrelation(x)
    n_effective = max(1.0, len(x) * (1 - phi) / (1 + phi))
    return SignalStatistics(
        key=series.key,
        n=len(x),
        mean=mean,
        sd=sd,
        minimum=low,
        maximum=high,
        limits=limits,
        minutes_outside=math.fsum(weight_s[outside(x, limits)]) / _S_PER_MINUTE,
        completeness=min(1.0, covered_s / ((stop_ns - start_ns) / NS_PER_S)),
        phi=phi,
        n_effective=n_effective,
        u_mean=mean_uncertainty(sd=sd, resolution=resolution, n_effective=n_effective),
    )


def _nothing(key: str, limits: Limits) -> SignalStatistics:
    return SignalStatistics(
        key=key,
        n=0,
        mean=None,
        sd=None,
        minimum=None,
        maximum=None,
        limits=limits,
        minutes_outside=0.0,
        completeness=0.0,
        phi=0.0,
        n_effective=0.0,
        u_mean=None,
    )


def hold_s(time_ns: npt.NDArray[np.int64], *, period_s: float, start_ns: int, stop_ns: int) -> _Floats:
    """How long each reading holds, in s, shape (n,). See the formula at the top of the module."""
    if len(time_ns) == 0:
        return np.zeros(0)
    held_ns = np.diff(time_ns, append=np.int64(stop_ns))
    if period_s > 0:
        period_ns = round(period_s * NS_PER_S)
        held_ns = np.minimum(held_ns, HOLD_PERIODS * period_ns)
        held_ns[0] += min(int(time_ns[0]) - start_ns, period_ns)
    seconds: _Floats = held_ns / NS_PER_S
    return seconds


def outside(values: _Floats, limits: Limits) -> npt.NDArray[np.bool_]:
    """Which values are strictly outside the limits, shape (n,)."""
    mask = np.zeros(len(values), dtype=np.bool_)
    if limits.low is not None:
        mask |= values < limits.low
    if limits.high is not None:
        mask |= values > limits.high
    return mask


def autocorrelation(values: _Floats) -> float:
    """φ of an AR(1) process = r1 + (1 + 4·r1)/n, cut to [0, PHI_MAX].

    r1 = Σ (x[i] − x̄)(x[i+1] − x̄) / Σ (x[i] − x̄)²: Box, Jenkins, Reinsel, *Time Series Analysis*, section 2.1. Its
    mean is lower than φ by (1 + 4φ)/n: Kendall (1954), Marriott and Pope (1954), *Biometrika* 41. A negative one is cut
    to 0, which never flatters the mean.
    """
    if len(values) < 3:
        return 0.0
    centred = values - math.fsum(values) / len(values)
    total = math.fsum(centred * centred)
    if total == 0.0:
        return 0.0
    r1 = math.fsum(centred[:-1] * centred[1:]) / total
    return min(max(r1 + (1 + 4 * r1) / len(values), 0.0), PHI_MAX)


def mean_uncertainty(*, sd: float, resolution: float, n_effective: float) -> float:
    """Standard uncertainty of a mean of autocorrelated readings.

    u² = max(sd, r/√12)² / max(1, n_eff − 1) + r²/12          n_eff = n·(1 − φ)/(1 + φ)

    The first term is the scatter (GUM 4.2.3 with the effective sample size of an AR(1) process; n_eff − 1, because the
    scatter about the sample's own mean is too small by σ²/n_eff), the second what no averaging removes: the
    resolution r (GUM F.2.2.1), which also stands for the calibration as long as the plant model states none.
    """
    floor = resolution / math.sqrt(12)
    return math.sqrt(max(sd, floor) ** 2 / max(1.0, n_effective - 1) + floor**2)
