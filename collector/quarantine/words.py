"""What to do with what was refused: for each reason one sentence, for who reads the quarantine."""

from filiere.plant import Label

RETRY_AFTER = Label(
    fr=" Puis : filiere quarantine retry --reason {reason}",
    en=" Then: filiere quarantine retry --reason {reason}",
)
NEXT_STEP = {
    "wrong_topic": Label(
        fr="L'émetteur publie sur un topic qui n'en est pas un : corrigez-le dans l'appareil (docs/wire.md). Un"
        " appareil qui ne peut pas changer de topic se décrit par un « binding » dans le fichier de l'atelier.",
        en="The sender publishes on a topic that is none of ours: correct it in the device (docs/wire.md). A device"
        " that cannot change its topic is described by a binding in the plant file.",
    ),
    "too_large": Label(
        fr="L'appareil envoie plus de 256 Kio d'un coup : faites-lui envoyer moins de lignes par message.",
        en="The device sends more than 256 KiB at once: let it send fewer rows a message.",
    ),
    "not_json": Label(
        fr="Le contenu n'est pas du JSON : regardez-le ci-dessous ; coupé, vide, ou écrit par un programme qui n'est"
        " pas le bon. Corrigez l'émetteur ; ce message-ci restera refusé.",
        en="The payload is not JSON: look at it below; cut off, empty, or sent by a wrong program. Correct the"
        " sender; this message stays refused.",
    ),
    "wrong_shape": Label(
        fr="Le JSON n'a pas les noms ou les types attendus : comparez avec docs/wire.md et corrigez l'émetteur ou le"
        " « binding ».",
        en="The JSON has other names or types than expected: compare it with docs/wire.md and correct the sender or"
        " the binding.",
    ),
    "missing_path": Label(
        fr="Le « binding » cherche une valeur qui n'est pas dans le message : corrigez son chemin dans le fichier de"
        " l'atelier (filiere bindings test dit ce que deviendrait chaque message).",
        en="The binding looks for a value that is not in the message: correct its path in the plant file (filiere"
        " bindings test says what each message would become).",
    ),
    "not_finite": Label(
        fr="Le capteur a donné NaN, l'infini ou un nombre trop grand : vérifiez le capteur et son câble. Une mesure"
        " absente s'écrit null.",
        en="The sensor gave NaN, an infinity or a number too large: check the sensor and its cable. What was not"
        " measured is written null.",
    ),
    "local_time": Label(
        fr="L'heure n'a pas de décalage (Z, +01:00) : réglez l'appareil pour qu'il l'envoie.",
        en="The time has no offset (Z, +01:00): set the device to send one.",
    ),
    "bad_time": Label(
        fr="L'heure n'en est pas une : corrigez l'horloge ou le format dans l'appareil.",
        en="The time is no time: correct the clock or the format in the device.",
    ),
    "unknown_device": Label(
        fr="L'atelier n'a pas cet appareil : une faute de frappe dans le topic, ou un appareil à ajouter au fichier"
        " de l'atelier (et redémarrer filiere collect).",
        en="The plant has no such device: a typing error in the topic, or a device to add to the plant file (and"
        " start filiere collect again).",
    ),
    "unknown_signal": Label(
        fr="L'appareil mesure ce que le fichier de l'atelier n'a pas : ajoutez le signal, ou corrigez son nom, et"
        " redémarrez filiere collect.",
        en="The device measures what the plant file does not have: add the signal, or correct its name, and start"
        " filiere collect again.",
    ),
    "wrong_unit": Label(
        fr="L'unité envoyée ne se convertit pas en celle du fichier de l'atelier : l'un des deux se trompe.",
        en="The unit that was sent does not convert to the plant file's: one of the two is wrong.",
    ),
    "event_refused": Label(
        fr="Cet événement contredit le registre (masse, ordre, lot déjà fermé) : lisez pourquoi, corrigez à la"
        " source par un nouvel événement.",
        en="This event contradicts the ledger (mass, order, a lot already closed): read why, and put it right at the"
        " source with a new event.",
    ),
    "unknown_name": Label(
        fr="L'événement nomme un site, une ligne, une étape, une recette ou une matière que l'atelier n'a pas :"
        " complétez le fichier de l'atelier et redémarrez filiere collect, ou corrigez le terminal.",
        en="The event names a site, line, step, recipe or material that the plant does not have: add it to the plant"
        " file and start filiere collect again, or correct the terminal.",
    ),
    "not_owner": Label(
        fr="L'appareil parle au nom d'une autre ligne que la sienne : corrigez l'émetteur ; si personne ne"
        " l'explique, changez son mot de passe (filiere devices).",
        en="The device speaks for another line than its own: correct the sender; if nobody can explain it, change"
        " its password (filiere devices).",
    ),
    "too_many_boots": Label(
        fr="L'appareil change de « boot » sans cesse : il redémarre en boucle, ou quelqu'un publie à sa place. Quand"
        " c'est réglé, essayez de nouveau.",
        en="The device changes its boot all the time: it restarts in a loop, or somebody publishes in its place."
        " When that is settled, try again.",
    ),
    "too_many_gaps": Label(
        fr="L'appareil laisse des trous partout dans ses numéros : ses numéros ne comptent pas de un en un, ou"
        " quelqu'un publie à sa place. Quand c'est réglé, essayez de nouveau.",
        en="The device leaves gaps all over its numbers: they do not count on by one, or somebody publishes in its"
        " place. When that is settled, try again.",
    ),
    "internal_error": Label(
        fr="Une erreur de ce programme : le message est gardé. Signalez-la avec ce texte, et après la mise à jour"
        " essayez de nouveau.",
        en="A mistake in this program: the message is kept. Report it with this text, and try again after the update.",
    ),
    "store_refused": Label(
        fr="La base des mesures ne prend pas ces lignes : lisez ses mots (un champ d'un autre type, une date hors de"
        " la durée de conservation) et corrigez la base ou le fichier de l'atelier.",
        en="The readings store does not take these rows: read its words (a field of another type, a time outside the"
        " retention) and correct the store or the plant file.",
    ),
    "no_birth": Label(
        fr="Un nœud Sparkplug a parlé avant de se présenter : demandez-lui de renaître (Node Control/Rebirth).",
        en="A Sparkplug node spoke before it introduced itself: ask it for a rebirth (Node Control/Rebirth).",
    ),
    "unbound_topic": Label(
        fr="Ce topic n'est pas à nous, et aucun « binding » ne le décrit plus : remettez le « binding » dans le"
        " fichier de l'atelier.",
        en="This topic is not ours, and no binding describes it any more: put the binding back into the plant file.",
    ),
    "not_sparkplug": Label(
        fr="Le contenu n'est pas du Sparkplug B : l'émetteur, ou le « binding », se trompe de format.",
        en="The payload is not Sparkplug B: the sender, or the binding, has the wrong format.",
    ),
}
"""Reason → what to do."""
OTHERWISE = Label(
    fr="Lisez ce qui ne va pas, corrigez l'émetteur ou le fichier de l'atelier.",
    en="Read what is wrong; correct the sender or the plant file.",
)
HELPED_BY_RETRY = frozenset(
    {
        "wrong_topic",
        "unknown_device",
        "unknown_signal",
        "unknown_name",
        "wrong_unit",
        "missing_path",
        "too_many_boots",
        "too_many_gaps",
        "internal_error",
        "store_refused",
        "no_birth",
        "unbound_topic",
        "event_refused",
    }
)
"""Reasons that something other than the message itself can take away."""


def next_step(reason: str) -> Label:
    """What to do with a message that was refused for this reason."""
    step = NEXT_STEP.get(reason, OTHERWISE)
    if reason not in HELPED_BY_RETRY:
        return step
    return Label(
        fr=step.fr + RETRY_AFTER.fr.format(reason=reason),
        en=step.en + RETRY_AFTER.en.format(reason=reason),
    )
