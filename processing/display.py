"""Certificates and their checks on a terminal, in French or English."""

import math
from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from filiere.plant import Label
from filiere.terminal import Language, printable
from processing.certificate import Verification, Word
from processing.checks import Check
from processing.claims import CUSTODY_MODELS
from processing.compose import limits_of_stated
from processing.exact import decimal_text
from processing.release import WORDS, comma, limits_label
from processing.statement import Name, StatedRun, Statement, certificate_id, label_of

if TYPE_CHECKING:  # whoever verifies does not load what issues
    from processing.issue import Issued

TITLES: dict[Word, tuple[Label, str]] = {
    "authentic": (Label(fr="AUTHENTIQUE", en="AUTHENTIC"), "green"),
    "not_authentic": (Label(fr="NON AUTHENTIQUE", en="NOT AUTHENTIC"), "red"),
    "undecided": (
        Label(fr="INDÉCIS : aucune clé de confiance", en="UNDECIDED: no trusted key"),
        "yellow",
    ),
}
UNPROVEN = Label(
    fr="Ce que le fichier affirme, sans que rien ne le prouve :", en="What the file says, with nothing to prove it:"
)
CHECK_NAMES = {
    "form": Label(fr="forme", en="form"),
    "key": Label(fr="clé", en="key"),
    "signature": Label(fr="signature", en="signature"),
    "chain": Label(fr="chaîne", en="chain"),
    "lot": Label(fr="lot", en="lot"),
    "claim": Label(fr="contenu recyclé", en="recycled content"),
    "balance": Label(fr="bilans matière", en="mass balances"),
    "statistics": Label(fr="statistiques", en="statistics"),
    "release": Label(fr="libération", en="release"),
    "readings": Label(fr="mesures", en="readings"),
}
MARKS = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("–", "yellow")}


def plain(text: str) -> Text:
    """A text of somebody else's, with nothing in it that could move the cursor, colour or reorder the line."""
    return Text(printable(text))


def number(text: str, language: Language) -> str:
    """A decimal with the comma of French."""
    return text if language == "en" else comma(text)


def percent(text: str, language: Language) -> str:
    """A fraction 0..1 as a percentage: `98,2 %`."""
    return f"{number(f'{float(text) * 100:.2f}', language)}{'%' if language == 'en' else ' %'}"


def print_verification(console: Console, verification: Verification, language: Language, *, details: bool) -> None:
    """The verdict, what the certificate says, and every check with its reason."""
    title, colour = TITLES[verification.word]
    parts: list[RenderableType] = []
    if verification.statement is not None:
        if not verification.authentic:
            parts.append(Text(f"{UNPROVEN.in_language(language)}\n", style=colour))
        parts.append(_summary(verification.statement, language))
    parts.append(_checks(verification.checks, language))
    console.print(Panel(Group(*parts), title=title.in_language(language), border_style=colour))
    if details and verification.statement is not None:
        for run in verification.statement.runs:
            console.print(_run(run, language))


def _summary(statement: Statement, language: Language) -> Table:
    french = language != "en"
    table = Table.grid(padding=(0, 2))
    claim, lot = statement.claim, statement.lot
    rows = [
        ("Certificat" if french else "Certificate", certificate_id(lot.id, statement.revision)),
        ("Produit" if french else "Product", f"{_said(lot.name, language)}, {number(lot.mass_kg, language)} kg"),
        (
            "Contenu recyclé" if french else "Recycled content",
            _recycled(statement, language),
        ),
        ("Biosourcé" if french else "Bio-based", percent(claim.bio_based, language)),
        *_unevidenced(statement, language),
        ("Verdict", WORDS[statement.release.verdict].in_language(language)),
        ("Émetteur" if french else "Issuer", f"{statement.issuer.name} ({statement.issuer.key_id})"),
        ("Date", statement.date),
    ]
    for name, value in rows:
        table.add_row(Text(name, style="bold"), plain(value))
    return table


def _unevidenced(statement: Statement, language: Language) -> list[tuple[str, str]]:
    """The share that counts as not recycled for want of a document, with the lots to ask one for."""
    lots = ", ".join(lot.lot for lot in statement.received if not lot.evidence)
    if not lots:
        return []
    share = percent(statement.claim.unevidenced, language)
    return [("Unevidenced" if language == "en" else "Sans preuve", f"{share} ({lots})")]


def _recycled(statement: Statement, language: Language) -> str:
    claim = statement.claim
    share = f"{percent(claim.recycled_content, language)} ± {percent(claim.u95, language)}"
    model = CUSTODY_MODELS.get(claim.custody_model)
    return f"{share} ({model.in_language(language) if model is not None else claim.custody_model})"


def measured(mean: str | None, u95: str | None, language: Language) -> tuple[str, str]:
    """A mean and its U95 for people: U95 to 2 significant digits, the mean to the same place (GUM 7.2.6)."""
    if mean is None or u95 is None:
        return "–", "–"
    value, uncertainty = float(mean), float(u95)
    if uncertainty <= 0:
        return number(mean, language), "0"
    places = 1 - math.floor(math.log10(uncertainty))
    return _to_places(value, places, language), _to_places(uncertainty, places, language)


def _to_places(value: float, places: int, language: Language) -> str:
    return number(f"{round(value, places):.{max(places, 0)}f}", language)


def _said(name: Name, language: Language) -> str:
    return label_of(name).in_language(language)


def _checks(checks: Iterable[Check], language: Language) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row("", "", "")
    for check in checks:
        mark, colour = MARKS[check.ok]
        name = CHECK_NAMES[check.name].in_language(language)
        table.add_row(Text(mark, style=colour), Text(name), plain(check.label.in_language(language)))
    return table


def _run(run: StatedRun, language: Language) -> Panel:
    french = language != "en"
    portions = Table.grid(padding=(0, 2))
    for sign, portion in [*(("+", each) for each in run.inputs), *(("−", each) for each in run.outputs)]:
        portions.add_row(
            sign,
            plain(portion.lot),
            plain(portion.material),
            f"{number(portion.mass_kg, language)} ± {number(portion.u_kg, language)} kg",
            f"H₂O {percent(portion.moisture, language)}",
        )
    balance = run.balance
    difference = number(balance.difference_kg, language)
    allowed = number(decimal_text(balance.k * Decimal(balance.u_kg)), language)
    said = (
        f"Bilan sec : écart {difference} kg, admis ± {allowed} kg"
        if french
        else f"Dry balance: difference {difference} kg, allowed ± {allowed} kg"
    )
    total = Text(f"{said} (k = {balance.k}) {'✓' if balance.balanced else '✗'}")
    title = plain(f"{run.id} · {_said(run.name, language)} · {run.line} · {run.start} → {run.stop}")
    return Panel(Group(portions, total, _statistics(run, language)), title=title, title_align="left")


def _statistics(run: StatedRun, language: Language) -> Table:
    french = language != "en"
    table = Table(box=None, pad_edge=False)
    table.add_column("Signal")
    headings = (
        ("Moyenne", "± U95", "Limites", "Hors limites (min)", "Complet")
        if french
        else ("Mean", "± U95", "Limits", "Outside (min)", "Complete")
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    for each in run.statistics:
        table.add_row(
            plain(f"{_said(each.name, language)}{_unit(each.unit, language)}"),
            *measured(each.mean, each.u95, language),
            limits_label(limits_of_stated(each)).in_language(language),
            number(each.minutes_outside, language),
            percent(each.completeness, language),
        )
    return table


def _unit(unit: str, language: Language) -> str:
    """A UCUM code as people write it; nothing for a fraction."""
    signs = {"1": "", "Cel": " (°C)", "/min": " (1/min)" if language == "en" else " (tr/min)"}
    signs |= {"kW.h": " (kWh)", "g/(10.min)": " (g/10 min)"}
    return signs.get(unit, f" ({unit})")


def print_issued(console: Console, issued: "Issued", language: Language) -> None:
    """One line a certificate; a refusal with its reasons under it."""
    french = language != "en"
    mass = "–" if issued.mass_kg is None else f"{number(format(issued.mass_kg, 'f'), language)} kg"
    if issued.refused:
        refused = "certificat refusé" if french else "certificate refused"
        console.print(Text(f"✗ {issued.lot} · {mass} · {refused}", style="red"), soft_wrap=True)
        for reason in issued.refused:
            console.print(Text("    ") + plain(reason.in_language(language)), soft_wrap=True)
        then = "Une fois corrigé :" if french else "Once put right:"
        console.print(Text(f"    → {then} filiere certificate issue {issued.lot}"), soft_wrap=True)
        return
    assert issued.verdict is not None
    recycled = f"{percent(str(issued.recycled), language)} ± {percent(str(issued.u95), language)}"
    word = WORDS[issued.verdict].in_language(language)
    said = "recyclé" if french else "recycled"
    line = f"✓ {issued.lot} · {mass} · {said} {recycled} · {word} · {issued.path}"
    console.print(Text(line, style="green"), soft_wrap=True)
