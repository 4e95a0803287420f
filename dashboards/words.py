"""What operators read, in French first. Short sentences: what it shows, then what to do."""

from collections.abc import Mapping

from dashboards.units import printed
from filiere.plant import Label, Limits, Line, Signal, limits_of

TITLE = Label(fr="{line} – écran opérateur", en="{line} – operator screen")
ABOUT = Label(
    fr="Ce qui se passe sur la ligne et ce qui ne va pas. Le « i » de chaque panneau dit quoi faire.",
    en="What happens on the line and what is wrong. The “i” of each panel says what to do.",
)
OTHER_SCREENS = Label(fr="Autres écrans", en="Other screens")

STATE = Label(fr="État de la ligne", en="State of the line")
STATE_HELP = Label(
    fr="EN MARCHE : un lot est en cours. À L'ARRÊT : aucun lot n'est ouvert. Si l'écran ne dit pas la vérité : "
    "ouvrez ou fermez le lot sur le terminal de la ligne.",
    en="RUNNING: a lot is under way. IDLE: no lot is open. If this is not true: open or close the lot on the line's "
    "terminal.",
)
RUNNING = Label(fr="EN MARCHE", en="RUNNING")
IDLE = Label(fr="À L'ARRÊT", en="IDLE")
UNKNOWN = Label(fr="INCONNU", en="UNKNOWN")

LOT = Label(fr="Lot en cours", en="Current lot")
LOT_HELP = Label(
    fr="Le numéro à écrire sur le big-bag. S'il est différent de l'étiquette : arrêtez l'ensachage et prévenez le "
    "responsable.",
    en="The number to write on the big-bag. If the label says another one: stop bagging and tell the supervisor.",
)
NO_LOT = Label(fr="aucun lot", en="no lot")

RECIPE = Label(fr="Recette", en="Recipe")
RECIPE_HELP = Label(
    fr="La recette du lot en cours. Vérifiez qu'elle est bien celle de l'ordre de fabrication avant de charger.",
    en="The recipe of the current lot. Check that it is the one on the work order before loading.",
)
NO_RECIPE = Label(fr="aucune", en="none")

AGE = Label(fr="Données : {unit}", en="Data: {unit}")
AGE_HELP = Label(
    fr="Vert : l'âge de la dernière mesure de la machine. Rouge « MUET » : rien reçu depuis {seconds} s. Que faire : "
    "regardez si la machine est sous tension et si son câble réseau est branché, puis prévenez la maintenance. "
    "Ne vous fiez pas aux autres valeurs de cette machine.",
    en="Green: the age of the machine's last reading. Red “SILENT”: nothing received for {seconds} s. What to do: "
    "check that the machine is powered and its network cable is plugged in, then tell maintenance. Do not trust the "
    "other values of this machine.",
)
SILENT = Label(fr="MUET", en="SILENT")

ALARMS = Label(fr="Alarmes : ce qui sort des limites maintenant", en="Alarms: what is outside its limits now")
ALARMS_HELP = Label(
    fr="Vert « normal » : rien à faire. Rouge « trop haut » ou « trop bas » : cherchez la courbe du même nom plus bas, "
    "son « i » dit quoi faire. « sans mesure » : le capteur se tait, prévenez la maintenance. Ligne à l'arrêt : les "
    "températures basses sont normales.",
    en="Green “normal”: nothing to do. Red “too high” or “too low”: find the curve of the same name below, its “i” "
    "says what to do. “no reading”: the sensor is silent, tell maintenance. Line idle: low temperatures are normal.",
)
NORMAL = Label(fr="normal", en="normal")
TOO_HIGH = Label(fr="trop haut", en="too high")
TOO_LOW = Label(fr="trop bas", en="too low")
NO_READING = Label(fr="sans mesure", en="no reading")

OTHERS = Label(fr="Autres mesures", en="Other readings")
OF_UNIT = Label(fr="{unit} : {signal}", en="{unit}: {signal}")
AND = Label(fr=" et ", en=" and ")

_BANDS = Label(
    fr="La bande verte est la plage à tenir.",
    en="The green band is the range to keep.",
)
_NO_BANDS = Label(fr="Pas de limite : pour suivre la marche.", en="No limit: to follow the process.")
_RECIPE_LIMITS = Label(fr="{signal}, recette « {recipe} » : {limits}.", en="{signal}, recipe “{recipe}”: {limits}.")
_ALWAYS_LIMITS = Label(fr="{signal} : {limits}.", en="{signal}: {limits}.")
_BETWEEN = Label(fr="de {low} à {high}", en="from {low} to {high}")
_AT_LEAST = Label(fr="au moins {low}", en="at least {low}")
_AT_MOST = Label(fr="au plus {high}", en="at most {high}")
_NO_LIMIT = Label(fr="sans limite", en="no limit")

_WHAT_TO_DO: Mapping[str, Label] = {
    "fibre_ratio": Label(
        fr="Hors limites plus de 2 minutes : vérifiez les doseurs ou le tri, mettez la matière à part, prévenez le "
        "responsable.",
        en="Outside for more than 2 minutes: check the feeders or the sorting, put the material aside, tell the "
        "supervisor.",
    ),
    "batch_weight": Label(
        fr="Doit monter régulièrement. S'il ne bouge plus alors que la ligne tourne : vérifiez que rien ne touche la "
        "bascule. Sac vide, il doit revenir à zéro : sinon refaites la tare.",
        en="It should rise steadily. If it stands still while the line runs: check that nothing touches the scale. "
        "With no bag it should come back to zero: if not, tare again.",
    ),
    "moisture": Label(
        fr="Trop haut : n'alimentez pas l'extrudeuse, prolongez le séchage et contrôlez la température du sécheur.",
        en="Too high: do not feed the extruder, dry longer and check the dryer's temperature.",
    ),
    "motor_load": Label(
        fr="Trop haut : réduisez l'alimentation. Si cela dure plus de 10 secondes : arrêtez et cherchez un bourrage, "
        "machine consignée.",
        en="Too high: feed less. If it lasts more than 10 seconds: stop and look for a jam, machine locked out.",
    ),
    "Cel": Label(
        fr="Trop haut : baissez la consigne de 5 °C et attendez 10 minutes. Trop bas : attendez la fin de la chauffe ; "
        "si la température ne remonte pas, prévenez la maintenance (collier chauffant, thermocouple).",
        en="Too high: lower the set point by 5 °C and wait 10 minutes. Too low: wait for the end of heating up; if it "
        "does not rise, tell maintenance (heater band, thermocouple).",
    ),
    "bar": Label(
        fr="Trop haut : réduisez la vitesse de vis, puis changez le filtre. Chute brutale : vérifiez l'alimentation. "
        "Ne restez jamais devant la filière.",
        en="Too high: lower the screw speed, then change the screen. Sudden drop: check the feed. Never stand in front "
        "of the die.",
    ),
    "kg/h": Label(
        fr="Débit nul ou irrégulier : regardez la trémie (vide, voûte), puis le doseur.",
        en="No flow or uneven flow: look at the hopper (empty, bridging), then at the feeder.",
    ),
    "kg": Label(
        fr="Trémie presque vide : remplissez-la. Poids figé : vérifiez que rien ne touche la bascule.",
        en="Hopper nearly empty: fill it. Weight stuck: check that nothing touches the scale.",
    ),
    "/min": Label(
        fr="Ne changez la vitesse que par petits pas, en regardant la pression.",
        en="Change the speed in small steps only, watching the pressure.",
    ),
    "A": Label(
        fr="Hausse brutale : matière trop froide ou corps étranger. Réduisez la vitesse de vis et prévenez "
        "la maintenance.",
        en="Sudden rise: material too cold, or a foreign body. Lower the screw speed and tell maintenance.",
    ),
}
"""Signal id, else unit → what to do."""

_OTHERWISE = Label(
    fr="Valeur inhabituelle : prévenez le responsable.",
    en="Unusual value: tell the supervisor.",
)


def what_to_do(signal: Signal) -> Label:
    """The sentence for a signal: by its name, else by its unit."""
    return _WHAT_TO_DO.get(signal.id) or _WHAT_TO_DO.get(signal.unit) or _OTHERWISE


def curve_help(line: Line, signals: tuple[Signal, ...], language: str) -> str:
    """What a panel of curves shows, its limits for every recipe, and what to do."""
    limits = tuple(sentence for signal in signals for sentence in _limit_sentences(line, signal, language))
    head = (_BANDS if limits else _NO_BANDS).in_language(language)
    advice = dict.fromkeys(what_to_do(signal).in_language(language) for signal in signals)
    return " ".join((head, *limits, *advice))


def _limit_sentences(line: Line, signal: Signal, language: str) -> tuple[str, ...]:
    """The signal's limits in words, once when they do not depend on the recipe."""
    by_recipe = {
        recipe.label.in_language(language): limits_of(signal, recipe)
        for step in line.steps
        if signal.device in step.units
        for recipe in step.recipes
    }
    name = signal.label.in_language(language)
    if set(by_recipe.values()) <= {signal.limits}:
        if signal.limits == Limits():
            return ()
        shown = _limits_in_words(signal.limits, signal.unit, language)
        return (_ALWAYS_LIMITS.in_language(language).format(signal=name, limits=shown),)
    return tuple(
        _RECIPE_LIMITS.in_language(language).format(
            signal=name, recipe=recipe, limits=_limits_in_words(limits, signal.unit, language)
        )
        for recipe, limits in by_recipe.items()
    )


def _limits_in_words(limits: Limits, unit: str, language: str) -> str:
    low = "" if limits.low is None else printed(limits.low, unit, language)
    high = "" if limits.high is None else printed(limits.high, unit, language)
    if low and high:
        pattern = _BETWEEN
    elif low or high:
        pattern = _AT_LEAST if low else _AT_MOST
    else:
        pattern = _NO_LIMIT
    return pattern.in_language(language).format(low=low, high=high)
