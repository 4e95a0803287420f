"""Where the certificates, the refusals, the sealed runs and the issuer's keys lie, read-only.

Every name that reaches the disk has passed ID_PATTERN first: letters, digits, dots, hyphens, never a separator.
"""

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from filiere.errors import NotFound
from filiere.events import ID_PATTERN
from filiere.plant import Label
from filiere.settings import Settings
from processing.certificate import CERTIFICATE_BYTES_MAX
from processing.files import archive_path, certificate_path, parse_refusal, refusal_path
from processing.statement import certificate_id

REFUSAL_BYTES_MAX = 256 * 1024
REVISIONS_MAX = 1000
CERTIFICATE_PATTERN = re.compile(rf"(?P<lot>{ID_PATTERN.pattern})-r(?P<revision>[1-9][0-9]{{0,3}})")

_CAPITAL_R = re.compile(r"-R(?=[0-9]+$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateId:
    """`{lot}-r{revision}`."""

    lot: str
    revision: int

    def __str__(self) -> str:
        return certificate_id(self.lot, self.revision)

    @classmethod
    def typed(cls, text: str) -> "CertificateId | None":
        """What a person may mean by a number that ends in `-r1` or, as telephones write it, `-R1`."""
        match = CERTIFICATE_PATTERN.fullmatch(_CAPITAL_R.sub("-r", text))
        return None if match is None else cls(lot=match["lot"], revision=int(match["revision"]))

    @classmethod
    def parse(cls, text: str) -> "CertificateId":
        """Raises NotFound: no certificate can have such a name."""
        match = CERTIFICATE_PATTERN.fullmatch(text)
        if match is None:
            raise NotFound(f"no certificate {text[:80]!r}; expected LOT-rN, such as T1-0042-r1")
        return cls(lot=match["lot"], revision=int(match["revision"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """The issuer's folders."""

    certificates_dir: Path
    archive_dir: Path
    trusted_key_paths: tuple[Path, ...]

    @classmethod
    def of(cls, settings: Settings) -> "Shelf":
        """The folders that the settings name."""
        return cls(
            certificates_dir=settings.certificates_dir,
            archive_dir=settings.archive_dir,
            trusted_key_paths=settings.trusted_key_paths,
        )

    def latest(self, lot: str) -> CertificateId | None:
        """The newest revision of a lot's certificate; None when it has none."""
        found = None
        for revision in range(1, REVISIONS_MAX + 1):
            candidate = CertificateId(lot=lot, revision=revision)
            if not self.has(candidate):
                break
            found = candidate
        return found

    def has(self, wanted: CertificateId) -> bool:
        """Its file lies here, whatever is in it."""
        return _is_plain(self._path(wanted))

    def certificate(self, wanted: CertificateId) -> bytes:
        """The exact bytes of a certificate. Raises NotFound."""
        try:
            body = _read_plain(self._path(wanted), CERTIFICATE_BYTES_MAX + 1)
        except OSError:
            raise NotFound(f"no certificate {wanted} on this server; check the number on the bag") from None
        if len(body) > CERTIFICATE_BYTES_MAX:
            raise NotFound(f"certificate {wanted}: its file has more than {CERTIFICATE_BYTES_MAX} bytes; it is none")
        return body

    def refusal(self, lot: str) -> tuple[Label, ...] | None:
        """Why a lot was refused its certificate; None when it was not."""
        try:
            return parse_refusal(_read_plain(refusal_path(self.certificates_dir, lot), REFUSAL_BYTES_MAX))
        except OSError:
            return None

    def sealed_run(self, run: str) -> Path:
        """Path of a run's Parquet file. Raises NotFound when it is not there."""
        path = archive_path(self.archive_dir, run)
        if not ID_PATTERN.fullmatch(run) or not _is_plain(path):
            raise NotFound(f"no sealed readings of run {run[:80]!r} on this server; ask the workshop for the file")
        return path

    def trusted_keys(self) -> tuple[bytes, ...]:
        """The public keys (PEM) whose certificates are believed; those that are missing are left out."""
        return tuple(path.read_bytes() for path in self.trusted_key_paths if path.is_file())

    def _path(self, wanted: CertificateId) -> Path:
        return certificate_path(self.certificates_dir, wanted.lot, wanted.revision)


def _is_plain(path: Path) -> bool:
    """A file that lies there itself: a link may lead out of the folder, a pipe is waited for without end."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _read_plain(path: Path, bytes_max: int) -> bytes:
    """At most so many bytes. Raises OSError: no such file, or not a plain one."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise FileNotFoundError(path)
        return stream.read(bytes_max)
