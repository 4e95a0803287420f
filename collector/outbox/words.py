"""What the command says, in French and English."""

from collections.abc import Mapping

WORDS: Mapping[str, tuple[str, str]] = {
    "about": (
        (
            "Envoie au collecteur, par MQTT 5, des lignes JSON lues sur l'entrée standard, et les garde sur le disque"
            ' jusqu\'à son récépissé. Une ligne : {"t": …, "v": {signal: valeur}, "u": {signal: unité}} (t et u'
            " facultatifs), ou un événement EPCIS. Code de sortie : 0 tout va bien ; 1 des lignes ont été refusées ;"
            " 2 impossible de travailler ; 3 --drain n'a pas tout vu confirmé."
        ),
        (
            "Sends JSON lines from standard input to the collector by MQTT 5, and keeps them on the disk until its"
            ' receipt. A line: {"t": ..., "v": {signal: value}, "u": {signal: unit}} (t and u may be left out), or one'
            " EPCIS event. Exit status: 0 all is well; 1 lines were refused; 2 it cannot work; 3 --drain did not see"
            " everything receipted."
        ),
    ),
    "device": ("site/atelier/ligne/appareil", "site/workshop/line/device"),
    "file": ("fichier de la boîte d'envoi [outbox.sqlite]", "the outbox's file [outbox.sqlite]"),
    "host": ("hôte du courtier MQTT [127.0.0.1]", "host of the MQTT broker [127.0.0.1]"),
    "port": ("port du courtier [1883 ; avec --ca 8883]", "port of the broker [1883; with --ca 8883]"),
    "username": ("nom d'utilisateur auprès du courtier", "user name at the broker"),
    "password": ("fichier dont la première ligne est le mot de passe", "file whose first line is the password"),
    "ca": ("TLS : certificat de l'autorité (PEM)", "TLS: certificate of the authority (PEM)"),
    "certificate": ("TLS : notre certificat (PEM)", "TLS: our certificate (PEM)"),
    "key": ("TLS : notre clé privée (PEM)", "TLS: our private key (PEM)"),
    "client_id": ("identifiant MQTT [propre au fichier]", "MQTT client id [the file's own]"),
    "max_mib": ("place de ce qui attend, en MiB [256]", "room for what waits, MiB [256]"),
    "when_full": (
        "quand la place manque : ne plus lire l'entrée (refuse), ou jeter le plus ancien et le compter (drop-oldest)",
        "when there is no room: read no more input (refuse), or throw away the oldest and count it (drop-oldest)",
    ),
    "drain": (
        "à la fin de l'entrée, attendre les récépissés de tout",
        "at the end of the input, wait for all receipts",
    ),
    "timeout": (
        "avec --drain : au plus tant de secondes [sans fin]",
        "with --drain: at most so many seconds [for ever]",
    ),
    "status": ("dire ce que le fichier contient, et c'est tout", "say what the file holds, and no more"),
    "json": ("dire le résultat en JSON sur la sortie standard", "say the result as JSON on standard output"),
    "lang": ("langue : fr ou en [fr]", "language: fr or en [fr]"),
    "progress": (
        "{waiting} en attente · {acknowledged} confirmés · récépissé : {lag}",
        "{waiting} waiting · {acknowledged} acknowledged · receipt: {lag}",
    ),
    "nothing_waits": ("à jour", "up to date"),
    "behind": ("en retard de {s:.1f} s", "{s:.1f} s behind"),
    "line": ("ligne {number} refusée : {words}", "line {number} refused: {words}"),
    "refused": (
        "refusé par le collecteur : {boot} n° {seq}, {rows} relevé(s), {reason} : {message}",
        "refused by the collector: {boot} no. {seq}, {rows} row(s), {reason}: {message}",
    ),
    "full": ("boîte pleine, l'entrée attend : {words}", "the outbox is full, the input waits: {words}"),
    "not_kept": (
        "{count} lignes lues n'ont pas trouvé de place avant l'arrêt : à renvoyer",
        "{count} lines that were read found no room before the stop: send them again",
    ),
    "holds": (
        (
            "{rows} relevés en attente dans {messages} messages ({bytes} octets), le plus ancien : {age} ;"
            " {dropped} jetés faute de place ; identité {boot}"
        ),
        (
            "{rows} rows waiting in {messages} messages ({bytes} bytes), the oldest: {age}; {dropped} thrown away for"
            " room; identity {boot}"
        ),
    ),
    "none": ("aucun", "none"),
    "since": ("depuis {s:.0f} s", "for {s:.0f} s"),
}
"""Key → French, English."""
