"""`filiere certificate`: issue, verify and show certificates."""

import contextlib
import json
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filiere.errors import NotAuthentic, NotFound, SettingsError, StoreUnavailable

if TYPE_CHECKING:
    from filiere.archive import SealedRun
    from filiere.settings import Settings
    from processing.certificate import Verification
    from processing.checks import Check
    from processing.issue import Issued, Issuer

EXIT_REFUSED = 1
EXIT_UNDECIDED = 2
WATCH_PERIOD_S = 1.0
WATCH_BACKOFF_S = 5.0


class Language(StrEnum):
    """Languages of the output."""

    FR = "fr"
    EN = "en"


certificate = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Issue, show and verify certificates.",
)

_Language = Annotated[Language, typer.Option("--lang", help="Language of the output.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@certificate.command()
def issue(
    lot: Annotated[str | None, typer.Argument(help="The lot; without it, every lot that is ready.")] = None,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until Ctrl-C.")] = False,
    as_json: _Json = False,
    lang: _Language = Language.FR,
) -> None:
    """Issue the certificate of a lot, or of every lot that is ready. Exit status 1 when one is refused."""
    from filiere.settings import load_settings
    from processing.issue import issue_lot
    from processing.policy import IssueRefused

    with _issuer(load_settings()) as issuer:
        if lot is None:
            _issue_ready(issuer, watch=watch, as_json=as_json, language=lang)
            return
        try:
            issued = issue_lot(
                plant=issuer.plant,
                chain=issuer.ledger.chain(),
                store=issuer.store,
                key=issuer.key,
                lot_id=lot,
                archive_dir=issuer.archive_dir,
                certificates_dir=issuer.certificates_dir,
            )
        except IssueRefused as error:
            for label in error.labels:
                typer.echo(f"✗ {label.in_language(lang)}", err=True)
            raise typer.Exit(EXIT_REFUSED) from None
    _print_issued(issued, as_json=as_json, language=lang)


@contextlib.contextmanager
def _issuer(settings: "Settings") -> "Iterator[Issuer]":
    from filiere.clock import system_clock
    from filiere.ledger import Ledger
    from filiere.plant_file import load_plant
    from filiere.readings_store import open_store
    from processing.issue import Issuer
    from processing.keys import load_or_make_key

    settings.data_dir.mkdir(parents=True, exist_ok=True)
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
    refused = False
    try:
        while True:
            wait_s = WATCH_PERIOD_S
            try:
                for issued in issuer.run_once():
                    refused |= bool(issued.refused)
                    _print_issued(issued, as_json=as_json, language=language)
            except StoreUnavailable as error:
                if not watch:
                    raise
                typer.echo(f"{error}", err=True)
                wait_s = WATCH_BACKOFF_S
            if not watch:
                break
            time.sleep(wait_s)
    except KeyboardInterrupt:
        return
    if refused:
        raise typer.Exit(EXIT_REFUSED)


def _print_issued(issued: "Issued", *, as_json: bool, language: Language) -> None:
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "lot": issued.lot,
                    "certificate_id": issued.certificate_id or None,
                    "path": str(issued.path),
                    "mass_kg": str(issued.mass_kg),
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
    as_json: _Json = False,
    lang: _Language = Language.FR,
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
    as_json: _Json = False,
    lang: _Language = Language.FR,
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

    if not file.is_file():
        raise NotFound(f"{file}: no such file; expected a certificate (.json)")
    with file.open("rb") as opened:
        content = opened.read(CERTIFICATE_BYTES_MAX + 1)
    sealed, refused = _read_sealed(readings)
    verification = verify(content, trusted=_trusted(keys), readings=sealed)
    return dataclasses.replace(verification, checks=(*verification.checks, *refused))


def _trusted(keys: list[Path]) -> list[bytes]:
    """The keys that were named; else those of the settings; else the issuer's own, where there is one."""
    if keys:
        return [_read_key(path) for path in keys]
    from filiere.settings import load_settings

    settings = load_settings()
    if settings.trusted_keys:
        return [_read_key(path) for path in settings.trusted_keys]
    return [path.read_bytes() for path in settings.trusted_key_paths if path.is_file()]


def _read_key(path: Path) -> bytes:
    from processing.keys import KEY_FILE_BYTES_MAX

    try:
        with path.open("rb") as opened:
            return opened.read(KEY_FILE_BYTES_MAX)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}; expected the issuer's public key (.pem)") from None


def _read_sealed(paths: list[Path]) -> tuple[list["SealedRun"], list["Check"]]:
    """The readings that can be read, and a failed check for each file that is damaged."""
    from filiere.archive import read_run
    from filiere.plant import Label
    from processing.checks import Check

    sealed: list[SealedRun] = []
    refused: list[Check] = []
    for path in paths:
        try:
            sealed.append(read_run(path))
        except NotAuthentic as error:
            refused.append(
                Check(
                    name="readings", ok=False, label=Label(fr=f"Mesures illisibles : {error}", en=f"Readings: {error}")
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
