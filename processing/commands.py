"""`filiere certificate`: issue, verify and show certificates."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filiere.errors import NotAuthentic, NotFound, SettingsError, StoreRefused, StoreUnavailable
from filiere.plant import Label
from filiere.terminal import JsonOption, Language, LanguageOption

if TYPE_CHECKING:
    from filiere.archive import SealedRun
    from filiere.settings import Settings
    from processing.certificate import Verification
    from processing.checks import Check
    from processing.issue import Issued
    from processing.issuer import Issuer

EXIT_REFUSED = 1
EXIT_UNDECIDED = 2
WATCH_PERIOD_S = 1.0
WATCH_BACKOFF_S = 5.0


certificate = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Issue, show and verify certificates.",
)


@certificate.command()
def issue(
    lot: Annotated[str | None, typer.Argument(help="The lot; without it, every lot that is ready.")] = None,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until Ctrl-C.")] = False,
    as_json: JsonOption = False,
    lang: LanguageOption = "fr",
) -> None:
    """Issue the certificate of a lot, or of every lot that is ready. Exit status 1 when one is refused."""
    from filiere.settings import load_settings

    with _issuer(load_settings()) as issuer:
        if lot is None:
            _issue_ready(issuer, watch=watch, as_json=as_json, language=lang)
            return
        issued = issuer.issue(lot)
    _print_issued(issued, as_json=as_json, language=lang)
    if issued.refused:
        raise typer.Exit(EXIT_REFUSED)


@contextlib.contextmanager
def _issuer(settings: "Settings") -> "Iterator[Issuer]":
    from filiere.clock import system_clock
    from filiere.ledger import Ledger
    from filiere.plant_file import load_plant
    from filiere.readings_store import open_store
    from processing.issuer import Issuer
    from processing.keys import load_or_make_key

    settings.make_data_dir()
    plant, key = load_plant(settings.plant), load_or_make_key(settings.signing_key_path)
    with (
        contextlib.closing(Ledger.open(settings.ledger_database_url)) as ledger,
        contextlib.closing(open_store(settings)) as store,
    ):
        yield Issuer(
            plant=plant,
            ledger=ledger,
            store=store,
            key=key,
            archive_dir=settings.archive_dir,
            certificates_dir=settings.certificates_dir,
            settle_s=settings.settle_s,
            clock=system_clock,
        )


def _issue_ready(issuer: "Issuer", *, watch: bool, as_json: bool, language: Language) -> None:
    results: list[Issued] = []
    try:
        while True:
            wait_s = WATCH_PERIOD_S
            try:
                results = issuer.run_once()
                for issued in results:
                    _print_issued(issued, as_json=as_json, language=language)
            except (StoreUnavailable, StoreRefused) as error:  # a refusal ends when somebody puts the setting right
                if not watch:
                    raise
                typer.echo(f"{error}", err=True)
                wait_s = WATCH_BACKOFF_S
            if not watch:
                break
            time.sleep(wait_s)
    except KeyboardInterrupt:
        return
    if not results:
        nothing = Label(fr="Aucun certificat à émettre pour l'instant", en="No certificate to issue for now")
        typer.echo(nothing.in_language(language), err=True)
    if any(issued.refused for issued in results):
        raise typer.Exit(EXIT_REFUSED)


def _print_issued(issued: "Issued", *, as_json: bool, language: Language) -> None:
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "lot": issued.lot,
                    "certificate_id": issued.certificate_id or None,
                    "path": str(issued.path),
                    "mass_kg": None if issued.mass_kg is None else str(issued.mass_kg),
                    "recycled_content": None if issued.recycled is None else str(issued.recycled),
                    "u95": None if issued.u95 is None else str(issued.u95),
                    "verdict": issued.verdict,
                    "refused": [{"fr": reason.fr, "en": reason.en} for reason in issued.refused],
                }
            )
        )
        return
    from rich.console import Console

    from processing.display import print_issued

    print_issued(Console(highlight=False), issued, language)


@certificate.command()
def verify(
    file: Annotated[Path, typer.Argument(help="The certificate, a JSON file.")],
    *,
    readings: Annotated[
        list[Path] | None, typer.Option("--readings", help="Sealed readings of a run (.parquet); once for each run.")
    ] = None,
    key: Annotated[
        list[Path] | None, typer.Option("--key", help="Public key of an issuer whom you trust (.pem).")
    ] = None,
    as_json: JsonOption = False,
    lang: LanguageOption = "fr",
) -> None:
    """Check a certificate, with no server, network or database.

    Exit status: 0 authentic, 1 not authentic, 2 cannot say (no trusted key) or wrong usage.
    """
    verification = _verified(file, readings or [], key or [])
    _print_verification(verification, as_json=as_json, language=lang, details=False)


@certificate.command()
def show(
    certificate_name: Annotated[str, typer.Argument(metavar="CERTIFICATE", help="A file, or a certificate's id.")],
    *,
    as_json: JsonOption = False,
    lang: LanguageOption = "fr",
) -> None:
    """Show a certificate with every run behind it, and check it. Exit status as for verify."""
    from filiere.settings import load_settings

    file = Path(certificate_name)
    if not file.is_file():
        file = load_settings().certificates_dir / f"{certificate_name}.json"
    _print_verification(_verified(file, [], []), as_json=as_json, language=lang, details=True)


def _verified(file: Path, readings: list[Path], keys: list[Path]) -> "Verification":
    import dataclasses

    from processing.certificate import CERTIFICATE_BYTES_MAX, verify

    try:
        with file.open("rb") as opened:
            content = opened.read(CERTIFICATE_BYTES_MAX + 1)
    except OSError as error:
        raise NotFound(f"{file}: {error.strerror}; expected a certificate (.json) that may be read") from None
    sealed, refused = _read_sealed(readings)
    own = [] if keys else _settings_keys()
    verification = verify(content, trusted=[_read_key(path) for path in keys or own], readings=sealed)
    checks = tuple(_with_source(check, own) for check in verification.checks)
    return dataclasses.replace(verification, checks=(*checks, *refused))


def _settings_keys() -> list[Path]:
    """The keys that the settings trust; else the issuer's own, where there is one."""
    from filiere.settings import load_settings

    settings = load_settings()
    return list(settings.trusted_keys) or [path for path in settings.trusted_key_paths if path.exists()]


def _with_source(check: "Check", own: list[Path]) -> "Check":
    """A key that nobody named on the command line is told with its file: it may have come with the certificate."""
    import dataclasses

    if check.name != "key" or not own:
        return check
    files = ", ".join(str(path) for path in own)
    label = Label(fr=f"{check.label.fr} (lue dans {files})", en=f"{check.label.en} (read from {files})")
    return dataclasses.replace(check, label=label)


def _read_key(path: Path) -> bytes:
    from processing.keys import KEY_FILE_BYTES_MAX, load_public_key

    try:
        with path.open("rb") as opened:
            pem = opened.read(KEY_FILE_BYTES_MAX)
        load_public_key(pem)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}; expected the issuer's public key (.pem)") from None
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None
    return pem


def _read_sealed(paths: list[Path]) -> tuple[list["SealedRun"], list["Check"]]:
    """The readings that can be read, and a failed check for each file that is damaged."""
    from filiere.archive import read_run
    from processing.checks import Check

    sealed: list[SealedRun] = []
    refused: list[Check] = []
    for path in paths:
        try:
            sealed.append(read_run(path))
        except NotAuthentic as error:
            refused.append(
                Check(
                    name="readings",
                    ok=False,
                    label=Label(
                        fr=f"Fichier de mesures abîmé ou changé (en anglais : {error})",
                        en=f"File of readings damaged or changed: {error}",
                    ),
                )
            )
    return sealed, refused


def _print_verification(verification: "Verification", *, as_json: bool, language: Language, details: bool) -> None:
    if as_json:
        typer.echo(json.dumps(_verification_json(verification), indent=2))
    else:
        from rich.console import Console

        from processing.display import print_verification

        print_verification(Console(highlight=False), verification, language, details=details)
    status = {"authentic": 0, "not_authentic": EXIT_REFUSED, "undecided": EXIT_UNDECIDED}[verification.word]
    if status:
        raise typer.Exit(status)


def _verification_json(verification: "Verification") -> dict[str, Any]:
    from processing.statement import to_json

    return {
        "result": verification.word,
        "authentic": verification.authentic,
        "key_id": verification.key_id or None,
        "checks": [
            {"name": check.name, "ok": check.ok, "fr": check.label.fr, "en": check.label.en}
            for check in verification.checks
        ],
        "statement": None if verification.statement is None else to_json(verification.statement),
    }
