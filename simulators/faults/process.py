"""Faults of the machines. What each one means physically is in the model of the unit, which asks for it by class."""

from filiere.plant import Label
from simulators.faults.fault import ProcessFault, Severity, Target


class HeaterOpen(ProcessFault):
    """A heater gives no more heat: its controller goes to full duty, and the zone falls to what its neighbours give."""

    kind = "heater_open"
    aims_at = Target.SIGNAL
    words = Label(fr="Résistance de chauffe coupée", en="Heater open")
    scale = Severity(
        label=Label(fr="part de puissance perdue", en="share of power lost"), unit="1", usual=1.0, high=1.0
    )
    excludes = "heater"


class RelayStuckOn(ProcessFault):
    """A relay does not open any more: the heater heats whatever the controller asks."""

    kind = "relay_stuck_on"
    aims_at = Target.SIGNAL
    words = Label(fr="Relais collé fermé", en="Relay stuck on")
    scale = Severity(label=Label(fr="part de puissance", en="share of power"), unit="1", usual=1.0, high=1.0)
    excludes = "heater"


class ScreenClog(ProcessFault):
    """The melt brings far more dirt than usual into the screen."""

    kind = "screen_clog"
    aims_at = Target.DEVICE
    words = Label(fr="Filtre qui se colmate", en="Screen clogging")
    scale = Severity(
        label=Label(fr="fois l'impureté usuelle", en="times the usual dirt"), unit="1", usual=10.0, low=1.0
    )


class FeederStarve(ProcessFault):
    """Less material comes out of a feeder than it is asked for."""

    kind = "feeder_starve"
    aims_at = Target.SIGNAL
    words = Label(fr="Doseur sous-alimenté", en="Feeder starved")
    scale = Severity(label=Label(fr="part manquante", en="share missing"), unit="1", usual=0.3, high=1.0)
    excludes = "feeder"


class FeederBridge(ProcessFault):
    """Material bridges over the screw: the flow stops, and the bridge breaks now and then."""

    kind = "feeder_bridge"
    aims_at = Target.SIGNAL
    words = Label(fr="Voûte dans la trémie", en="Bridge in the hopper")
    excludes = "feeder"


class RefillSurge(ProcessFault):
    """Every refill pushes far more material through than the usual few percent."""

    kind = "refill_surge"
    aims_at = Target.DEVICE
    words = Label(fr="Surdosage au remplissage", en="Surge at refill")
    scale = Severity(label=Label(fr="part de trop", en="share too much"), unit="1", usual=0.15, high=2.0)


class WetFeed(ProcessFault):
    """What is fed is wetter than usual, and is not dried as far as it should be."""

    kind = "wet_feed"
    aims_at = Target.DEVICE
    words = Label(fr="Matière humide", en="Wet feed")
    scale = Severity(
        label=Label(fr="fois l'humidité usuelle", en="times the usual moisture"), unit="1", usual=4.0, low=1.0
    )


class WrongPolymer(ProcessFault):
    """Another polymer comes through: viscosity steps, and pressure, load and melt flow rate with it."""

    kind = "wrong_polymer"
    aims_at = Target.DEVICE
    words = Label(fr="Mauvais polymère", en="Wrong polymer")
    scale = Severity(
        label=Label(fr="fois la viscosité usuelle", en="times the usual viscosity"),
        unit="1",
        usual=0.5,
        low=0.05,
        high=20.0,
    )
