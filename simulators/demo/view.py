"""What the demo shows: the opening table, the live view, a line a finished lot, the proof. French, for people."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from collector.accounts.audit import DeviceAccount
from filiere.settings import Settings
from simulators.demo.observation import Finished, View
from simulators.demo.services import Found
from simulators.output.progress import thousands

PARTS = ("Courtier MQTT", "Base des mesures", "Écrans", "Registre des événements")
PLAIN_S = 5.0
"""Between two plain lines where there is no terminal to rewrite."""
WIDTH_ELSEWHERE = 200
"""Columns where there is no terminal that says how many."""
STATE_STYLES = {"en production": "bold green", "à l'arrêt": "yellow", "en attente": "dim"}


class Screen:
    """Writes to the terminal; with `as_json` to standard error, standard output is for the JSON alone."""

    def __init__(self, *, as_json: bool) -> None:
        self._console = Console(stderr=as_json, highlight=False)
        if not self._console.is_terminal:
            self._console = Console(stderr=as_json, highlight=False, width=WIDTH_ELSEWHERE)
        self._live: Live | None = None
        self._plain_at = 0.0

    def opening(self, found: Sequence[Found], settings: Settings) -> None:
        """What was found and is used, and the addresses."""
        table = Table(title="Filière — démonstration", title_justify="left", show_header=False)
        table.add_column(style="bold")
        table.add_column()
        table.add_column(overflow="fold")
        for part, each in zip(PARTS, found, strict=True):
            table.add_row(part, each.name, each.address)
        base = settings.public_base_url
        table.add_row("Adresses", "page en direct", f"{base}/live")
        table.add_row("", "lots", f"{base}/batches")
        table.add_row("", "interface pour programmes", f"{base}/docs")
        table.add_row("", "déclencher une panne", f"{base}/simulator/faults (voir docs/console.md)")
        table.add_row("Données", str(settings.data_dir.resolve()), "Ctrl-C arrête tout")
        self._console.print(table)

    def say(self, text: str) -> None:
        """One line."""
        self._console.print(text, markup=False, soft_wrap=True)

    def finished(self, lot: Finished) -> None:
        """A finished lot, one line."""
        mark = "✓" if lot.recycled is not None else "✗"
        self._console.print(f"{mark} Lot {lot.text}", markup=False, soft_wrap=True)

    @contextmanager
    def live(self) -> Iterator[None]:
        """While this is open the live view stays at the bottom; without a terminal there are plain lines."""
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def show(self, view: View, *, simulating: bool) -> None:
        """The state of everything."""
        if self._live is not None:
            self._live.update(_live_table(view, simulating=simulating), refresh=True)
            return
        if time.monotonic() - self._plain_at < PLAIN_S:
            return
        self._plain_at = time.monotonic()
        for line in view.lines:
            parts = (line.label, line.state, line.run, line.lot, *(value.text for value in line.values))
            self.say(" · ".join(part for part in parts if part))
        for fault in view.faults:
            self.say(f"! {fault}")
        self.say(" · ".join(part for part in (view.time, _counts(view, simulating=simulating)) if part))

    def proof(self, accounts: Sequence[DeviceAccount], proofs: Sequence[dict[str, Any]], *, ok: bool) -> None:
        """The audit and the certificates."""
        table = Table(title="Comptes : publié = enregistré + refusé + en attente", title_justify="left")
        table.add_column("appareil", no_wrap=True)
        for column in ("publié", "enregistré", "refusé", "en attente", "manquant", "doublons"):
            table.add_column(column, justify="right")
        table.add_column("")
        for account in accounts:
            right = (account.stored, account.quarantined, account.waiting, account.missing, account.duplicates)
            verdict = "juste" if account.closes else "OUVERT"
            table.add_row(account.device, *(thousands(number) for number in (account.published, *right)), verdict)
        self._console.print(table)
        for proof in proofs:
            word = "AUTHENTIQUE" if proof["authentic"] else "NON AUTHENTIQUE"
            self.say(f"{word} · {proof['lot']} · {proof['verdict']} · {proof['file']}")
            for reason in proof["reasons"]:
                self.say(f"   {reason}")
        self.say("Tout est juste et authentique." if ok else "Il manque quelque chose : voir ci-dessus.")


def _live_table(view: View, *, simulating: bool) -> Group:
    title = f"Heure simulée : {view.time}" if view.time else "Les premières mesures arrivent…"
    table = Table(title=title, title_justify="left", expand=False)
    for column in ("ligne", "opération et lot", "dernières valeurs"):
        table.add_column(column)
    for line in view.lines:
        state = Text(line.state, style=STATE_STYLES.get(line.state, ""))
        values = [Text(value.text, style="bold red" if value.beyond else "") for value in line.values]
        table.add_row(Group(line.label, state), Group(line.run, line.lot), Group(*values), end_section=True)
    counts = Text(_counts(view, simulating=simulating), style="red" if view.problems else "")
    return Group(table, *(Text(f"! {fault}", style="bold yellow") for fault in view.faults), counts)


def _counts(view: View, *, simulating: bool) -> str:
    text = (
        f"{view.messages_per_s:.0f} messages/s · {thousands(view.messages)} reçus"
        f" · {thousands(view.log_lag)} à enregistrer"
    )
    if view.waiting:
        text += f" · {thousands(view.waiting)} dans la boîte d'envoi"
    if not simulating:
        text += " · lignes arrêtées"
    if view.quarantined:
        text += f" · {thousands(view.quarantined)} refusés : `filiere quarantine` dit pourquoi"
    return "\n✗ ".join((text, *view.problems))
