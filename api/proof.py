"""A certificate as this server sees it when it is asked: verified now, with the sealed readings that lie beside it."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from api.charts_svg import POINTS
from api.downsample import min_max
from api.shelf import CertificateId, Shelf
from filiere.archive import SealedRun, read_run
from filiere.errors import NotAuthentic, NotFound
from filiere.plant import Label
from filiere.readings import Series
from processing.certificate import Verification, verify
from processing.checks import Check
from processing.statement import Statement

SEALED_RUNS_MAX = 50
"""The readings of at most so many runs, the last ones, are checked for a page; the command checks any number."""
KEPT_MAX = 64
"""Proofs that are kept: one is made again as soon as one byte of its certificate, a key or a file's stamp changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was found."""

    certificate_id: CertificateId
    body: bytes
    verification: Verification
    curves: Mapping[str, tuple[Series, ...]]
    """Run → its series, few enough points to draw."""
    absent: tuple[str, ...]
    """Runs whose sealed readings are not on this server, or were not looked at."""

    @property
    def statement(self) -> Statement | None:
        """What it says; None when it must not be believed: what is not authentic is not shown as if it were."""
        return None if self.verification.word == "not_authentic" else self.verification.statement


class Prover:
    """Verifies certificates of a shelf. Threads may share it."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._kept: OrderedDict[str, Proof] = OrderedDict()
        self._lock = threading.Lock()

    def prove(self, certificate_id: CertificateId) -> Proof:
        """Read, verify, recompute.

        Raises:
            NotFound: no such certificate on this server.
            SettingsError: a trusted key is not one.
        """
        body = self._shelf.certificate(certificate_id)
        trusted = self._shelf.trusted_keys()
        signed = verify(body, trusted=trusted)
        runs = [run.id for run in signed.statement.runs] if signed.statement else []
        stamp = self._stamp(certificate_id, body, trusted, runs)
        with self._lock:
            known = self._kept.get(stamp)
            if known is not None:
                self._kept.move_to_end(stamp)
                return known
        proof = self._prove(certificate_id, body, trusted, runs)
        with self._lock:
            self._kept[stamp] = proof
            while len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        return proof

    def _stamp(self, certificate_id: CertificateId, body: bytes, trusted: Sequence[bytes], runs: list[str]) -> str:
        """Changes with anything that the result rests on: bytes of certificate and keys, name, size, time and inode of
        the sealed files.
        """
        digest = hashlib.sha256(str(certificate_id).encode())
        for part in (body, *trusted):
            digest.update(hashlib.sha256(part).digest())
        for run in runs:
            try:
                stat = self._shelf.sealed_run(run).stat()
                digest.update(f"{run} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}\n".encode())
            except (NotFound, OSError):
                digest.update(f"{run} -\n".encode())
        return digest.hexdigest()

    def _prove(self, certificate_id: CertificateId, body: bytes, trusted: Sequence[bytes], runs: list[str]) -> Proof:
        sealed: list[SealedRun] = []
        broken: list[Check] = []
        absent = runs[:-SEALED_RUNS_MAX]
        for run in runs[-SEALED_RUNS_MAX:]:
            try:
                found = read_run(self._shelf.sealed_run(run))
                if found.run == run:
                    sealed.append(found)
                else:
                    broken.append(_broken(run, f"it holds run {found.run}"))
            except NotFound:
                absent.append(run)
            except NotAuthentic as error:
                broken.append(_broken(run, str(error).partition(".parquet: ")[2] or "damaged"))
        verification = verify(body, trusted=trusted, readings=sealed)
        checks = (*verification.checks, *broken, *_address_checks(certificate_id, verification.statement))
        return Proof(
            certificate_id=certificate_id,
            body=body,
            verification=replace(verification, checks=checks),
            curves={
                run.run: tuple(min_max(series, POINTS, run.start_ns, run.stop_ns) for series in run.series)
                for run in sealed
            },
            absent=tuple(absent),
        )


def _broken(run: str, wrong: str) -> Check:
    """`wrong` without the file's folder, which is nobody's business."""
    return Check(
        name="readings",
        ok=False,
        label=Label(
            fr=f"Mesures scellées de l’opération {run} : fichier altéré ({wrong})",
            en=f"Sealed readings of run {run}: altered file ({wrong})",
        ),
    )


def _address_checks(certificate_id: CertificateId, statement: Statement | None) -> tuple[Check, ...]:
    """A true certificate under another's name is refused too."""
    if statement is None or (statement.lot.id, statement.revision) == (certificate_id.lot, certificate_id.revision):
        return ()
    found = f"{statement.lot.id}-r{statement.revision}"
    return (
        Check(
            name="address",
            ok=False,
            label=Label(
                fr=f"Ce fichier est le certificat {found}, pas {certificate_id}",
                en=f"This file is certificate {found}, not {certificate_id}",
            ),
        ),
    )
