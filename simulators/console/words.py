"""The console's own words."""

from filiere.plant import Label
from simulators.faults.fault import Layer
from simulators.output.live_faults import FaultState

TITLE = Label(fr="Filière — ateliers simulés", en="Filière — simulated workshops")
SIGNAL, TRUE, SHOWN, SYSTEM, WRONG = (
    Label(fr="signal", en="signal"),
    Label(fr="vrai", en="true"),
    Label(fr="affiché", en="shown"),
    Label(fr="enregistré", en="stored"),
    Label(fr="panne", en="fault"),
)
TREND = Label(fr="la dernière heure : ─ vrai, • affiché", en="the last hour: ─ true, • shown")
NOTHING_SHOWN = Label(fr="rien", en="nothing")
STANDS_STILL = Label(fr="à l'arrêt", en="stands still")
FAULTS = Label(fr="Pannes", en="Faults")
STATES: dict[FaultState, Label] = {
    "waiting": Label(fr="à venir", en="to come"),
    "active": Label(fr="en cours", en="there"),
    "over": Label(fr="finie", en="over"),
}
LAYERS = {
    Layer.PROCESS: Label(fr="machine", en="machine"),
    Layer.SENSOR: Label(fr="capteur", en="sensor"),
    Layer.NETWORK: Label(fr="réseau", en="network"),
    Layer.OPERATOR: Label(fr="opérateur", en="operator"),
}
REACTION = Label(fr="Ce que le système en fait", en="What the system makes of it")
NO_SYSTEM = Label(
    fr="Aucun collecteur n'a tourné dans ce dossier : les messages attendent dans la boîte d'envoi. Lancez filiere"
    " collect, ou filiere demo.",
    en="No collector has run in this folder: messages wait in the outbox. Start filiere collect, or filiere demo.",
)
RECEIVED = Label(
    fr="{received} messages reçus, {lag} à enregistrer", en="{received} messages received, {lag} to record"
)
NOTHING_REFUSED = Label(fr="rien de refusé", en="nothing refused")
REFUSED = Label(fr="refusé : {reasons}", en="refused: {reasons}")
LOTS = Label(fr="Lots finis", en="Finished lots")
NO_LOT = Label(fr="aucun encore", en="none yet")
LOT = Label(fr="{lot} : {verdict}", en="{lot}: {verdict}")
NOW = Label(
    fr="{time} · {rate}× · {published} messages · {waiting} dans la boîte d'envoi",
    en="{time} · {rate}× · {published} messages · {waiting} in the outbox",
)
STARTING = Label(fr="La simulation commence…", en="The simulation begins…")
ENDED = Label(fr="La simulation est finie ; q pour quitter.", en="The simulation has ended; q to leave.")

TRIGGER = Label(fr="Déclencher une panne", en="Trigger a fault")
STOP = Label(fr="Arrêter la panne", en="Stop the fault")
NEXT = Label(fr="Ligne suivante", en="Next line")
LEAVE = Label(fr="Quitter", en="Leave")
CANCEL = Label(fr="Annuler", en="Cancel")
ORDER = Label(fr="Déclencher une panne", en="Trigger a fault")
KIND = Label(fr="Quelle panne ?", en="Which fault?")
TARGET = Label(fr="Où ?", en="Where?")
WHOLE_LINE = Label(fr="toute la ligne", en="the whole line")
SEVERITY = Label(fr="{meaning} (usuel {usual})", en="{meaning} (usual {usual})")
NO_SEVERITY = Label(fr="elle est là ou non", en="it is there or not")
DURATION = Label(
    fr="durée, par ex. 20 min ; vide = jusqu'à l'arrêt", en="duration, such as 20 min; empty = until stopped"
)
MUST_END = Label(fr="durée ; vide = {usual}", en="duration; empty = {usual}")
NOT_A_NUMBER = Label(
    fr="La gravité est un nombre, tel que 12 ou 0,5.", en="The severity is a number, such as 12 or 0.5."
)
CHOOSE = Label(fr="Choisir une panne et un endroit.", en="Choose a fault and a place.")
TRIGGERED = Label(fr="Déclenchée : {fault}", en="Triggered: {fault}")
STOPPED = Label(fr="Arrêtée : {fault}", en="Stopped: {fault}")
NOTHING_TO_STOP = Label(
    fr="Choisir une panne en cours dans la liste, puis x.", en="Choose a fault that is there in the list, then x."
)
