"""What the collector's dashboard says, in French first. Short sentences: what it shows, then what to do."""

from filiere.plant import Label

TITLE = Label(fr="{site} – collecte et comptes", en="{site} – collection and accounts")
ABOUT = Label(
    fr="Tout ce que les appareils ont publié est-il enregistré ? Publié = enregistré + refusé + en attente + manquant "
    "(+ passé en perte).",
    en="Is all that the devices published stored? Published = stored + refused + waiting + missing (+ written off).",
)

RECEPTION = Label(fr="Réception", en="Reception")
RECEPTION_HELP = Label(
    fr="ACCEPTE : ce que les appareils envoient est sur le disque avant d'être acquitté. RIEN N'EST ACCEPTÉ : "
    "disque plein ou courtier injoignable ; rien n'est perdu, les appareils gardent leurs mesures, mais ils "
    "ne peuvent pas attendre toujours. MUET : le collecteur n'a rien dit depuis trois minutes. Que faire : "
    "/readyz dit pourquoi ; relancez « filiere collect ».",
    en="ACCEPTS: what devices send is on the disk before it is acknowledged. NOTHING IS ACCEPTED: disk full, or "
    "no broker; nothing is lost, the devices keep their readings, but they cannot wait for ever. SILENT: the "
    "collector has said nothing for three minutes. What to do: /readyz says why; start “filiere collect” "
    "again.",
)
ACCEPTS = Label(fr="ACCEPTE", en="ACCEPTS")
ACCEPTS_NOTHING = Label(fr="RIEN N'EST ACCEPTÉ", en="NOTHING IS ACCEPTED")
RECEIPTS = Label(fr="Réponses aux appareils", en="Answers to devices")
RECEIPTS_HELP = Label(
    fr="RÉPOND : chaque appareil apprend que ses mesures sont sur le disque, et les oublie. NE RÉPOND PLUS : les "
    "appareils gardent tout ; rien n'est perdu, mais ils se remplissent. Que faire : /readyz dit pourquoi ; relancez "
    "« filiere collect ».",
    en="ANSWERS: each device hears that its readings are on the disk, and forgets them. ANSWERS NO MORE: the devices "
    "keep everything; nothing is lost, but they fill up. What to do: /readyz says why; start “filiere collect” again.",
)
ANSWERED = Label(fr="RÉPOND", en="ANSWERS")
NOT_ANSWERED = Label(fr="NE RÉPOND PLUS", en="ANSWERS NO MORE")
SILENT = Label(fr="MUET", en="SILENT")

LAG = Label(fr="À enregistrer", en="To be recorded")
LAG_HELP = Label(
    fr="Messages sur le disque que l'enregistrement n'a pas encore traités. Vert : tout va bien. S'il monte sans "
    "cesse : la base des mesures ne répond pas ou ne suit pas ; rien n'est perdu.",
    en="Messages on the disk that the recorder has still to do. Green: all is well. If it keeps rising: the "
    "database does not answer, or is too slow; nothing is lost.",
)
MISSING = Label(fr="Manquant", en="Missing")
MISSING_HELP = Label(
    fr="Lignes que les appareils ont numérotées et qui ne sont jamais arrivées. Rouge : « filiere audit --gaps » "
    "dit lesquelles. Un appareil qui garde ses mesures (outbox) les renvoie de lui-même. Une ligne qui a "
    "changé de collecteur : « filiere audit » sur les dossiers des deux. Perdues pour de bon : « filiere "
    "audit --write-off ».",
    en="Rows that devices numbered and that never arrived. Red: “filiere audit --gaps” says which. A device that "
    "keeps its readings (outbox) sends them again by itself. A line that moved to another collector: “filiere "
    "audit” over both folders. Lost for good: “filiere audit --write-off”.",
)
NOTHING_MISSING = Label(fr="rien ne manque", en="nothing is missing")
REFUSED = Label(fr="Refusé", en="Refused")
REFUSED_HELP = Label(
    fr="Lignes refusées et gardées à part avec leur motif. Que faire : « filiere quarantine » dit pourquoi et "
    "quoi corriger ; « filiere quarantine retry » les reprend ensuite.",
    en="Rows that were refused and set aside with a reason. What to do: “filiere quarantine” says why and what "
    "to correct; “filiere quarantine retry” takes them in afterwards.",
)
NOTHING_REFUSED = Label(fr="rien n'est refusé", en="nothing is refused")
FREE = Label(fr="Place libre", en="Free space")
FREE_HELP = Label(
    fr="Sur le disque du collecteur. Orange sous 10 Go, rouge sous 1 Go : libérez de la place. Disque plein, "
    "plus rien n'est accepté, et tout reprend de soi-même quand il y a de la place.",
    en="On the collector's disk. Orange below 10 GB, red below 1 GB: free some space. When it is full nothing is "
    "accepted, and all goes on by itself when there is space.",
)

RATES = Label(fr="Publié et enregistré, lignes par minute", en="Published and stored, rows a minute")
RATES_HELP = Label(
    fr="Les deux courbes se suivent. Enregistré sous publié pendant longtemps : voyez « Manquant » et « Refusé ».",
    en="The two curves follow each other. Stored below published for long: look at “Missing” and “Refused”.",
)
PUBLISHED, STORED = Label(fr="publié", en="published"), Label(fr="enregistré", en="stored")
OPEN_ROWS = Label(fr="Manquant et refusé, lignes", en="Missing and refused, rows")
OPEN_ROWS_HELP = Label(
    fr="Depuis le début. Une marche vers le haut date le trouble ; « manquant » redescend quand un appareil renvoie.",
    en="Since the beginning. A step up dates the trouble; “missing” comes down when a device sends again.",
)
DOUBTS = Label(
    fr="En retard, heure douteuse, doublons : lignes par minute", en="Late, doubtful clock, repeated: rows a minute"
)
DOUBTS_HELP = Label(
    fr="En retard : enregistré, plus vieux que ce que l'appareil avait déjà envoyé. Heure douteuse : horloge de "
    "l'appareil à régler. Doublons : renvoyés pour rien, sans mal.",
    en="Late: stored, though older than what the device had sent. Doubtful clock: set the device's clock. "
    "Repeated: sent again for nothing, no harm.",
)
LATE, CLOCK = Label(fr="en retard", en="late"), Label(fr="heure douteuse", en="doubtful clock")
REPEATED = Label(fr="doublons", en="repeated")
LOG = Label(fr="À enregistrer, messages", en="To be recorded, messages")
LOG_BYTES = Label(fr="Journal des messages, taille", en="Message log, size")
LOG_BYTES_HELP = Label(
    fr="Le journal garde ce qui est arrivé pendant FILIERE_LOG_RETENTION_DAYS jours. Sa taille doit se stabiliser.",
    en="The log keeps what arrived for FILIERE_LOG_RETENTION_DAYS days. Its size should become steady.",
)

ACCOUNTS = Label(fr="Comptes : {line}", en="Accounts: {line}")
ACCOUNTS_HELP = Label(
    fr="Un appareil par case. « juste » : tout ce qu'il a numéroté est arrivé. Un nombre en rouge : autant de "
    "lignes manquent. « sans nouvelles » : il n'a jamais été entendu, vérifiez qu'il est branché et qu'il publie sous "
    "ce nom ; ou bien le collecteur est MUET, voyez « Réception ».",
    en="A device a tile. “closes”: all that it numbered has arrived. A number in red: so many rows are missing. "
    "“no news”: it was never heard, check that it is plugged in and publishes under this name; or the collector is "
    "SILENT, look at “Reception”.",
)
CLOSES = Label(fr="juste", en="closes")
NO_NEWS = Label(fr="sans nouvelles", en="no news")
TERMINAL = Label(fr="Terminal", en="Terminal")
SKEW = Label(fr="Décalage d'horloge : {line}", en="Clock skew: {line}")
SKEW_HELP = Label(
    fr="Heure d'arrivée moins heure de l'appareil, de sa dernière ligne. Près de zéro : tout va bien. Négatif ou "
    "qui dérive : réglez l'horloge de l'appareil. Grand après une coupure : il rattrape.",
    en="Time of arrival less the device's own, of its last row. Near zero: all is well. Negative, or drifting: "
    "set the device's clock. Large after an outage: it catches up.",
)
SILENCE = Label(fr="Silence : {line}", en="Silence: {line}")
SILENCE_HELP = Label(
    fr="Depuis combien de temps on n'a rien reçu de chaque appareil. Un terminal se tait entre deux événements : "
    "c'est normal.",
    en="For how long nothing came from each device. A terminal is silent between two events: that is normal.",
)
