"""The files that issuing leaves: certificates, refusals and sealed runs; where each is, and how it is written."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import rfc8785

from filiere.chain import Run
from filiere.errors import NotFound, StoreUnavailable
from filiere.plant import Label
from filiere.whole_file import AlreadyThere, whole_file
from processing.exact import decimal_text, time_text
from processing.statement import certificate_id

FIRST_REVISION = 1
REFUSAL_FORMAT = "filiere-refusal/1"
REFUSAL_SUFFIX = ".refused.json"
REASONS_MAX = 50
UNREADABLE = Label(fr="Le motif enregistré est illisible.", en="The recorded reason cannot be read.")
FILE_MODE = 0o644


def certificate_path(certificates_dir: Path, lot_id: str, revision: int = FIRST_REVISION) -> Path:
    """Where the certificate of a lot is kept."""
    return certificates_dir / f"{certificate_id(lot_id, revision)}.json"


def refusal_path(certificates_dir: Path, lot_id: str) -> Path:
    """Where the reasons against a certificate are kept."""
    return certificates_dir / f"{lot_id}{REFUSAL_SUFFIX}"


def archive_path(archive_dir: Path, run_id: str) -> Path:
    """Where the sealed readings of a run are kept."""
    return archive_dir / f"{run_id}.parquet"


def read_refusal(path: Path) -> tuple[Label, ...]:
    """The reasons in a `.refused.json`. Raises NotFound when there is none."""
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"{path}: no refusal is kept there; expected that of a lot that was refused") from None
    return parse_refusal(body)


def parse_refusal(body: bytes) -> tuple[Label, ...]:
    """The reasons in the bytes of a `.refused.json`, at most REASONS_MAX; UNREADABLE when they cannot be read."""
    try:
        reasons = json.loads(body)["reasons"][:REASONS_MAX]
        return tuple(Label(fr=str(reason["fr"]), en=str(reason["en"])) for reason in reasons) or (UNREADABLE,)
    except (ValueError, LookupError, TypeError, RecursionError):
        return (UNREADABLE,)


def keep_certificate(path: Path, content: bytes) -> None:
    """Write a certificate; one that is there already stands. Raises StoreUnavailable."""
    with disk_errors_said(path), suppress(AlreadyThere), whole_file(path, mode=FILE_MODE) as temporary:
        temporary.write_bytes(content)


def keep_refusal(certificates_dir: Path, run: Run, *, mass_kg: Decimal, reasons: Iterable[Label]) -> None:
    """Keep why the lot of a closed run has no certificate, where people see it; nothing when it has one after all,
    from another issuer. Raises StoreUnavailable.
    """
    assert run.stop_ns is not None
    if certificate_path(certificates_dir, run.lot).exists():
        return
    document: dict[str, Any] = {
        "format": REFUSAL_FORMAT,
        "lot": run.lot,
        "run": run.id,
        "mass_kg": decimal_text(mass_kg),
        "date": time_text(run.stop_ns),
        "reasons": [{"fr": label.fr, "en": label.en} for label in reasons],
    }
    path = refusal_path(certificates_dir, run.lot)
    with disk_errors_said(path), whole_file(path, mode=FILE_MODE, replace=True) as temporary:
        temporary.write_bytes(rfc8785.dumps(document))


def lift_refusal(certificates_dir: Path, lot_id: str) -> None:
    """A refusal never stands beside a certificate, whenever the process that wrote one of them ended.

    Raises StoreUnavailable.
    """
    path = refusal_path(certificates_dir, lot_id)
    with disk_errors_said(path):
        path.unlink(missing_ok=True)


@contextmanager
def disk_errors_said(path: Path | None = None) -> Iterator[None]:
    """The system's errors → StoreUnavailable, naming `path`, else the file that the system names."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(
            f"{path or error.filename}: {error.strerror}; free space or make the folder writable, then try again"
        ) from error
