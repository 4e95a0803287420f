"""The words of `filiere replay`, in both languages."""

from filiere.clock import to_text
from filiere.plant import Label
from filiere.terminal import Language, printable
from simulators.replay.sending import Progress

MESSAGES, ROWS, FIRST, LAST = (
    Label(fr="messages", en="messages"),
    Label(fr="lignes et événements", en="rows and events"),
    Label(fr="première heure", en="first time"),
    Label(fr="dernière heure", en="last time"),
)
KIND, COUNT, WHERE, DONE = (
    Label(fr="trouvé", en="found"),
    Label(fr="fois", en="times"),
    Label(fr="d'abord", en="first"),
    Label(fr="ce qui en est fait", en="what is done with it"),
)
CLEAN = Label(fr="Rien d'anormal dans l'enregistrement.", en="Nothing is wrong with the recording.")
CHECKED = Label(fr="Vérifié, rien n'est publié.", en="Checked, nothing is published.")
WRITTEN = Label(fr="{count} messages écrits dans {path}.", en="{count} messages written to {path}.")
SENT = Label(
    fr="{count} messages envoyés en {took:.1f} s, tous arrivés.",
    en="{count} messages sent in {took:.1f} s, all arrived.",
)
WAITING = Label(
    fr="{count} messages envoyés en {took:.1f} s ; {waiting} attendent le collecteur dans la boîte d'envoi : ils"
    " repartiront au prochain `filiere replay`.",
    en="{count} messages sent in {took:.1f} s; {waiting} wait for the collector in the outbox: the next"
    " `filiere replay` sends them.",
)
UNNUMBERED = Label(
    fr="{count} messages sans numéro, perdus si ce programme s'arrête : relancez-le.",
    en="{count} messages without a number, lost when this program stops: run it again.",
)
READ = Label(fr="{count} ko lus", en="{count} kB read")
LEFT = Label(fr="reste", en="left")
WITHOUT_RECEIPT = Label(fr="sans récépissé", en="without a receipt")
COLUMN, SEEN, SIGNAL = (
    Label(fr="colonne", en="column"),
    Label(fr="vu", en="seen"),
    Label(fr="signal proposé", en="proposed signal"),
)
NOT_RECOGNISED = Label(fr="? à compléter", en="? to be completed")
NEEDS_NONE = Label(
    fr="Ce fichier se rejoue sans correspondance : filiere replay {path}",
    en="This file is replayed without a mapping: filiere replay {path}",
)


def progress_text(progress: Progress, language: Language) -> str:
    """`1200 / 93408 messages · 2026-03-11T06:10:00Z · 4000/s · reste 23 s`."""
    total = "" if progress.total is None else f" / {progress.total}"
    parts = [
        f"{progress.sent}{total} messages",
        f"{to_text(progress.shown_ns)[:19]}Z",
        f"{progress.messages_per_s:.0f}/s",
    ]
    if progress.left_s is not None and progress.left_s >= 1.0:
        parts.append(f"{LEFT.in_language(language)} {progress.left_s:.0f} s")
    if progress.waiting:
        parts.append(f"{progress.waiting} {WITHOUT_RECEIPT.in_language(language)}")
    if progress.problem:
        parts.append(printable(progress.problem))
    return " · ".join(parts)
