"""`filiere devices`: who may connect to the broker, as what, and until when."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from filiere.plant import Label
from filiere.terminal import JsonOption, Language, LanguageOption, printable, wide_console

if TYPE_CHECKING:
    from collector.devices.devices import Account, Devices, Grant, Secret
    from filiere.settings import Settings

EXIT_EXPIRES = 1
PID_MAX = 2**22

devices = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Accounts, certificates and rights at the MQTT broker.",
)

PidOption = Annotated[
    int | None,
    typer.Option("--pid", min=2, max=PID_MAX, help="Mosquitto's process id; by default FILIERE_BROKER_PID_FILE's."),
]

HEADINGS = (
    Label(fr="compte", en="account"),
    Label(fr="preuve", en="proof"),
    Label(fr="peut écrire", en="may write"),
    Label(fr="peut lire", en="may read"),
    Label(fr="certificat jusqu'au", en="certificate until"),
    Label(fr="à faire", en="to do"),
)
PASSWORD, CERTIFICATE = Label(fr="mot de passe", en="password"), Label(fr="certificat", en="certificate")
BROKER, AUTHORITY = Label(fr="(courtier)", en="(broker)"), Label(fr="(autorité)", en="(authority)")
RENEW = Label(
    fr="renouveler : filiere devices add --certificate --renew", en="filiere devices add --certificate --renew"
)
RENEW_AUTHORITY = Label(
    fr="en faire une autre : mettre de côté keys/broker-ca.key et ca.crt, puis filiere devices prepare",
    en="make another: move keys/broker-ca.key and ca.crt away, then filiere devices prepare",
)
RENEW_BROKER = Label(fr="renouveler : filiere devices prepare", en="filiere devices prepare")
NOT_IN_PLANT = Label(fr="n'est plus dans l'installation : révoquer", en="no longer in the plant: revoke")
NO_ACCOUNTS = Label(fr="Aucun compte. Le premier :", en="No account. The first one:")
ADDED = Label(
    fr="peut maintenant se connecter. À lui donner, puis à effacer :", en="may now connect. Give it, then delete:"
)
REVOKED = Label(
    fr="n'a plus aucun droit dès que le courtier a relu ses fichiers.",
    en="may do nothing any more once the broker has read its files again.",
)
COLLECTOR_AWAY = Label(
    fr="Attention : le collecteur n'est pas connecté. Si le courtier a redémarré depuis, une relecture lui fait perdre"
    " ce qui arrive jusqu'à son retour : démarrez d'abord le collecteur.",
    en="Careful: the collector is not connected. If the broker has restarted since, a reload makes it drop what"
    " arrives until the collector is back: start the collector first.",
)
UP_TO_DATE = Label(fr="Rien n'a changé.", en="Nothing has changed.")
WRITTEN = Label(fr="Écrit :", en="Written:")
RELOADED = Label(fr="Le courtier relit ses fichiers (processus", en="The broker reads its files again (process")
AT_ITS_START = Label(
    fr="Le courtier ne tourne pas ({path} n'est pas là) : il lira ses fichiers en démarrant.",
    en="The broker does not run ({path} is not there): it reads its files when it starts.",
)
TELL_THE_BROKER = Label(
    fr="Le courtier doit relire ses fichiers : docker compose kill -s HUP mosquitto (ou systemctl reload mosquitto)",
    en="The broker must read its files again: docker compose kill -s HUP mosquitto (or systemctl reload mosquitto)",
)


@devices.command()
def prepare(pid: PidOption = None, lang: LanguageOption = "fr") -> None:
    """Make what the broker needs to start: authority, its certificate, accounts of Filière's own services.

    Run again, it renews the broker's certificate when that expires within 30 days or FILIERE_BROKER_HOSTS has changed,
    and follows a changed plant. The account is the one of FILIERE_MQTT_USERNAME, `collector` or `simulator`, with the
    password of FILIERE_MQTT_PASSWORD.
    """
    from collector.devices.devices import is_password, own_account

    settings, opened = _open()
    with opened as broker:
        changed = list(broker.prepare())
        own = own_account(settings)
        if own is not None:
            role, password = own
            account = next((one for one in broker.accounts if one.name == role), None)
            if account is None or not is_password(password, account.password):
                broker.add(role, role, password=password, renew=True)
                changed.append(f"{role}")
    if not changed:
        typer.echo(UP_TO_DATE.in_language(lang))
        return
    typer.echo(f"{WRITTEN.in_language(lang)} {', '.join(changed)}")
    pid_file = settings.broker_pid_file
    if pid is None and pid_file is not None and not pid_file.exists():
        typer.echo(AT_ITS_START.in_language(lang).format(path=pid_file), err=True)
        return
    _reload(settings, pid, lang)


@devices.command()
def add(
    device: Annotated[
        str | None,
        typer.Argument(help="A device of the plant: caux/textile/t1/extruder; with --for, a gateway's name."),
    ] = None,
    speaks_for: Annotated[
        list[str] | None, typer.Option("--for", help="A device that this gateway speaks for; once for each.")
    ] = None,
    collector: Annotated[bool, typer.Option("--collector", help="The collector's account, not a device's.")] = False,
    simulator: Annotated[
        bool, typer.Option("--simulator", help="An account that may write what any device may: for demonstrations.")
    ] = False,
    certificate: Annotated[
        bool, typer.Option("--certificate", help="A client certificate, not a password. Devices only.")
    ] = False,
    renew: Annotated[bool, typer.Option("--renew", help="Replace the one that it has; the old one ends.")] = False,
    to: Annotated[
        Path | None, typer.Option(help="Folder to write to; by default `devices` in the data folder.")
    ] = None,
    pid: PidOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print account and secret as JSON; nothing of it is written to a file.")
    ] = False,
    lang: LanguageOption = "fr",
) -> None:
    """Let a device connect: it may write its own topics and read its own receipts. Its secret is given once."""
    import json

    from collector.devices.devices import Role
    from filiere.errors import SettingsError

    if (device is not None) + collector + simulator != 1:
        raise SettingsError("got none or several of DEVICE, --collector, --simulator; expected one of them")
    if certificate and device is None:
        raise SettingsError(
            "got --certificate for a service; expected a device: services have passwords, as one account of theirs"
            " opens several connections"
        )
    if speaks_for and device is None:
        raise SettingsError("got --for without a gateway's name; expected: filiere devices add NAME --for DEVICE")
    if device is not None:
        role = Role.GATEWAY if speaks_for else Role.DEVICE
    else:
        role = Role.COLLECTOR if collector else Role.SIMULATOR
    settings, opened = _open()
    with opened as broker:
        secret = broker.add(device or role, role, devices=speaks_for or (), certificate=certificate, renew=renew)
        if as_json:
            typer.echo(json.dumps(_secret_json(secret), indent=2, ensure_ascii=False))
        else:
            folder = _hand_over(secret, to or settings.devices_dir)
            typer.echo(f"{secret.account.name} {ADDED.in_language(lang)}")
            for name in secret.files():
                typer.echo(f"  {folder / name}")
    _reload(settings, pid, lang)


@devices.command()
def revoke(
    account: Annotated[str, typer.Argument(help="A device's path, collector or simulator.")],
    pid: PidOption = None,
    lang: LanguageOption = "fr",
) -> None:
    """End an account: its password and rights are removed, its certificate is on the list of those revoked."""
    settings, opened = _open()
    with opened as broker:
        broker.revoke(account)
    typer.echo(f"{printable(account)} {REVOKED.in_language(lang)}")
    _reload(settings, pid, lang)


@devices.command(name="list")
def list_accounts(as_json: JsonOption = False, lang: LanguageOption = "fr") -> None:
    """Show what each account may do. Exit status 1 when a certificate expires within 30 days, or has."""
    import json

    from collector.devices.devices import EXPIRES_SOON_NS
    from filiere.clock import system_clock

    _, opened = _open()
    with opened as broker:
        expiries = {BROKER: broker.server_expires_ns(), AUTHORITY: broker.authority_expires_ns()}
        accounts = [(account, broker.grants(account), broker.is_known(account)) for account in broker.accounts]
    soon_ns = system_clock() + EXPIRES_SOON_NS
    if as_json:
        document = {
            "broker": {label.en.strip("()"): _until(expires_ns) for label, expires_ns in expiries.items()},
            "accounts": [_account_json(*account) for account in accounts],
        }
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        _print_accounts(accounts, expiries, soon_ns, lang)
    all_ns = [*expiries.values(), *(account.expires_ns for account, _, _ in accounts if account.expires_ns is not None)]
    if min(all_ns) < soon_ns:
        raise typer.Exit(EXIT_EXPIRES)


def _open() -> "tuple[Settings, AbstractContextManager[Devices]]":
    from collector.devices.devices import Devices
    from filiere.clock import system_clock
    from filiere.plant_file import load_plant
    from filiere.settings import load_settings

    settings = load_settings()
    return settings, Devices.open(settings=settings, plant=load_plant(settings.plant), clock=system_clock)


def _hand_over(secret: "Secret", parent: Path) -> Path:
    """Write the secret's files, for their owner's eyes, into a folder named after the account."""
    from filiere.errors import SettingsError
    from filiere.whole_file import whole_file

    folder = parent / secret.account.name.replace("/", ".")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, content in secret.files().items():
            with whole_file(folder / name, mode=0o600, replace=True) as temporary:
                temporary.write_bytes(content)
    except OSError as error:
        raise SettingsError(
            f"{error.filename or folder}: {error.strerror}; the account is there and its secret is lost: do the same"
            " again with --renew, and --to a folder that may be written"
        ) from None
    return folder


def _reload(settings: "Settings", pid: int | None, lang: Language) -> None:
    """Tell the broker, or say how; on standard error, so that JSON stays JSON."""
    from collector.condition import intake_trouble
    from collector.devices.reload import broker_pid, reload_broker
    from filiere.clock import system_clock
    from filiere.errors import SettingsError

    if settings.intake_status_path.exists() and intake_trouble(settings.intake_status_path, system_clock()) is not None:
        typer.echo(COLLECTOR_AWAY.in_language(lang), err=True)
    try:
        if pid is None and settings.broker_pid_file is not None:
            pid = broker_pid(settings.broker_pid_file)
        if pid is None:
            typer.echo(TELL_THE_BROKER.in_language(lang), err=True)
            return
        reload_broker(pid)
    except SettingsError as error:
        raise SettingsError(f"{error}; what was asked for is written, and holds once the broker reads it") from None
    typer.echo(f"{RELOADED.in_language(lang)} {pid}).", err=True)


def _secret_json(secret: "Secret") -> dict[str, object]:
    return {
        "account": secret.account.name,
        "password": secret.password,
        "certificate": None if secret.certificate_pem is None else secret.certificate_pem.decode(),
        "key": None if secret.key_pem is None else secret.key_pem.decode(),
        "ca": secret.authority_pem.decode(),
        **_grants_json(secret.grants),
    }


def _account_json(account: "Account", grants: "tuple[Grant, ...]", known: bool) -> dict[str, object]:
    return {
        "account": account.name,
        "role": account.role,
        "password": account.password is not None,
        "certificate_until": None if account.expires_ns is None else _until(account.expires_ns),
        "in_plant": known,
        **_grants_json(grants),
    }


def _grants_json(grants: "tuple[Grant, ...]") -> dict[str, list[str]]:
    return {
        f"may_{access}": [grant.topic for grant in grants if grant.access == access] for access in ("write", "read")
    }


def _print_accounts(
    accounts: "list[tuple[Account, tuple[Grant, ...], bool]]", expiries: dict[Label, int], soon_ns: int, lang: Language
) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(*(heading.in_language(lang) for heading in HEADINGS))
    for label, expires_ns in expiries.items():
        remedy = RENEW_BROKER if label is BROKER else RENEW_AUTHORITY
        soon = expires_ns < soon_ns
        table.add_row(label.in_language(lang), "", "", "", _until(expires_ns), remedy.in_language(lang) if soon else "")
    for account, grants, known in accounts:
        late = account.expires_ns is not None and account.expires_ns < soon_ns
        proofs = [(PASSWORD, account.password), (CERTIFICATE, account.serial)]
        to_do = [RENEW] * late + [NOT_IN_PLANT] * (not known)
        table.add_row(
            escape(account.name),
            ", ".join(label.in_language(lang) for label, proof in proofs if proof is not None),
            *(
                escape("\n".join(grant.topic for grant in grants if grant.access == access))
                for access in ("write", "read")
            ),
            "" if account.expires_ns is None else _until(account.expires_ns),
            "[bold red]" + "; ".join(label.in_language(lang) for label in to_do) + "[/]" if to_do else "",
        )
    wide_console().print(table)
    if not accounts:
        typer.echo(f"{NO_ACCOUNTS.in_language(lang)} filiere devices add SITE/ATELIER/LIGNE/APPAREIL")


def _until(expires_ns: int) -> str:
    from filiere.clock import to_text

    return to_text(expires_ns)[:10]
