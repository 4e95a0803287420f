"""Faults of the machines. What each one means physically is in the model of the unit, which asks for it by class."""

from filiere.plant import Label, Line, Signal, Unit
from simulators.faults.fault import ProcessFault, Severity, Target

ZONE_PREFIX = "barrel_temp_z"
FEEDS = ("fibre_feed", "polymer_feed")
THROUGHPUT = "throughput"
"""What an extruder without feeders of its own is fed with."""


def _is(unit: Unit, model: str) -> bool:
    """The unit behaves as this model of a machine."""
    return unit.simulator.get("model") == model


class HeaterFault(ProcessFault):
    """Of the heater of one barrel zone."""

    aims_at = Target.SIGNAL
    excludes = "heater"

    @classmethod
    def suits(cls, line: Line, unit: Unit, signal: Signal | None) -> bool:  # noqa: ARG003 - see Fault.suits
        """A heated zone of an extruder."""
        return _is(unit, "extruder") and signal is not None and signal.id.startswith(ZONE_PREFIX)


class FeederFault(ProcessFault):
    """Of one feeder."""

    aims_at = Target.SIGNAL
    excludes = "feeder"

    @classmethod
    def suits(cls, line: Line, unit: Unit, signal: Signal | None) -> bool:  # noqa: ARG003 - see Fault.suits
        """A flow of a loss-in-weight feeder."""
        return _is(unit, "feeder") and signal is not None and signal.id in FEEDS


class HeaterOpen(HeaterFault):
    """A heater gives no more heat: its controller goes to full duty, and the zone falls to what its neighbours give."""

    kind = "heater_open"
    words = Label(fr="Résistance de chauffe coupée", en="Heater open")
    scale = Severity(
        label=Label(fr="part de puissance perdue", en="share of power lost"), unit="1", usual=1.0, high=1.0
    )


class RelayStuckOn(HeaterFault):
    """A relay does not open any more: the heater heats whatever the controller asks."""

    kind = "relay_stuck_on"
    words = Label(fr="Relais collé fermé", en="Relay stuck on")
    scale = Severity(label=Label(fr="part de puissance", en="share of power"), unit="1", usual=1.0, high=1.0)


class ScreenClog(ProcessFault):
    """The melt brings far more dirt than usual into the screen."""

    kind = "screen_clog"
    aims_at = Target.DEVICE
    excludes = "screen"
    words = Label(fr="Filtre qui se colmate", en="Screen clogging")
    scale = Severity(
        label=Label(fr="fois l'impureté usuelle", en="times the usual dirt"), unit="1", usual=10.0, low=1.0, high=1000.0
    )

    @classmethod
    def suits(cls, line: Line, unit: Unit, signal: Signal | None) -> bool:  # noqa: ARG003 - see Fault.suits
        """An extruder with a screen."""
        return _is(unit, "extruder") and float(unit.simulator.get("screen_clean_bar", 0.0)) > 0.0


class FeederStarve(FeederFault):
    """Less material comes out of a feeder than it is asked for."""

    kind = "feeder_starve"
    words = Label(fr="Doseur sous-alimenté", en="Feeder starved")
    scale = Severity(label=Label(fr="part manquante", en="share missing"), unit="1", usual=0.3, high=1.0)

    @classmethod
    def suits(cls, line: Line, unit: Unit, signal: Signal | None) -> bool:
        """A feeder; or, on a line without any, what the extruder is fed with."""
        alone = _is(unit, "extruder") and not any(_is(each, "feeder") for each in line.units)
        return super().suits(line, unit, signal) or (alone and signal is not None and signal.id == THROUGHPUT)


class FeederBridge(FeederFault):
    """Material bridges over the screw: the flow stops, and the bridge breaks now and then."""

    kind = "feeder_bridge"
    words = Label(fr="Voûte dans la trémie", en="Bridge in the hopper")


class RefillSurge(ProcessFault):
    """Every refill pushes far more material through than the usual few percent."""

    kind = "refill_surge"
    aims_at = Target.DEVICE
    excludes = "refill"
    words = Label(fr="Surdosage au remplissage", en="Surge at refill")
    scale = Severity(label=Label(fr="part de trop", en="share too much"), unit="1", usual=0.15, high=2.0)

    @classmethod
    def suits(cls, line: Line, unit: Unit, signal: Signal | None) -> bool:  # noqa: ARG003 - see Fault.suits
        """Loss-in-weight feeders."""
        return _is(unit, "feeder")


class WetFeed(ProcessFault):
    """What is fed is wetter than usual, and is not dried as far as it should be."""

    kind = "wet_feed"
    aims_at = Target.DEVICE
    excludes = "moisture"
    from_setup = True
    words = Label(fr="Matière humide", en="Wet feed")
    scale = Severity(
        label=Label(fr="fois l'humidité usuelle", en="times the usual moisture"),
        unit="1",
        usual=4.0,
        low=1.0,
        high=20.0,
    )

    @classmethod
    def suits(cls, line: Line, unit: Unit, signal: Signal | None) -> bool:  # noqa: ARG003 - see Fault.suits
        """A dryer."""
        return _is(unit, "dryer")


class WrongPolymer(ProcessFault):
    """Another polymer comes through: viscosity steps, and pressure, load and melt flow rate with it."""

    kind = "wrong_polymer"
    aims_at = Target.DEVICE
    excludes = "polymer"
    words = Label(fr="Mauvais polymère", en="Wrong polymer")
    scale = Severity(
        label=Label(fr="fois la viscosité usuelle", en="times the usual viscosity"),
        unit="1",
        usual=0.5,
        low=0.05,
        high=20.0,
    )

    @classmethod
    def suits(cls, line: Line, unit: Unit, signal: Signal | None) -> bool:  # noqa: ARG003 - see Fault.suits
        """An extruder."""
        return _is(unit, "extruder")
