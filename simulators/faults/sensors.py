"""Faults of sensors, displays and clocks: what is shown is not what is there. The machine goes on as if nothing was."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np

from filiere.clock import NS_PER_S, from_ns
from filiere.plant import Label, Line, Signal, Unit
from simulators.faults.fault import ClockFault, RestartFault, SensorFault, Severity, Stretch, Target, Window
from simulators.line.physics import Array, Times

SECONDS_PER_HOUR = 3600.0
MS_PER_S = 1000
KILOGRAM = "kg"
SPIKE_SHARE = 0.01
"""Share of the rows with a spike [K]: about one in three minutes at 2 s."""
DRIFT_MAX = 1e6
"""Per hour."""
SENTINEL_MAX = 1e12
SKEW_S_MAX = 1e9
"""Thirty years: what a device's clock shows stays a time that can be written."""
MISTAKEN: Mapping[str, tuple[str, float, float]] = {
    "kg": ("g", 1000.0, 0.0),
    "g": ("kg", 0.001, 0.0),
    "Cel": ("[degF]", 1.8, 32.0),
    "bar": ("[psi]", 14.503773773, 0.0),
    "kg/h": ("g/s", 1.0 / 3.6, 0.0),
    "1": ("%", 100.0, 0.0),
    "/min": ("/s", 1.0 / 60.0, 0.0),
    "A": ("mA", 1000.0, 0.0),
    "kW": ("W", 1000.0, 0.0),
    "kW.h": ("W.h", 1000.0, 0.0),
}
"""Unit of the plant model → the unit that is taken for it, factor, offset: shown = value · factor + offset."""
_PLACES = 6


class SensorBreak(SensorFault):
    """The wire is broken: nothing is shown."""

    kind = "sensor_break"
    aims_at = Target.SIGNAL
    words = Label(fr="Capteur coupé", en="Sensor broken")
    excludes = "display"

    def distort(self, stretch: Stretch) -> Array:
        """NaN everywhere."""
        return np.full(len(stretch.values), np.nan)


class SensorStuck(SensorFault):
    """The sensor stays at what it showed when the fault began, to the last digit."""

    kind = "sensor_stuck"
    aims_at = Target.SIGNAL
    words = Label(fr="Capteur figé", en="Sensor stuck")
    excludes = "display"
    on_display = True

    def distort(self, stretch: Stretch) -> Array:
        """The first value, for ever."""
        return np.full(len(stretch.values), stretch.values[0] if len(stretch.values) else np.nan)


class SensorDrift(SensorFault):
    """The sensor shows more and more, or, with a negative severity, less and less than there is."""

    kind = "sensor_drift"
    aims_at = Target.SIGNAL
    words = Label(fr="Dérive du capteur", en="Sensor drifting")
    scale = Severity(label=Label(fr="dérive", en="drift"), unit="signal/h", usual=0.2, low=-DRIFT_MAX, high=DRIFT_MAX)

    def distort(self, stretch: Stretch) -> Array:
        """Value + severity · t."""
        return stretch.values + self.severity * stretch.since_s / SECONDS_PER_HOUR


class SensorSpike(SensorFault):
    """A loose contact: one row in a hundred is far off, up or down, and the next is right again."""

    kind = "sensor_spike"
    aims_at = Target.SIGNAL
    words = Label(fr="Pics parasites", en="Sensor spikes")
    scale = Severity(
        label=Label(fr="part de l'étendue de mesure", en="share of the sensor's range"), unit="1", usual=0.2, high=1.0
    )

    def distort(self, stretch: Stretch) -> Array:
        """Value ± severity · range, in a share SPIKE_SHARE of the rows."""
        # two numbers a row, row by row, so that a longer stretch has the same spikes at its beginning
        drawn = stretch.chance.random_sample((len(stretch.values), 2))
        size = self.severity * (stretch.signal.range_high - stretch.signal.range_low)
        spikes = np.where(drawn[:, 1] < 0.5, -size, size)
        return np.asarray(stretch.values + np.where(drawn[:, 0] < SPIKE_SHARE, spikes, 0.0))


class ScaleTareDrift(SensorFault):
    """The scale's zero walks away and nobody tares it: what is written down of it is as wrong as what it shows."""

    kind = "scale_tare_drift"
    aims_at = Target.SIGNAL
    words = Label(fr="Dérive de tare de la bascule", en="Scale tare drifting")
    scale = Severity(label=Label(fr="dérive", en="drift"), unit="kg/h", usual=2.0, low=-DRIFT_MAX, high=DRIFT_MAX)

    @classmethod
    def suits(cls, line: Line, unit: Unit, signal: Signal | None) -> bool:  # noqa: ARG003 - see Fault.suits
        """A weight."""
        return signal is not None and signal.unit == KILOGRAM

    def offset_kg(self, since_s: float) -> float:
        """What the empty scale shows so long after the onset."""
        return self.severity * since_s / SECONDS_PER_HOUR

    def distort(self, stretch: Stretch) -> Array:
        """Weight + severity · t; no other signal of the device."""
        if stretch.signal.unit != KILOGRAM:
            return stretch.values
        return stretch.values + self.severity * stretch.since_s / SECONDS_PER_HOUR


class UnitError(SensorFault):
    """The number is sent in another unit than the plant model's, and nothing says so: grams for kilograms."""

    kind = "unit_error"
    aims_at = Target.SIGNAL
    words = Label(fr="Erreur d'unité", en="Wrong unit")
    excludes = "unit"
    on_display = True

    @classmethod
    def suits(cls, line: Line, unit: Unit, signal: Signal | None) -> bool:  # noqa: ARG003 - see Fault.suits
        """A unit that another is commonly taken for."""
        return signal is not None and signal.unit in MISTAKEN

    def distort(self, stretch: Stretch) -> Array:
        """Value · factor + offset, of MISTAKEN; a unit that is not in there stays."""
        _, factor, offset = MISTAKEN.get(stretch.signal.unit, (stretch.signal.unit, 1.0, 0.0))
        return np.round(stretch.values * factor + offset, _PLACES)


class Sentinel(SensorFault):
    """A number that means "no value" is sent as if it were one: −175 and 65532 are seen in real records [M]."""

    kind = "sentinel"
    aims_at = Target.SIGNAL
    words = Label(fr="Valeur sentinelle", en="Sentinel value")
    scale = Severity(
        label=Label(fr="valeur envoyée", en="number sent"),
        unit="signal",
        usual=-175.0,
        low=-SENTINEL_MAX,
        high=SENTINEL_MAX,
    )
    excludes = "display"
    on_display = True

    def distort(self, stretch: Stretch) -> Array:
        """Severity, everywhere."""
        return np.full(len(stretch.values), self.severity)


# ----------------------------------------------------------------------------------------------------------- clocks


class ClockSkew(ClockFault):
    """The device's clock is ahead by so much, or behind where it is negative."""

    kind = "clock_skew"
    aims_at = Target.DEVICE
    words = Label(fr="Horloge décalée", en="Clock skewed")
    scale = Severity(label=Label(fr="avance", en="ahead by"), unit="s", usual=420.0, low=-SKEW_S_MAX, high=SKEW_S_MAX)
    excludes = "clock"

    def stamps(self, time_ms: Times, since_s: Array, timezone: str) -> Times:  # noqa: ARG002 - see ClockFault.stamps
        """Time + severity."""
        return time_ms + round(self.severity * MS_PER_S)


class ClockDstJump(ClockFault):
    """The device changes between winter and summer time on the wrong day: an hour forward in winter, back in summer."""

    kind = "clock_dst_jump"
    aims_at = Target.DEVICE
    words = Label(fr="Changement d'heure intempestif", en="Summer time at the wrong time")
    excludes = "clock"

    def stamps(self, time_ms: Times, since_s: Array, timezone: str) -> Times:
        """Time + the step of the zone's other time; an hour forward in a zone that has one time only."""
        if not len(time_ms):
            return time_ms
        onset = from_ns(int(time_ms[0]) * (NS_PER_S // MS_PER_S) - round(float(since_s[0]) * NS_PER_S))
        return time_ms + round(dst_step_s(onset, timezone) * MS_PER_S)


class Clock1970(ClockFault):
    """The device lost the time and counts from the beginning of 1970."""

    kind = "clock_1970"
    aims_at = Target.DEVICE
    words = Label(fr="Horloge repartie de 1970", en="Clock restarted at 1970")
    excludes = "clock"

    def stamps(self, time_ms: Times, since_s: Array, timezone: str) -> Times:  # noqa: ARG002 - see ClockFault.stamps
        """Time since the onset."""
        return np.asarray(np.round(since_s * MS_PER_S), dtype=time_ms.dtype)


def dst_step_s(instant: datetime, timezone: str) -> float:
    """By how much a clock of this zone steps at its next change between winter and summer time, s."""
    zone = ZoneInfo(timezone)
    now_s, *of_the_year = (
        (moment.astimezone(zone).utcoffset() or moment - moment).total_seconds()
        for moment in (instant, *(datetime(instant.year, month, 1, tzinfo=UTC) for month in (1, 7)))
    )
    return next((other_s - now_s for other_s in of_the_year if other_s != now_s), SECONDS_PER_HOUR)


class DeviceRestart(RestartFault):
    """The device starts again: silent while it does, then with a new boot, its rows numbered from 0."""

    kind = "device_restart"
    aims_at = Target.DEVICE
    words = Label(fr="Redémarrage de l'appareil", en="Device restarted")
    excludes = "restart"
    usual_duration_s = 20.0

    def off(self, window: Window) -> Sequence[Window]:
        """All of the window."""
        return (window,)
