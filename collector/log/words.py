"""The words of `filiere log`, in both languages."""

from collections.abc import Sequence

from filiere.message_log import Unreadable
from filiere.plant import Label
from filiere.terminal import Language

LISTED_MAX = 20
_PREFIXES = ("", "k", "M", "G", "T")

PATH = Label(fr="fichier", en="file")
KEPT = Label(fr="messages gardés", en="messages kept")
OLDEST, NEWEST = Label(fr="le plus ancien", en="oldest"), Label(fr="le plus récent", en="newest")
RECORDED = Label(fr="enregistré jusqu'à", en="recorded up to")
BEHIND = Label(fr="en attente d'enregistrement", en="waiting to be recorded")
NO_BOOK = Label(fr="rien encore (jamais enregistré)", en="nothing yet (never recorded)")
SIZE, FREE = Label(fr="taille", en="size"), Label(fr="place libre", en="free space")
RATE = Label(fr="débit (10 min)", en="rate (10 min)")
FULL_IN = Label(fr="disque plein dans", en="disk full in")
NEVER = Label(fr="jamais à ce débit", en="never at this rate")
RETENTION = Label(fr="conservation", en="retention")
LOST = Label(fr="perdus (réparation)", en="lost (repair)")
DAYS = Label(fr="jours", en="days")
ALL_READABLE = Label(fr="Tout le journal se lit.", en="The whole log can be read.")
UNREADABLE = Label(fr="ILLISIBLES : messages {spans}.", en="UNREADABLE: messages {spans}.")
DO_REPAIR = Label(
    fr="Arrêtez `filiere collect` et lancez `filiere log repair` : tout ce qui se lit est gardé.",
    en="Stop `filiere collect` and run `filiere log repair`: it keeps all that can be read.",
)
TO_THE_END = Label(fr="la fin", en="the end")
EXPORTED = Label(fr="{count} messages exportés.", en="{count} messages exported.")
CHECKED = Label(fr="{count} lignes vérifiées", en="{count} lines checked")
READ = Label(fr="{count} messages lus", en="{count} messages read")
IMPORTED = Label(
    fr="{count} messages ajoutés, numéros {first} à {last}. Ceux qui sont déjà enregistrés seront reconnus comme"
    " doublons.",
    en="{count} messages added, offsets {first} to {last}. Those that are recorded already will be known as"
    " duplicates.",
)
NOTHING = Label(fr="Rien à importer.", en="Nothing to import.")
LEFT = Label(fr="reste", en="left")
REWIND_PLAN = Label(
    fr="Les messages {first} à {last} ({count}, reçus depuis {since}) seront jugés de nouveau : mêmes relevés, mêmes"
    " comptes, d'après le modèle d'atelier actuel.",
    en="Messages {first} to {last} ({count}, received since {since}) will be judged again: same readings, same"
    " accounts, by the plant model of today.",
)
REWOUND = Label(
    fr="{count} messages sont jugés de nouveau ; `filiere audit` dit combien il en reste.",
    en="{count} messages are judged again; `filiere audit` says how many are left.",
)
REWIND_LATER = Label(
    fr="La demande reste : l'enregistrement la prendra dès qu'il le pourra.",
    en="The request stays: the recorder takes it up as soon as it can.",
)
NOTHING_TO_REWIND = Label(fr="Aucun message à rejuger.", en="No message to judge again.")
REPAIR_PLAN = Label(
    fr="Un nouveau journal sera fait de tout ce qui se lit dans {path} ; l'ancien est gardé à côté."
    " Il faut {size} libres.",
    en="A new log will be made of all that can be read in {path}; the old one is kept beside it."
    " It takes {size} of space.",
)
REPAIRED = Label(
    fr="Réparé : {count} messages gardés. L'ancien fichier est {aside}.",
    en="Repaired: {count} messages kept. The old file is {aside}.",
)
NOTHING_LOST = Label(fr="Rien n'est perdu.", en="Nothing is lost.")
LOST_SPANS = Label(fr="Perdus : messages {spans}.", en="Lost: messages {spans}.")
GO_ON = Label(fr="Continuer ? [o/N] ", en="Go on? [y/N] ")


def spans_text(spans: Sequence[Unreadable], language: Language) -> str:
    """Offsets from … to …, the first LISTED_MAX of them."""
    to = "à" if language == "fr" else "to"
    texts = [
        f"{span.first} {to} {TO_THE_END.in_language(language) if span.last is None else span.last}" for span in spans
    ]
    more = f", … (+{len(texts) - LISTED_MAX})" if len(texts) > LISTED_MAX else ""
    return ", ".join(texts[:LISTED_MAX]) + more


def bytes_text(count: float, language: Language) -> str:
    """1234567 → `1.2 MB`, in French `1,2 Mo`."""
    unit = "o" if language == "fr" else "B"
    power = 0
    while count >= 1000 and power < len(_PREFIXES) - 1:
        count, power = count / 1000, power + 1
    prefix = _PREFIXES[power]
    return f"{decimal(count, language) if prefix else f'{count:.0f}'} {prefix}{unit}"


def decimal(number: float, language: Language) -> str:
    """One place behind the point, in French behind the comma."""
    text = f"{number:.1f}"
    return text.replace(".", ",") if language == "fr" else text


def span_text(span_s: float, language: Language) -> str:
    """How long, in the unit that fits: days, hours or minutes."""
    days = span_s / 86_400
    if days >= 1:
        return f"{days:.0f} {DAYS.in_language(language)}"
    return f"{decimal(span_s / 3600, language)} h" if span_s >= 3600 else f"{span_s / 60:.0f} min"
