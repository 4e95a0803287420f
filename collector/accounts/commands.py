"""`filiere audit`: is everything there, device by device."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filiere.plant import Label
from filiere.terminal import JsonOption, Language, LanguageOption, printable, wide_console

if TYPE_CHECKING:
    from rich.table import Table

    from collector.accounts.audit import DeviceAccount, RecorderState
    from collector.condition import Trouble
    from filiere.settings import Settings

EXIT_NOT_CLOSED = 1
WIDTH_OF_ALL = 110
"""Terminals of fewer columns show the account, and not how it came about (repeated, late, skew)."""

ACCOUNT_HEADINGS = (
    Label(fr="appareil", en="device"),
    Label(fr="publié", en="published"),
    Label(fr="enregistré", en="stored"),
    Label(fr="refusé", en="refused"),
    Label(fr="en attente", en="waiting"),
    Label(fr="manquant", en="missing"),
    Label(fr="doublons", en="repeated"),
    Label(fr="en retard", en="late"),
    Label(fr="écart (s)", en="skew (s)"),
    Label(fr="entendu", en="heard"),
    Label(fr="compte", en="account"),
)
HOW_IT_CAME_ABOUT = range(6, 9)
"""Places in ACCOUNT_HEADINGS."""
GAP_HEADINGS = (
    Label(fr="appareil", en="device"),
    Label(fr="démarrage", en="boot"),
    Label(fr="premier manquant", en="first missing"),
    Label(fr="dernier manquant", en="last missing"),
    Label(fr="lignes", en="rows"),
)
CLOSES, NOT_CLOSED = Label(fr="juste", en="closes"), Label(fr="OUVERT", en="OPEN")
ACCOUNTS_CLOSE = Label(
    fr="Les comptes tombent juste : publié = enregistré + refusé + en attente (+ passé en perte).",
    en="The accounts close: published = stored + refused + waiting (+ written off).",
)
ACCOUNTS_OPEN = Label(
    fr="LES COMPTES NE TOMBENT PAS JUSTE : des relevés manquent, ou ont été comptés deux fois.",
    en="NOT CLOSED: rows are missing, or were counted twice.",
)
SEE_GAPS = Label(fr="Lesquels manquent : filiere audit --gaps.", en="Which are missing: filiere audit --gaps.")
WAIT_OR_GIVE_UP = Label(
    fr="Un appareil qui garde ses mesures (outbox) les renvoie de lui-même : attendez son retour. Perdus pour de bon :"
    ' filiere audit --write-off "motif" --device APPAREIL',
    en="A device that keeps its readings (outbox) sends them again by itself: wait until it is back. Lost for good:"
    ' filiere audit --write-off "reason" --device DEVICE',
)
NOTHING_TO_WRITE_OFF = Label(
    fr="Rien ne manque : rien à passer en perte.", en="Nothing is missing: nothing written off."
)
REASONS = Label(fr="Refusé, et gardé : ", en="Refused, and kept: ")
SEE_QUARANTINE = Label(fr=" — voir filiere quarantine", en=" — see filiere quarantine")
STRANGERS = Label(
    fr="? : ce qui est arrivé au nom d'appareils que l'atelier n'a pas.",
    en="?: what arrived in the name of devices that the plant does not have.",
)
UNNUMBERED = Label(
    fr="Sans numéro, donc sans moyen de savoir s'il en manque : ",
    en="Without numbers, so that what is missing cannot be known: ",
)
WRITTEN_OFF = Label(
    fr="Jamais arrivé, passé en perte (motifs dans written_off.json) : ",
    en="Never arrived, written off (reasons in written_off.json): ",
)
NOT_RECORDED = Label(
    fr="Messages reçus, pas encore enregistrés, comptés d'aucun côté : ",
    en="Messages in the log that are not recorded yet, on neither side: ",
)
RECORDER_WAITS = Label(fr="L'enregistrement attend : ", en="The recorder waits: ")
NOT_ACKNOWLEDGED = Label(fr="Rien n'est accepté en ce moment : ", en="Nothing is acknowledged at present: ")
STOPPED = Label(
    fr="Rien n'est accepté en ce moment : la réception est arrêtée. Lancez filiere collect.",
    en="Nothing is acknowledged at present: the intake has stopped. Start filiere collect.",
)
NOT_ANSWERED = Label(
    fr="Les appareils ne reçoivent pas de réponse et gardent tout : ",
    en="Devices get no answer and keep everything: ",
)
RECORDER_STOPPED = Label(
    fr="L'enregistrement est arrêté. Lancez filiere collect, ou voyez son journal.",
    en="The recorder has stopped. Start filiere collect, or look at its log.",
)
NOBODY = Label(fr="Aucun appareil n'a encore été entendu.", en="No device was heard yet.")
UNREADABLE = Label(
    fr="{device} : {messages} messages illisibles en quarantaine tiennent lieu d'autant de manquants.",
    en="{device}: {messages} messages in quarantine whose number cannot be read stand for as many of the missing ones.",
)
NO_GAPS = Label(fr="Aucun numéro ne manque.", en="No number is missing.")
MORE_GAPS = Label(
    fr="Les {listed} premiers trous de chaque appareil sont montrés.",
    en="The first {listed} gaps of each device are shown.",
)


def audit(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="DIR",
            help="Data folders of the collectors whose books are added up; none = FILIERE_DATA_DIR.",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="Only this device, such as caux/textile/t1/extruder, or the devices of a line; ? = strangers."
        ),
    ] = None,
    gaps: Annotated[bool, typer.Option("--gaps", help="Show which numbers are missing.")] = False,
    write_off: Annotated[
        str | None,
        typer.Option(
            metavar="REASON", help="Declare lost what is missing now, for this reason; then show the accounts."
        ),
    ] = None,
    as_json: JsonOption = False,
    lang: LanguageOption = "fr",
) -> None:
    """Show, per device, published = stored + refused + waiting + written off.

    Exit status 0: every account closes. 1: one does not. 2: the books cannot be read, or have no such device.
    """
    from collector.accounts.audit import audit as audit_accounts
    from collector.condition import intake_trouble, receipts_trouble
    from filiere.clock import system_clock
    from filiere.settings import load_settings

    collectors = [load_settings(data_dir=folder) for folder in _once(folders or ())] or [load_settings()]
    paths = [settings.recorder_path for settings in collectors]
    accounts = _asked_for(audit_accounts(*paths), device)
    if write_off is not None:
        if not _write_off(paths, accounts, write_off):
            typer.echo(NOTHING_TO_WRITE_OFF.in_language(lang), err=True)
        accounts = _asked_for(audit_accounts(*paths), device)
    states = [_recorder_state(settings) for settings in collectors]
    now_ns = system_clock()
    troubles = [
        (
            intake_trouble(settings.intake_status_path, now_ns),
            receipts_trouble(settings.receipts_status_path, now_ns),
        )
        for settings in collectors
    ]
    names = [str(settings.data_dir) for settings in collectors]
    if as_json:
        _print_json(accounts, names, states, troubles)
    elif gaps:
        _print_gaps(accounts, lang)
        for line in _given_up(accounts, lang):
            typer.echo(line)
    else:
        console = wide_console()
        console.print(accounts_table(accounts, lang, now_ns=now_ns, narrow=console.width < WIDTH_OF_ALL))
        for line in _remarks(accounts, lang):
            typer.echo(line)
        for name, state, both in zip(names, states, troubles, strict=True):
            for line in _collector_remarks(state, *both, lang, now_ns=now_ns):
                typer.echo(f"{printable(name)}: {line}" if len(names) > 1 else line)
    closes = all(account.closes for account in accounts)
    if not as_json:
        typer.echo((ACCOUNTS_CLOSE if closes else ACCOUNTS_OPEN).in_language(lang))
        if any(account.missing for account in accounts) and len(paths) == 1:
            typer.echo((WAIT_OR_GIVE_UP if gaps else SEE_GAPS).in_language(lang))
    if not closes:
        raise typer.Exit(EXIT_NOT_CLOSED)


def _once(folders: Sequence[Path]) -> list[Path]:
    """A folder that is named twice is one collector."""
    return list({folder.resolve(): folder for folder in reversed(folders)}.values())[::-1]


def _recorder_state(settings: "Settings") -> "RecorderState":
    """Where the recorder is, measured at what the log has now: one that does not run does not see it."""
    from dataclasses import replace

    from collector.accounts.audit import recorder_state
    from filiere.errors import FiliereError
    from filiere.message_log import MessageLog

    state = recorder_state(settings.recorder_path)
    try:
        with MessageLog.open_reader(settings.log_path) as log:
            return replace(state, log_head=max(state.log_head, log.head()))
    except FiliereError:  # the intake's trouble says so
        return state


def _asked_for(accounts: "Sequence[DeviceAccount]", device: str | None) -> "Sequence[DeviceAccount]":
    from filiere.errors import NotFound

    if device is None:
        return accounts
    found = [account for account in accounts if f"{account.device}/".startswith(f"{device.rstrip('/')}/")]
    if not found:
        known = ", ".join(account.device for account in accounts) or "none was ever heard"
        raise NotFound(f"--device: got {device}; expected one of: {printable(known)}")
    return found


def _write_off(paths: Sequence[Path], accounts: "Sequence[DeviceAccount]", reason: str) -> bool:
    """Give up what is missing of these devices; whether anything is.

    Raises:
        SettingsError: without a reason, or over several books.
    """
    from collector.accounts.book import AccountBook
    from collector.accounts.write_offs import add_write_offs, write_offs_path
    from filiere.clock import system_clock
    from filiere.errors import SettingsError

    if not reason.strip():
        raise SettingsError("--write-off: got no reason; expected words that explain it to who reads the account later")
    if len(paths) > 1:
        raise SettingsError("--write-off: got several data folders; expected one: rows may be in the book of another")
    open_devices = {account.device for account in accounts if account.missing}
    with AccountBook.open_reader(paths[0]) as book:
        boots = [boot for boot in book.open_boots() if boot.device in open_devices]
    if boots:
        add_write_offs(write_offs_path(paths[0]), boots, reason=reason.strip(), now_ns=system_clock())
    return bool(boots)


def _print_json(
    accounts: "Sequence[DeviceAccount]",
    names: Sequence[str],
    states: "Sequence[RecorderState]",
    troubles: "Sequence[tuple[Trouble | None, Trouble | None]]",
) -> None:
    import json
    from dataclasses import asdict

    from filiere.clock import to_text

    collectors: list[dict[str, Any]] = [
        {
            "data_dir": name,
            "recorder": {**asdict(state), "log_lag": state.log_lag},
            "intake_trouble": None if intake is None else intake.words,
            "receipts_trouble": None if receipts is None else receipts.words,
        }
        for name, state, (intake, receipts) in zip(names, states, troubles, strict=True)
    ]
    devices = [
        {
            **asdict(account),
            "closes": account.closes,
            "last_record_time": to_text(account.last_record_ns) if account.last_record_ns else None,
        }
        for account in accounts
    ]
    closes = all(account.closes for account in accounts)
    typer.echo(json.dumps({"closes": closes, "collectors": collectors, "devices": devices}, indent=2))


def accounts_table(
    accounts: "Sequence[DeviceAccount]", language: Language, *, now_ns: int, narrow: bool = False
) -> "Table":
    """One line a device; 120 columns are enough for counts of nine digits, `narrow` 80 for counts of six."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from collector.accounts.audit import NO_DEVICE
    from filiere.clock import NS_PER_S

    shown = [place for place in range(len(ACCOUNT_HEADINGS)) if not (narrow and place in HOW_IT_CAME_ABOUT)]
    device, *numbers, state = (ACCOUNT_HEADINGS[place].in_language(language) for place in shown)
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    table.add_column(device, overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right")
    table.add_column(state)
    for account in accounts:
        counts = (account.published, account.stored, account.quarantined, account.waiting)
        heard_s = (now_ns - account.last_record_ns) / NS_PER_S if account.last_record_ns else None
        cells: tuple[str | Text, ...] = (
            Text(printable(account.device)),
            *(str(count) for count in counts),
            Text(str(account.missing), style="bold red" if account.missing else ""),
            *(str(count) for count in (account.duplicates, account.late)),
            "" if account.device == NO_DEVICE else _number(account.skew_s, language),
            "" if heard_s is None else _age(heard_s, language),
            Text(CLOSES.in_language(language))
            if account.closes
            else Text(NOT_CLOSED.in_language(language), style="bold red"),
        )
        table.add_row(*(cells[place] for place in shown))
    return table


def _remarks(accounts: "Sequence[DeviceAccount]", language: Language) -> list[str]:
    """What the table has no column for."""
    from collector.accounts.audit import NO_DEVICE

    lines = [
        f"{REASONS.in_language(language)}{printable(account.device)}: "
        + ", ".join(f"{reason} {rows}" for reason, rows in account.reasons.items())
        + SEE_QUARANTINE.in_language(language)
        for account in accounts
        if account.reasons
    ]
    free = [account for account in accounts if account.unnumbered and account.device != NO_DEVICE]
    if free:
        counts = ", ".join(f"{printable(account.device)} {account.unnumbered}" for account in free)
        lines.append(f"{UNNUMBERED.in_language(language)}{counts}")
    lines += _given_up(accounts, language)
    if any(account.device == NO_DEVICE for account in accounts):
        lines.append(STRANGERS.in_language(language))
    if not accounts:
        lines.append(NOBODY.in_language(language))
    return lines


def _given_up(accounts: "Sequence[DeviceAccount]", language: Language) -> list[str]:
    counts = [f"{printable(account.device)} {account.written_off}" for account in accounts if account.written_off]
    return [f"{WRITTEN_OFF.in_language(language)}{', '.join(counts)}"] if counts else []


def _collector_remarks(
    state: "RecorderState", intake: "Trouble | None", receipts: "Trouble | None", language: Language, *, now_ns: int
) -> list[str]:
    """What has one cause is told once: where nothing is accepted, there is nothing to answer either."""
    lines = []
    if state.log_lag:
        lines.append(f"{NOT_RECORDED.in_language(language)}{state.log_lag}")
    if state.store_problem:
        lines.append(f"{RECORDER_WAITS.in_language(language)}{state.store_problem}")
    if intake is not None and intake.state in ("absent", "silent"):
        lines.append(STOPPED.in_language(language))
    elif intake is not None:
        lines.append(f"{NOT_ACKNOWLEDGED.in_language(language)}{intake.words}")
    elif receipts is not None:
        lines.append(f"{NOT_ANSWERED.in_language(language)}{receipts.words}")
    if intake is None and state.is_silent(
        now_ns
    ):  # with a trouble of the intake, such as a full disk, that is the cause of both
        lines.append(RECORDER_STOPPED.in_language(language))
    return lines


def _print_gaps(accounts: "Sequence[DeviceAccount]", language: Language) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from collector.accounts.audit import GAPS_LISTED

    if not any(account.gaps for account in accounts):
        typer.echo(NO_GAPS.in_language(language))
        return
    device, boot, *numbers = (heading.in_language(language) for heading in GAP_HEADINGS)
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    table.add_column(device, overflow="fold")
    table.add_column(boot, overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right")
    for account in accounts:
        for gap in account.gaps:
            size = gap.last - gap.first + 1
            table.add_row(Text(printable(account.device)), gap.boot, str(gap.first), str(gap.last), str(size))
    wide_console().print(table)
    for account in accounts:
        if account.gaps and account.unreadable:
            words = UNREADABLE.in_language(language)
            typer.echo(words.format(device=printable(account.device), messages=account.unreadable))
    if any(len(account.gaps) == GAPS_LISTED for account in accounts):
        typer.echo(MORE_GAPS.in_language(language).format(listed=GAPS_LISTED))


def _number(value: float, language: Language) -> str:
    """One decimal while that says something."""
    text = f"{value:.1f}" if abs(value) < 1000 else f"{value:.0f}"
    return text if language == "en" else text.replace(".", ",")


def _age(seconds: float, language: Language) -> str:
    """`12 s`, `5 min`, `3 h`, `2 j`: as far back as a person needs to know."""
    day = Label(fr="j", en="d").in_language(language)
    for size, unit, enough in ((1, "s", 90), (60, "min", 5400), (3600, "h", 172_800)):
        if seconds < enough:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} {day}"
